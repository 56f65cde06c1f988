"""`bench leaderboard`: tables, stale files, pages that are not written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError


def test_leaderboard(smoke_run, bench, copied, tmp_path):
    smoke_run("run")
    out = bench("leaderboard", "--store", copied)
    assert "## htba on scenes, preset smoke" in out
    named = [line.split("|")[1].split()[0] for line in out.splitlines() if line.startswith("| ")]
    assert named[:3] == ["defense", "none", "poisoncam"]
    assert set(named[3:]) == {"defense", "poisoncam"}
    written = tmp_path / "board.md"
    bench("leaderboard", copied / "records", "-o", written)
    (kept,) = (copied / "records").glob("*.json")
    assert f"[r1]: copied/records/{kept.name}\n" in written.read_text()
    assert "[r1]" not in out, "links are relative to a file"


def test_check_tells_a_stale_leaderboard_by_its_exit_code(smoke_run, bench, console, copied, tmp_path):
    smoke_run("run")
    board = tmp_path / "board.md"
    whole = ("leaderboard", copied / "records", "--output", board)

    def check():
        code, out, err = console(*whole, "--check")
        assert out == ""
        return code, err.replace("\n", "")

    assert check() == (1, f"bench: {board} is not there: the same command without --check writes it")
    bench(*whole)
    assert check() == (0, "")
    board.write_bytes(board.read_bytes().replace(b"\n", b"\r\n"))
    assert check() == (0, ""), "a checkout may have other line ends"
    board.write_text(board.read_text() + "x")
    code, said = check()
    assert (code, f"bench: {board} is stale" in said) == (1, True)
    assert board.read_text().endswith("x"), "nothing is written"
    with pytest.raises(BenchError, match="name it with --output FILE"):
        bench("leaderboard", copied / "records", "--check")


def test_a_page_that_is_no_text_is_never_written_over(bench, tmp_path):
    page, records = tmp_path / "page.md", Path(__file__).parents[1] / "fixtures" / "records"
    page.write_bytes("gr\xf6\xdfe\n".encode("latin-1"))
    for more in ((), ("--check",)):
        with pytest.raises(BenchError, match="cannot be read as UTF-8 text, so it is not written over"):
            bench("leaderboard", records, "--output", page, *more)
    assert page.read_bytes() == b"gr\xf6\xdfe\n"


def test_a_leaderboard_of_nothing(bench, tmp_path):
    with pytest.raises(BenchError, match="there is no record yet"):
        bench("leaderboard", "--store", tmp_path)
    with pytest.raises(BenchError, match="no record file or folder"):
        bench("leaderboard", tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(BenchError, match=r"bad\.json"):
        bench("leaderboard", tmp_path / "bad.json")
