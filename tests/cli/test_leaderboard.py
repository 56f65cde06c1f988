"""`bench leaderboard`: tables, stale files, pages that are not written over."""

from __future__ import annotations

from pathlib import Path


def test_tables_and_whether_their_file_is_stale(smoke_run, bench, console, refused, copied, tmp_path):
    smoke_run("run")
    out = bench("leaderboard", "--store", copied)
    assert "## htba on scenes, preset smoke" in out
    named = [line.split("|")[1].split()[0] for line in out.splitlines() if line.startswith("| ")]
    assert named[:3] == ["defense", "none", "poisoncam"]
    assert set(named[3:]) == {"defense", "poisoncam"}
    assert "[r1]" not in out, "links are relative to a file"
    board = tmp_path / "board.md"
    whole = ("leaderboard", copied / "records", "--output", board)
    absent = f"bench: {board} is not there: the same command without --check writes it\n"
    assert console(*whole, "--check") == (1, "", absent)
    bench(*whole)
    (kept,) = (copied / "records").glob("*.json")
    assert f"[r1]: copied/records/{kept.name}\n" in board.read_text()
    bench(*whole, "--check")
    board.write_bytes(board.read_bytes().replace(b"\n", b"\r\n"))
    assert bench(*whole, "--check") == "", "a checkout may have other line ends"
    board.write_text(board.read_text() + "x")
    assert console(*whole, "--check") == (1, "", absent.replace("not there", "stale"))
    assert board.read_text().endswith("x"), "nothing is written"
    assert "name it with --output FILE" in refused("leaderboard", copied / "records", "--check")


def test_a_page_that_is_no_text_is_never_written_over(refused, tmp_path):
    page, records = tmp_path / "page.md", Path(__file__).parents[1] / "fixtures" / "records"
    page.write_bytes("gr\xf6\xdfe\n".encode("latin-1"))
    for more in ((), ("--check",)):
        said = refused("leaderboard", records, "--output", page, *more)
        assert "cannot be read as UTF-8 text, so it is not written over" in said
    assert page.read_bytes() == b"gr\xf6\xdfe\n"


def test_a_leaderboard_of_nothing(refused, tmp_path):
    (tmp_path / "bad.json").write_text("{}")
    assert "there is no record yet" in refused("leaderboard", "--store", tmp_path)
    assert "no record file or folder" in refused("leaderboard", tmp_path / "absent.json")
    assert "bad.json" in refused("leaderboard", tmp_path / "bad.json")
