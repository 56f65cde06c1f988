"""Which files are tried."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.scan.listing import find_files


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_files_at_any_depth_by_name_without_hidden_ones(tmp_path, monkeypatch):
    put(tmp_path, "b.PNG", "a/deep/er/1.jpg", "a/2.gif", "bare", ".hidden.png", ".git/3.png", "__MACOSX/4.png", "n.txt")
    found = find_files(tmp_path)
    assert found.names == ("a/2.gif", "a/deep/er/1.jpg", "b.PNG", "bare")
    assert found.others == {".txt": 1}
    assert found.stamps[0][0] == 1
    monkeypatch.chdir(tmp_path)
    listing = find_files(Path("a"))
    wanted = [str(Path("a", "2.gif")), str(Path("a", "deep", "er", "1.jpg"))]
    assert [listing.given(name) for name in listing.names] == wanted


def test_names_that_are_not_utf8_and_files_that_are_none(tmp_path):
    put(tmp_path, "ok.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    odd = os.fsdecode(b"caf\xe9.png")
    put(tmp_path, odd)
    found = find_files(tmp_path)
    assert set(found.names) == {"ok.png", odd}
    assert found.gone == {"gone.png": "No such file or directory", "pipe.png": "no regular file"}


def test_links_to_what_is_scanned_anyway_count_once(tmp_path):
    put(tmp_path, "a/1.png", "a/2.png", "z/deep/3.png")
    (tmp_path / "A link").symlink_to(tmp_path / "a")  # before the folder in any order
    (tmp_path / "a" / "z").symlink_to(tmp_path / "z")
    (tmp_path / "0.png").symlink_to(tmp_path / "a" / "1.png")
    (tmp_path.parent / "elsewhere.png").write_bytes(b"x")
    for name in ("4.png", "5.png"):
        (tmp_path / name).symlink_to(tmp_path.parent / "elsewhere.png")
    found = find_files(tmp_path)
    assert found.names == ("4.png", "a/1.png", "a/2.png", "z/deep/3.png")
    assert found.again == 4


def test_the_digest_tells_what_changed(tmp_path):
    put(tmp_path, "1.png", "2.png")
    before = find_files(tmp_path).digest
    assert find_files(tmp_path).digest == before
    (tmp_path / "2.png").write_bytes(b"yy")
    changed = find_files(tmp_path).digest
    (tmp_path / "2.png").rename(tmp_path / "3.png")
    assert len({before, changed, find_files(tmp_path).digest}) == 3


def test_what_is_no_folder_of_images(tmp_path):
    with pytest.raises(BenchError, match="is not there; expected a folder of images"):
        find_files(tmp_path / "nope")
    put(tmp_path, "a.txt")
    with pytest.raises(BenchError, match="no folder"):
        find_files(tmp_path / "a.txt")
    with pytest.raises(BenchError, match=r"holds no image \(1 other file\); known are .apng, .avif"):
        find_files(tmp_path)
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BenchError, match=r"none of the 1 file below .* a\.png: No such file"):
        find_files(tmp_path)
