"""How the tests of the command line run it."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console

from bench.cli import common, main as cli


@pytest.fixture
def wide(monkeypatch):
    """No line is folded."""
    monkeypatch.setattr(common, "out", Console(width=250))
    monkeypatch.setattr(common, "log_out", Console(width=250, stderr=True))


@pytest.fixture
def bench(wide, capsys):
    """bench(*arguments) -> what it prints, no line folded; `errors`: what it says on standard error. A BenchError goes
    through."""

    def run(*arguments, errors=""):
        cli.app([str(each) for each in arguments], standalone_mode=False)
        said = capsys.readouterr()
        assert said.err.strip() == errors
        return said.out

    return run


@pytest.fixture
def console(monkeypatch, capsys):
    """console(*arguments) -> (exit code, standard output, standard error), through the console script's function."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    return run


@pytest.fixture
def smoke_run(bench, copied):
    """`bench COMMAND --preset smoke`, changed, in a store where its stages lie."""
    return lambda command, *arguments: bench(command, "--preset", "smoke", "--store", copied, *arguments)


@pytest.fixture
def rows():
    """rows(a printed table) -> its cells, without the heading."""
    return lambda table: [[cell.strip() for cell in line.split("│")] for line in table.splitlines() if "│" in line]
