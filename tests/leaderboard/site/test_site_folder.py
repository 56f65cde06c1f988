"""The site on disk: written, compared, and never over what is somebody else's; and the command."""

from __future__ import annotations

import pytest

from bench.cli.leaderboard import leaderboard_command
from bench.errors import BenchError
from bench.leaderboard.site import faults, write
from bench.leaderboard.site.folder import MARK

PAGES = {
    "index.html": MARK + b"\n",
    "runs/a-1.html": b"a\n",
    "runs/a-1.json": b"{}\n",
    "reported/p.csv": b"p\n",
}


def test_every_difference_is_said_and_old_pages_go(tmp_path):
    folder = tmp_path / "x" / "site"
    assert len(faults(folder, PAGES)) == 4
    write(folder, PAGES)
    assert faults(folder, PAGES) == []
    others = [folder / "runs" / "my notes.txt", folder / "CNAME"]
    for path in (*others, folder / "runs" / "a-1.html", folder / "runs" / "old.html"):
        path.write_bytes(b"b\n")
    (folder / "runs" / "a-1.json").unlink()
    (folder / "index.html").write_bytes(MARK + b"\r\n")  # as git gives it on Windows: no difference
    expected = ["a-1.html is stale", "a-1.json is not there", "old.html is of no record any more"]
    assert faults(folder, PAGES) == [f"runs/{fault}" for fault in expected]
    write(folder, PAGES)
    assert faults(folder, PAGES) == []
    assert not (folder / "runs" / "old.html").exists()
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("name", ["notes.txt", "index.html"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(BenchError, match="it holds other files; name a new or empty folder"):
        write(tmp_path, PAGES)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(BenchError, match="it is a file; name a folder"):
        write(tmp_path / name, PAGES)


def test_the_command_writes_and_checks(files, folder, tmp_path, capsys):
    site = tmp_path / "site"
    assert not leaderboard_command(files, site, None, "html", True)
    assert not site.exists()
    assert leaderboard_command(files, site, None, "html", False)
    assert leaderboard_command(files, site, None, "html", True)
    assert (site / "index.html").read_bytes() == (folder / "index.html").read_bytes()
    assert not leaderboard_command(files[1:], site, None, "html", True)
    assert "index.html is stale" in capsys.readouterr().err


def test_the_command_says_what_is_missing(files):
    with pytest.raises(BenchError, match="name it with --output FOLDER"):
        leaderboard_command(files, None, None, "html", False)
    with pytest.raises(BenchError, match="Did you mean 'html'"):
        leaderboard_command(files, None, None, "htm", False)
