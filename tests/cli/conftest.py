"""How the tests of the command line run it."""

from __future__ import annotations

import pytest


@pytest.fixture
def smoke_run(bench, copied):
    """`bench COMMAND --preset smoke`, changed, in a store where its stages lie."""
    return lambda command, *arguments: bench(command, "--preset", "smoke", "--store", copied, *arguments)


@pytest.fixture
def rows():
    """rows(a printed table) -> its cells, without the heading."""
    return lambda table: [[cell.strip() for cell in line.split("│")] for line in table.splitlines() if "│" in line]
