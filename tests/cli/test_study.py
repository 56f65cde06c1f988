"""`bench study` from the outside."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest

from bench.cli.options import parse_seeds
from bench.errors import BenchError
from bench.matrix.cell import RunContext
from bench.paper.studies import study
from bench.paper.studies.runs import StudyRuns, measure
from bench.paper.studies.study import Line, Study, Vary, studies
from bench.paper.studies.table import HEAD
from bench.pipeline.stage import Machine
from bench.store import Store

TOY = Study(
    name="toy",
    title="Toy",
    figure="Figure 0",
    about="A toy.",
    lines=(Line(label="Else", defense="nosuch"), Line(label="PoisonCAM", defense="poisoncam")),
    vary=Vary(option="defense.masks", times=(0.5, 1), least=2),
    panels=study.find("masks").panels,
    stages="search",
    x="masks per image",
)


@pytest.fixture
def toy(monkeypatch):
    """The study "toy" is found under every name."""
    monkeypatch.setattr(study, "find", lambda name: TOY)


def test_alone_it_lists_the_studies(bench, refused):
    out = bench("study")
    assert [line.split()[0] for line in out.splitlines()] == [each.name for each in studies()]
    assert "  masks  How many masks per image the search needs, and what they cost. (Figure 11)\n" in out
    assert "unknown study 'epoch'. Did you mean 'epochs'?" in refused("study", "epoch")


def test_a_study_makes_what_is_missing_and_resumes_from_the_store(toy, bench, copied, tmp_path):
    """Its files hold every value exactly."""
    plan = StudyRuns(TOY, RunContext(Store(copied), Machine(accelerator="cpu")), "smoke")
    before = {(entry.stage, entry.key) for entry in plan.context.store.entries()}
    half, own = (plan.context.pipeline(cell) for cell in plan.cells)
    stages, seconds = plan.left_to_do()
    assert (stages, seconds > 0) == (1, True)
    assert plan.to_csv({}).count("\n") == 1 + 2, "what is there already: the skipped run, and the preset's own"
    out = tmp_path / "out"
    arguments = ("study", "toy", "--preset", "smoke", "--output", out)
    said = bench(*arguments, "--store", copied, "--accelerator", "cpu")
    assert "Toy (Figure 0): preset smoke, scenes, attack htba, seed 0" in said
    assert "skipped: Else: " in said
    assert "Runs: 2. Stages to be made for them: 1, about " in said
    assert {(entry.stage, entry.key) for entry in plan.context.store.entries()} - before == {("clean", half.clean.key)}
    assert plan.left_to_do() == (0, 0)
    files = sorted(out.iterdir())
    assert [file.name for file in files] == [f"toy-smoke.{kind}" for kind in ("csv", "md", "png", "svg")]
    written = [file.read_bytes() for file in files]
    assert "Unfinished" not in files[1].read_text()
    skipped, failed, last = csv.DictReader(io.StringIO(plan.to_csv({plan.cells[0]: "too few images"})))
    assert skipped["status"].startswith("skipped: ")
    assert (failed["status"], failed["detection.f1"]) == ("failed: too few images", "")
    rows = list(csv.DictReader(io.StringIO(written[0].decode())))
    assert [rows[0], rows[2]] == [skipped, last]
    for row, pipeline, x, settings in ((rows[1], half, "8", "defense.masks=8"), (last, own, "16", "")):
        values = measure(pipeline, TOY)
        assert {name: float(row[name]) if row[name] else None for name in values} == values
        facts = [row[name] for name in ("study", "preset", "dataset", "attack", "defense", "line", "seed")]
        assert facts == ["toy", "smoke", "scenes", "htba", "poisoncam", "PoisonCAM", "0"]
        assert (row["x"], row["settings"], row["status"]) == (x, settings, "")
        assert (row["search_key"], row["threat_model_key"]) == (pipeline.clean.key, pipeline.threat.key)
    names = [name for name in last if name.endswith(".iou")]
    assert names == sorted(names, key=lambda name: int(name.split(".")[1]))
    assert "Everything is in the store: nothing will be computed." in bench(*arguments, "--store", copied)
    assert bench(*arguments, "--check") == ""
    assert [file.read_bytes() for file in files] == written


def test_a_page_is_held_to_its_csv(toy, console, refused, tmp_path):
    table, page = tmp_path / "toy-smoke.csv", tmp_path / "toy-smoke.md"
    table.write_text("a\n1\n")
    page.write_text("# Troy\n")
    check = ("--preset", "smoke", "--check", "--output", tmp_path)
    assert "leave out --seeds and --devices" in refused("study", "toy", "--seeds", "0", "--devices", "2", *check)
    assert "toy-smoke.csv: this is no study's CSV" in refused("study", "toy", *check)
    assert "--check compares the files of one study: name it" in refused("study", *check)
    row = dict(zip(HEAD, ["toy", "smoke", "scenes", "htba", "none", "", "8", 8, 0, "", ""], strict=True))
    pd.DataFrame([row]).to_csv(table, index=False)
    code, _, said = console("study", "toy", *check)
    assert (code, "-# Troy\n+# Toy" in said) == (1, True), said
    assert page.read_text() == "# Troy\n"
    table.unlink()
    assert "--check compares the .csv and the .md" in refused("study", "toy", *check)


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (BenchError("full disk"), 2)])
def test_stopped_it_leaves_what_it_has(toy, console, copied, tmp_path, monkeypatch, error, code):
    def stopped(*arguments, **options):
        raise error

    monkeypatch.setattr("bench.matrix.run.run_cells", stopped)
    assert console("study", "toy", "--preset", "smoke", "--store", copied, "--output", tmp_path)[0] == code
    assert "**Unfinished: 1 of 3 runs are still to come.**" in (tmp_path / "toy-smoke.md").read_text()
    assert not (tmp_path / "toy-smoke.svg").exists()


def test_seeds():
    assert [parse_seeds(text) for text in (None, "4", "0, 1,2")] == [(), (4,), (0, 1, 2)]


@pytest.mark.parametrize("text", ["", "1,", "-1", "a", "1.5", "²", "1,2,01"])
def test_seeds_that_cannot_be_read(text):
    said = "names a seed twice" if text == "1,2,01" else r"cannot be read\. Expected whole numbers with commas"
    with pytest.raises(BenchError, match=said):
        parse_seeds(text)
