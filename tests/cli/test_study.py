"""`bench study` from the outside."""

from __future__ import annotations

import csv
import subprocess
import sys

import pandas as pd
import pytest
from rich.console import Console

from bench.cli import common, main as cli
from bench.cli.study import parse_seeds
from bench.errors import BenchError
from bench.paper.studies import study
from bench.paper.studies.study import Line, Study, Vary, studies
from bench.paper.studies.table import HEAD

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
def bench(monkeypatch, capsys):
    """bench(*arguments) -> (exit code, output, errors) of `bench study`; the study "toy" is known beside the others."""
    monkeypatch.setattr(common, "out", Console(width=250))
    monkeypatch.setattr(common, "log_out", Console(width=250, stderr=True))
    monkeypatch.setattr(study, "find", lambda name: TOY)

    def run(*arguments):
        code = cli.guarded(lambda: cli.app(["study", *map(str, arguments)], standalone_mode=False))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_alone_it_lists_the_studies(bench):
    out = bench()[1]
    assert [line.split()[0] for line in out.splitlines()] == [each.name for each in studies()]
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


def test_a_study_writes_its_files_and_resumes_from_the_store(bench, copied, tmp_path):
    out = tmp_path / "out"
    arguments = ("toy", "--preset", "smoke", "--store", copied, "--output", out)
    code, said, _ = bench(*arguments)
    assert code == 0, said
    assert "Toy (Figure 0): preset smoke, scenes, attack htba, seed 0" in said
    assert "skipped: Else: " in said
    assert "Runs: 2. Stages to be made for them: 1, about " in said
    files = sorted(out.iterdir())
    assert [file.name for file in files] == [f"toy-smoke.{kind}" for kind in ("csv", "md", "png", "svg")]
    before = [file.read_bytes() for file in files]
    with files[0].open(newline="") as opened:
        rows = [(row["x"], bool(row["status"])) for row in csv.DictReader(opened)]
    assert rows == [("", True), ("8", False), ("16", False)]
    assert "Unfinished" not in files[1].read_text()
    assert "Everything is in the store: nothing will be computed." in bench(*arguments)[1]
    check = ("toy", "--preset", "smoke", "--output", out, "--check")
    assert bench(*check) == (0, "", "")
    assert [file.read_bytes() for file in files] == before


def test_a_page_is_held_to_its_csv(bench, tmp_path):
    for kind, text in (("csv", "a\n1\n"), ("md", "# Troy\n")):
        (tmp_path / f"toy-smoke.{kind}").write_text(text)

    def check(*arguments):
        code, _, errors = bench(*arguments, "--preset", "smoke", "--check", "--output", tmp_path)
        return code, " ".join(errors.split())

    for arguments, part in (
        (("toy", "--seeds", "0", "--devices", "2"), "leave out --seeds and --devices"),
        (("toy",), "toy-smoke.csv: this is no study's CSV"),
        ((), "--check compares the files of one study: name it"),
    ):
        code, said = check(*arguments)
        assert (code, part in said) == (2, True), said
    row = dict(zip(HEAD, ["toy", "smoke", "scenes", "htba", "none", "", "8", 8, 0, "", ""], strict=True))
    pd.DataFrame([row]).to_csv(tmp_path / "toy-smoke.csv", index=False)
    code, said = check("toy")
    assert (code, "-# Troy +# Toy" in said) == (1, True), said
    assert (tmp_path / "toy-smoke.md").read_text() == "# Troy\n"
    (tmp_path / "toy-smoke.csv").unlink()
    code, said = check("toy")
    assert (code, "--check compares the .csv and the .md" in said) == (2, True)


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (BenchError("full disk"), 2)])
def test_stopped_it_leaves_what_it_has(bench, copied, tmp_path, monkeypatch, error, code):
    def stopped(*arguments, **options):
        raise error

    monkeypatch.setattr("bench.matrix.run.run_cells", stopped)
    arguments = ("toy", "--preset", "smoke", "--store", copied, "--output", tmp_path)
    assert bench(*arguments)[0] == code
    assert "**Unfinished: 1 of 3 runs are still to come.**" in (tmp_path / "toy-smoke.md").read_text()
    assert not (tmp_path / "toy-smoke.svg").exists()


@pytest.mark.parametrize(("text", "seeds"), [(None, ()), ("4", (4,)), ("0, 1,2", (0, 1, 2))])
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "1,", "-1", "a", "1.5", "²"])
def test_seeds_that_cannot_be_read(text):
    with pytest.raises(BenchError, match=r"cannot be read\. Expected whole numbers with commas"):
        parse_seeds(text)


def test_a_seed_twice():
    with pytest.raises(BenchError, match="names a seed twice"):
        parse_seeds("1,2,01")
