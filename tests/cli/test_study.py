"""`bench study` from the outside."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest
from rich.console import Console

from bench.cli import common, main as cli, study
from bench.errors import BenchError
from bench.estimate import estimate
from bench.estimate.estimate import Pace
from bench.paper.studies import catalogue, engine
from bench.paper.studies.catalogue import CR, STUDIES
from bench.paper.studies.plan import Planner
from bench.paper.studies.steps import Multiples
from bench.paper.studies.study import Depth, Line, Study
from bench.plugins.manager import Plugins

TOY = Study(
    name="toy",
    title="Toy",
    figure="Figure 0",
    about="A toy.",
    lines=(Line(label="Else", defense="nosuch"), Line(label="PoisonCAM", defense="poisoncam")),
    steps=Multiples(option="defense.masks", by=(0.5, 1), least=2),
    panels=(CR,),
    depth=Depth.SEARCH,
    x="masks per image",
)


@pytest.fixture
def bench(monkeypatch, capsys):
    """bench(*arguments) -> what `bench study` prints; the study "toy" is known beside the others."""
    monkeypatch.setattr(common, "out", Console(width=250))
    monkeypatch.setattr(catalogue, "find", lambda name: TOY)
    monkeypatch.setattr(estimate, "measure_pace", lambda pipeline: Pace(training=0.01, encoding=0.001, batch=8))

    def run(*arguments):
        cli.app(["study", *map(str, arguments)], standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_alone_it_lists_the_studies(bench):
    out = bench()
    assert [line.split()[0] for line in out.splitlines()] == [each.name for each in STUDIES]
    assert "  masks  How many masks per image the search needs, and what they cost. (Figure 11)\n" in out


def test_the_list_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['bench', 'study']\nfrom bench.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"


def test_an_unknown_study_has_a_nearest():
    with pytest.raises(BenchError, match=r"unknown study 'epoch'\. Did you mean 'epochs'\?"):
        cli.app(["study", "epoch"], standalone_mode=False)


def test_a_study_writes_its_four_files_and_goes_on_from_the_store(bench, copied, tmp_path):
    arguments = ("toy", "--preset", "smoke", "--store", copied, "--output", tmp_path / "out")
    out = bench(*arguments)
    assert "Toy (Figure 0): preset smoke, scenes, attack htba, seed 0" in out
    assert "Runs: 2. Stages to be made for them: 1, about " in out
    assert "[1/3] Else, seed 0\n  skipped: defense 'nosuch' is not installed\n[2/3] PoisonCAM, 8, seed 0\n" in out
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"toy-smoke.{kind}" for kind in ("csv", "md", "png", "svg")]
    before = [file.read_bytes() for file in files]
    with files[0].open(newline="") as opened:
        assert [(row["x"], bool(row["status"])) for row in csv.DictReader(opened)] == [
            ("", True),
            ("8", False),
            ("16", False),
        ]
    assert "Unfinished" not in files[1].read_text()
    again = bench(*arguments)
    assert "Everything is in the store: nothing will be computed." in again
    assert [file.read_bytes() for file in files] == before


def test_a_page_is_held_to_its_csv(workshop, tmp_path, capsys, monkeypatch):
    """Written from made-up values, as `bench study toy` writes it."""
    monkeypatch.setattr(catalogue, "find", lambda name: TOY)
    out, pipeline = tmp_path / "out", workshop.pipeline()
    planner = Planner(plugins=Plugins.load(), store=pipeline.store, machine=pipeline.machine, preset="smoke")
    plan = planner.plan(TOY)
    values: dict[str, float | None] = {"localisation.10.cr": 50.0}
    study._write_tables(plan, [engine.Row(cell=cell, values=values, keys={}) for cell in plan.cells], out)
    before = {file: file.read_bytes() for file in out.iterdir()}
    monkeypatch.setattr(engine, "make_stage", None)  # nothing may be run

    def check(*arguments):
        asked = ["study", *map(str, arguments), "--preset", "smoke", "--check", "--output", str(out)]
        code = cli.guarded(lambda: cli.app(asked, standalone_mode=False))
        return code, " ".join(capsys.readouterr().err.split())

    assert check("toy") == (0, "")
    assert {file: file.read_bytes() for file in out.iterdir()} == before
    page, table = out / "toy-smoke.md", out / "toy-smoke.csv"
    page.write_text(page.read_text().replace("# Toy", "# Troy"))
    code, said = check("toy")
    assert (code, said.endswith("toy-smoke.md, line 1: '# Troy': it should be '# Toy'")) == (1, True)
    assert page.read_text().startswith("# Troy")
    for arguments, part in (
        (("toy", "--seeds", "0", "--devices", "2"), "leave out --seeds and --devices"),
        (("toy", "--set", "defense.flip_set=8"), "toy-smoke.csv: line 2 (Else, seed 0): its settings is ''"),
        ((), "--check compares the files of one study: name it"),
    ):
        code, said = check(*arguments)
        assert (code, part in said) == (2, True), said
    table.unlink()
    code, said = check("toy")
    assert (code, "toy-smoke.csv cannot be read: --check compares" in said) == (2, True)


def test_stopped_it_leaves_what_it_has(bench, copied, tmp_path, monkeypatch):
    make = engine.make_stage

    def stopped(stage, store, listener):
        if stage.name == "clean":
            raise KeyboardInterrupt
        make(stage, store, listener)

    monkeypatch.setattr(engine, "make_stage", stopped)
    # Newer versions of typer turn Ctrl-C into an exit code themselves.
    with pytest.raises((KeyboardInterrupt, SystemExit, cli.typer.Exit, cli.typer.Abort)):
        study.study_command(
            "toy",
            preset="smoke",
            settings=(),
            seeds=None,
            store=copied,
            output=tmp_path,
            devices=1,
            accelerator="cpu",
        )
    assert "**Unfinished: 2 of 3 runs are still to come.**" in (tmp_path / "toy-smoke.md").read_text()
    assert not (tmp_path / "toy-smoke.svg").exists()


@pytest.mark.parametrize(("text", "seeds"), [(None, ()), ("4", (4,)), ("0, 1,2", (0, 1, 2))])
def test_seeds(text, seeds):
    assert study.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "1,", "-1", "a", "1.5", "²"])
def test_seeds_that_cannot_be_read(text):
    with pytest.raises(BenchError, match=r"cannot be read\. Expected whole numbers with commas"):
        study.parse_seeds(text)


def test_a_seed_twice():
    with pytest.raises(BenchError, match="names a seed twice"):
        study.parse_seeds("1,2,01")
