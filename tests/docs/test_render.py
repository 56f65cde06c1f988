"""docs/tools/render.py: pages from sources and records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture
def render(script):
    return script("render")


@pytest.fixture
def page(render, tmp_path, monkeypatch):
    """page(source) -> the page that a source gives, beside the files a.csv and a.json."""
    (tmp_path / "docs" / "src").mkdir(parents=True)
    (tmp_path / "a.csv").write_text("line,seed,x\none,0,1.5\none,1,2.5\ntwo,2,7\n")
    (tmp_path / "a.json").write_text('{"found": [{"recall": 99.46}]}')
    for name, value in {"ROOT": tmp_path, "SOURCES": tmp_path / "docs" / "src"}.items():
        monkeypatch.setattr(render, name, value)

    def give(source):
        (tmp_path / "docs" / "src" / "p.md.j2").write_text(source, encoding="utf-8")
        return render.rendered()[tmp_path / "docs" / "p.md"]

    return give


def test_the_committed_pages_are_what_their_sources_give(render, capsys):
    assert render.main(["--check"]) == 0, capsys.readouterr().out


def test_check_names_a_stale_page_and_writes_nothing(render, page, tmp_path, capsys):
    page("new")
    stale = tmp_path / "docs" / "p.md"
    stale.write_text("old")
    assert render.main(["--check"]) == 1
    assert (capsys.readouterr().out, stale.read_text()) == ("docs/p.md is stale\n", "old")
    assert render.main([]) == 0
    assert (render.main(["--check"]), stale.read_text()) == (0, "new")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('{{ json("a.json").found[0].recall | digits(1) }}', "99.5"),
        ('{{ column(csv("a.csv", line="one"), "x") }}', "2.0 ± 6.4"),
        ('{{ column(csv("a.csv", line="one"), "x").each(1) }}', "1.5, 2.5"),
        ('{{ column(csv("a.csv", line="t*"), "x").to(0) }}', "7"),
        ('{{ (column(csv("a.csv", line="one"), "x") - column(csv("a.csv", line="one"), "x")).to(0) }}', "0 ± 0"),
        ('{{ (column(csv("a.csv"), "x") - column(csv("a.csv", line="one"), "x")).each() }}', "0, 0"),
        ('{{ column(csv("a.csv"), "x").max.to(1) }}', "7.0"),
        ('{{ csv("a.csv", line="one") | table("x", "line") }}', "|   x | line   |\n|----:|:-------|\n| 1.5 | one    |"),
    ],
)
def test_what_a_source_can_say(page, source, text):
    assert page(source).startswith(text)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{{ no_such_name }}", UndefinedError),
        ('{{ json("a.json").found[0].no_such_key | digits }}', UndefinedError),
        ('{{ csv("a.csv", line="three") }}', ValueError),
        ('{{ column(csv("a.csv"), "no such column") }}', KeyError),
        ('{{ column(csv("a.csv", line="one"), "x") - column(csv("a.csv", line="two"), "x") }}', ValueError),
    ],
)
def test_what_does_not_exist_is_an_error(page, source, error):
    with pytest.raises(error):
        page(source)


def record(defense, seed, asr, **metrics):
    return {
        "run": {"defense": defense, "seed": seed},
        "metrics": {"none": {"poisoned": {"asr": 90 + seed}}, "defended": {"poisoned": {"asr": asr}}, **metrics},
        "stages": {"defense": {"seconds": 60 + seed}},
    }


def test_measures_of_runs(render):
    runs = render.Runs(
        [record("poisoncam", seed, 10 * seed, clean_removed={"cat": seed, "dog": 1}) for seed in (1, 0)]
        + [record("oracle", 0, None)]
    )
    assert runs("poisoncam", "poisoned.asr").each() == "0, 10"
    assert str(runs("none", "poisoned.asr")) == "90.5 ± 6.4"
    assert runs("poisoncam", "clean_removed").each() == "1, 2"
    assert runs("poisoncam", "clean_removed.cat").each() == "0, 1"
    assert runs("poisoncam", "stages.defense.seconds").mean.to(1) == "60.5"
    assert str(runs("oracle", "poisoned.asr")) == render.UNDEFINED
    assert (runs.has("oracle"), runs.has("patchsearch")) == (True, False)
    with pytest.raises(ValueError, match="no record of the defense 'patchsearch'"):
        runs("patchsearch", "poisoned.asr")
    with pytest.raises(ValueError, match="two records of poisoncam, seed 0, differ"):
        render.Runs([record("poisoncam", 0, 1), record("poisoncam", 0, 2)])("poisoncam", "poisoned.asr")


def test_what_was_sent_in_is_on_no_page_and_in_no_figure(render, script, monkeypatch, tmp_path):
    sent = {**record("poisoncam", 0, 1), "status": "submitted"}
    for name, found in (("a", record("poisoncam", 0, 10)), ("b", sent)):
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    monkeypatch.setattr(render, "ROOT", tmp_path.parent)
    assert render.read_folder(tmp_path.name) == [record("poisoncam", 0, 10)]
    figures = script("figures")
    first, second = ({"config": {"ssl": {"name": "moco_v3"}}, "dataset": {"counts": {"train": n}}} for n in (9, 9**9))
    assert figures.shown([first, second, {**first, "status": "submitted"}]) == [first]
    run = {"run": {"until": "detection", "preset": "p", "defense": "d", "seed": 0}}
    monkeypatch.setattr(figures, "attack_of", lambda record: "a")
    with pytest.raises(ValueError, match="two records of"):
        figures.verdicts([run, run])


def test_leads_and_means_over_several_kinds_of_runs(render, monkeypatch):
    one = [record("poisoncam", 0, 10), record("poisoncam", 1, 30), record("recur", 0, 5), record("recur", 1, 6)]
    other = [record("poisoncam", 0, 20), record("poisoncam", 1, 50)]
    monkeypatch.setattr(render, "runs", lambda where: render.Runs({"one": one, "other": other}[where["run.attack"]]))
    kinds = [{"run.attack": "one"}, {"run.attack": "other"}]
    assert render.over(kinds, "poisoncam", "poisoned.asr").values == {0: 15, 1: 40}
    assert render.lead(kinds[0], "poisoncam", "recur", "poisoned.asr").values == {0: 5, 1: 24}
    assert render.lead(kinds[1], "poisoncam", "recur", "poisoned.asr").values == {}, "that has no recur"
    assert render.lead(kinds[0], "poisoncam", "recur", "localisation.10.cr").values == {}, "nothing is placed"
    assert render.lead(kinds[1], "poisoncam", "recur", "poisoned.asr").verdict == ""
    with pytest.raises(KeyError):
        render.lead(kinds[0], "poisoncam", "recur", "localisation.11.cr")
    with pytest.raises(KeyError):
        render.lead(kinds[0], "poisoncam", "recur", "poisoned.arr")
    del other[1]
    with pytest.raises(ValueError, match="different seeds"):
        render.over(kinds, "poisoncam", "poisoned.asr")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_hold_no_marks_and_their_links_lead_somewhere(path):
    page = path.read_text(encoding="utf-8")
    assert not re.search(r"<!-- /?(n|table|given)\b", page)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", page):
        assert (path.parent / link).exists(), link


def test_the_figures_show_the_committed_records(script):
    assert script("figures").main(["--check"]) == 0


def test_a_figure_of_other_numbers_is_named(script, monkeypatch, capsys):
    figures = script("figures")
    monkeypatch.setattr(figures, "strengths", lambda records: figures.Figure("", ["htba"], [""], {}))
    assert figures.main(["--check"]) == 1
    assert capsys.readouterr().out.startswith("docs/figures/attacks.svg does not show the records")


def test_the_verdict_on_a_difference(render):
    for values, verdict in (
        ([1.0, 1.1, 0.9], "confirmed"),
        ([-1.0, -1.1, -0.9], "the other way"),
        ([1.0, -1.1, 0.9], "not told apart"),
        ([0.0, 0.0], "equal"),
        ([2.0, 2.0, 2.0], "confirmed"),
        ([2.0, 2.0], "not told apart"),
        ([2.0], "not told apart"),
    ):
        assert render.Sample(dict(enumerate(values))).verdict == verdict
