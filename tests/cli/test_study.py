"""`bench study` from the outside."""

from __future__ import annotations

import csv

import pytest

from bench.cli import study as command
from bench.errors import BenchError
from bench.paper.studies import study as catalogue
from bench.paper.studies.study import Study

TOY = Study.read({
    "name": "toy",
    "title": "Toy",
    "figure": "Figure 0",
    "about": "A toy.",
    "stages": "search",
    "defenses": [{"label": "Else", "name": "nosuch"}, {"label": "PoisonCAM", "name": "poisoncam"}],
    "panels": [{"label": "Catch rate", "curves": {"": "localisation.{k}.cr"}}],
})  # fmt: skip


@pytest.fixture
def toy(monkeypatch):
    """The study "toy" is known beside the others."""
    monkeypatch.setattr(catalogue, "find", lambda name: TOY)


def test_alone_it_lists_the_studies(bench):
    out = bench("study")
    assert [line.split()[0] for line in out.splitlines()] == [each.name for each in catalogue.studies()]
    assert "  masks  How many masks per image the search needs, and what they cost. (Figure 11)\n" in out
    with pytest.raises(BenchError, match=r"unknown study 'epoch'\. Did you mean 'epochs'\?"):
        bench("study", "epoch")


@pytest.mark.usefixtures("toy")
def test_a_study_writes_its_four_files_which_check_accepts(bench, console, copied, tmp_path):
    where = ("--preset", "smoke", "--output", tmp_path / "out")
    out = bench("study", "toy", *where, "--store", copied)
    assert "Toy (Figure 0): preset smoke, scenes, attack htba, seed 0" in out
    assert "skipped: Else: " in out
    assert "nosuch" in out
    assert "Runs: 1. Everything is in the store: nothing will be computed." in out
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"toy-smoke.{kind}" for kind in ("csv", "md", "png", "svg")]
    before = [file.read_bytes() for file in files]
    with files[0].open(newline="") as opened:
        assert [(row["line"], bool(row["status"])) for row in csv.DictReader(opened)] == [
            ("Else", True),
            ("PoisonCAM", False),
        ]
    bench("study", "toy", *where, "--store", copied)
    assert bench("study", "toy", "--check", *where) == ""
    assert [file.read_bytes() for file in files] == before
    files[1].write_text(files[1].read_text().replace("# Toy", "# Troy"))
    code, _, err = console("study", "toy", "--check", *where)
    assert code == 1
    assert "-# Troy\n+# Toy" in err
    files[0].unlink()
    code, _, err = console("study", "toy", "--check", *where)
    assert (code, "--check compares the .csv and the .md" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["masks", "--seeds", "0", "--devices", "2"], "leave out --seeds and --devices"),
        (["masks", "--set", "defense.flip_set=8"], "leave out --set"),
        ([], "--check compares the files of one study: name it"),
    ],
)
def test_what_check_refuses(bench, arguments, said):
    with pytest.raises(BenchError, match=said):
        bench("study", *arguments, "--check")


@pytest.mark.parametrize(("text", "seeds"), [(None, ()), ("4", (4,)), ("0, 1,2", (0, 1, 2))])
def test_seeds(text, seeds):
    assert command.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "1,", "-1", "a", "1.5", "²"])
def test_seeds_that_cannot_be_read(text):
    with pytest.raises(BenchError, match=r"cannot be read\. Expected whole numbers with commas"):
        command.parse_seeds(text)


def test_a_seed_twice():
    with pytest.raises(BenchError, match="names a seed twice"):
        command.parse_seeds("1,2,01")
