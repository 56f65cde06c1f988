import hashlib
import json
import os
import time

import pytest
from PIL import Image

from bench.data import checked
from bench.data.checked import Checked, Ledger


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checked, "SETTLED_NS", -(10**18))  # files just written are to be remembered
    return tmp_path / "cache" / "checked-files"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(root / "good.png")
    (root / "bad.png").write_bytes(b"nothing")
    return root


@pytest.fixture
def decoded(monkeypatch):
    """The files' bytes that were decoded, in order."""
    seen, inner = [], checked.check_bytes
    monkeypatch.setattr(checked, "check_bytes", lambda data: (seen.append(data), inner(data))[1])
    return seen


def look(root, *names):
    with Ledger(root, "cat") as ledger:
        return ledger.check(names)


def test_what_is_found_and_the_second_time_no_file_is_read(root, decoded):
    good, bad = (hashlib.sha256((root / name).read_bytes()).hexdigest() for name in ("good.png", "bad.png"))
    found = [Checked(good, ""), Checked(bad, "not an image, or not one that Pillow knows")]
    for _ in range(2):
        assert look(root, "good.png", "bad.png") == found
        assert len(decoded) == 2


def test_a_changed_file_is_read_again(root, decoded):
    look(root, "bad.png")
    before = (root / "bad.png").stat()
    (root / "bad.png").write_bytes(b"NOTHING")  # the same length, and below the same modification time
    os.utime(root / "bad.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    while (root / "bad.png").stat().st_ctime_ns == before.st_ctime_ns:  # the clock of a file system is coarse
        time.sleep(0.002)
        os.utime(root / "bad.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(root, "bad.png")[0].digest == hashlib.sha256(b"NOTHING").hexdigest()
    assert len(decoded) == 2


def test_a_file_just_written_is_not_remembered(root, decoded, home, monkeypatch):
    monkeypatch.setattr(checked, "SETTLED_NS", 10**12)
    look(root, "good.png")
    look(root, "good.png")
    assert len(decoded) == 2
    assert not home.exists()


def test_what_cannot_be_opened_or_is_no_regular_file_is_named_and_not_remembered(root, home):
    """Nothing waits for the other end of a pipe."""
    os.mkfifo(root / "pipe.png")
    (root / "device.png").symlink_to("/dev/zero")
    names = ("good.png", "gone.png", "pipe.png", "device.png")
    faults = ["", "No such file or directory", "no regular file", "no regular file"]
    assert [each.fault for each in look(root, *names)] == faults
    (ledger,) = home.iterdir()
    assert list(json.loads(ledger.read_text())["files"]) == ["good.png"]


def test_what_was_found_is_kept_when_a_later_step_fails(root, decoded):
    def interrupted():
        with Ledger(root, "cat") as ledger:
            ledger.check(["good.png"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    look(root, "good.png")
    assert len(decoded) == 1


@pytest.mark.parametrize("text", ["", "[]", "{", '{"law": [0, "0"], "files": {}}', '{"law": 1}', None])
def test_a_ledger_that_cannot_be_used_or_is_of_another_pillow_is_made_anew(root, decoded, home, text, monkeypatch):
    expected = look(root, "good.png")
    (ledger,) = home.iterdir()
    if text is None:
        monkeypatch.setattr(checked, "_law", lambda: [1, "another"])
    else:
        ledger.write_text(text)
    assert look(root, "good.png") == expected
    assert len(decoded) == 2
    assert json.loads(ledger.read_text())["files"]


def test_a_ledger_that_cannot_be_written_only_costs_time(root, home, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bench.store.files.sync", full)
        assert look(root, "good.png")[0].fault == ""
    assert list(home.iterdir()) == []
    home.rmdir()
    home.parent.rmdir()
    home.parent.write_text("a file where the folder should be")
    assert look(root, "good.png")[0].fault == ""


def test_classes_and_roots_have_ledgers_of_their_own(root, tmp_path, home):
    look(root, "good.png")
    with Ledger(root, "dog") as ledger:
        ledger.check(["good.png"])
    (tmp_path / "link").symlink_to(root)
    look(tmp_path / "link", "good.png")  # the same folder by another name
    assert len(list(home.iterdir())) == 2
