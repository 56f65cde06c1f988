"""Each cheat of the kit works where nothing stops it, and gains nothing under the harness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError
from bench.isolation.cheating import ALLOWED, Gain, insert, run_cheats, table
from bench.plugins.contract import cheats
from bench.plugins.contract.cheats import CHEATS

CAUGHT = {"times", "threads", "collector", "store", "thread", "program", "open-files"}
FINDS_NOTHING = {"labels", "frames", "modules"}
BY_CHANCE = {"turns", "blocks", "names", "seed"}


@pytest.fixture(scope="module")
def results():
    return {each.cheat.name.removeprefix("cheat-"): each for each in run_cheats()}


def test_every_cheat_is_tried(results):
    assert set(results) == CAUGHT | FINDS_NOTHING | BY_CHANCE | {"own-copy"}
    assert len(results) == len(CHEATS)


def test_without_the_harness_they_would_gain(results):
    """All but one: an attack of this benchmark writes no file, so file times tell nothing at all."""
    for name, each in results.items():
        if name == "times":
            assert each.naive.precision < 0.3
        elif name in ("turns", "blocks", "names"):  # they find the class, of which half is poisoned
            assert (each.naive.precision, each.naive.recall) == (0.5, 1.0)
        else:
            assert (each.naive.precision, each.naive.recall) == (1.0, 1.0), name


def test_under_the_harness_none_does(results):
    for name in CAUGHT:
        assert "reached past its view" in results[name].refusal, name
    for name in FINDS_NOTHING | BY_CHANCE:
        assert results[name].refusal == "", name
        assert results[name].stopped, name
    for name in BY_CHANCE:
        assert abs(results[name].gained.precision - 1 / 8) < 0.072, name
    assert {name for name in results if results[name].gained.precision is not None} == BY_CHANCE | {"own-copy"}


def test_what_cannot_be_stopped_is_said(results):
    own = results["own-copy"]
    assert (cheats.OwnCopy,) == ALLOWED
    assert not own.stopped
    assert own.gained == Gain(1.0, 1.0)
    assert "| not stopped |" in table([own])


def test_the_committed_table_is_what_the_cheats_give(results):
    """But for file times, where files written within one tick of the clock come in any order."""
    page = (Path(__file__).parents[2] / "docs" / "no-peeking.md").read_text(encoding="utf-8")
    fixed = table([each for name, each in results.items() if name != "times"])
    stale = [row for row in fixed.strip().splitlines() if row not in page.splitlines()]
    assert stale == [], "stale: bench cheats --output docs/no-peeking.md"


def test_a_gain_by_hand():
    removed, poisoned = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 0, 1, 0], bool)
    assert Gain.of(removed, poisoned) == Gain(1 / 3, 1 / 2)
    assert str(Gain.of(removed, poisoned)) == "0.33 / 0.50"
    assert str(Gain.of(np.zeros(5, bool), poisoned)) == "nothing"
    assert Gain.mean([Gain(0.5, 0.2), Gain(0.1, 0.4)]) == Gain(pytest.approx(0.3), pytest.approx(0.3))
    assert Gain.mean([Gain(0.5, 0.2), Gain(None, None)]) == Gain(None, None)


def test_the_table_goes_between_its_marks(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- cheats: begin -->\nold\n<!-- cheats: end -->\nafter\n")
    insert(path, "| new |\n")
    assert path.read_text() == "before\n<!-- cheats: begin -->\n\n| new |\n\n<!-- cheats: end -->\nafter\n"
    with pytest.raises(BenchError, match="no place for the text"):
        insert(tmp_path / "none.md", "")
