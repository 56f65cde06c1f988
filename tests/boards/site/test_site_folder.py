"""The site on disk: written, compared, and never over what is somebody else's; and the command."""

from __future__ import annotations

import pytest

from bench.boards.site import faults, write
from bench.boards.site.folder import MARK
from bench.errors import BenchError

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


def test_a_writing_that_was_stopped_is_begun_again(tmp_path):
    folder = tmp_path / "site"
    with pytest.raises(TypeError):
        write(folder, {**PAGES, "runs/b-1.html": None})
    assert (folder / "runs" / "a-1.html").exists()
    write(folder, PAGES)
    assert faults(folder, PAGES) == []


@pytest.mark.parametrize("name", ["notes.txt", "index.html"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(BenchError, match="it holds other files; name a new or empty folder"):
        write(tmp_path, PAGES)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(BenchError, match="it is a file; name a folder"):
        write(tmp_path / name, PAGES)


def test_the_command_writes_and_checks(files, folder, tmp_path, console, bench):
    site = tmp_path / "site"
    command = ("leaderboard", *files, "--format", "html", "--output", site)
    assert console(*command, "--check")[0] == 1
    assert not site.exists()
    bench(*command)
    assert bench(*command, "--check") == ""
    assert (site / "index.html").read_bytes() == (folder / "index.html").read_bytes()
    code, _, said = console("leaderboard", *files[1:], *command[-4:], "--check")
    assert (code, "index.html is stale" in said) == (1, True)


def test_the_command_says_what_is_missing(files, refused):
    assert "name it with --output FOLDER" in refused("leaderboard", *files, "--format", "html")
    assert "Did you mean 'html'" in refused("leaderboard", *files, "--format", "htm")
