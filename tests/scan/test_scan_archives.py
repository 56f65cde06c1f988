"""Archives and lists instead of folders: what is read, what is refused, and that nothing is written elsewhere."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile

import pytest

from bench.errors import BenchError
from bench.scan import archives, listing as listing_module, lists
from bench.scan.listing import find
from bench.scan.reading import Gathered, images_stage
from bench.store import Store

ODD = {"../out.png": "its name leads out of the archive", "/abs.png": "its name leads out of the archive"}
NAMES = ["./b.png", "a/1.png"]


@pytest.fixture
def files(picture):
    """Name -> bytes: two pictures, and what is passed over."""
    return {
        "./b.png": picture(0),
        "a/1.png": picture(1),
        "a/.hidden.png": picture(2),
        "__MACOSX/b.png": b"x",
        "n.md": b"x",
    }


def zipped(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.mkdir("a")
        for name, data in files.items():
            archive.writestr(name, data)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "a/1.png")
    return path


def tarred(path, files, mode):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    return path


def read(listing, tmp_path):
    stage = images_stage(listing, 8)
    store = Store(tmp_path / "store")
    with store.open(stage.name, stage.key) as making:
        stage.make(making, lambda *_, **__: None)
    return Gathered(store.find(stage.name, stage.key))


@pytest.mark.parametrize("kind", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.xz"])
def test_an_archive_is_read_under_its_members_names(tmp_path, files, noise, kind):
    path, files = tmp_path / kind, {**files, **dict.fromkeys(ODD, b"x")}
    mode = {"r": "w", "z": "w:gz", "x": "w:xz"}[{".gz": "z", ".tgz": "z", ".xz": "x"}.get(path.suffix, "r")]
    zipped(path, files) if kind == "x.zip" else tarred(path, files, mode)
    listing = find(str(path))
    assert (listing.kind, list(listing.names), listing.others) == ("archive", NAMES, {".md": 1})
    links = {"link.png": "a link"}
    if kind != "x.zip":
        links |= {"hard.png": "a link", "pipe.png": "no regular file"}
    assert listing.gone == {**ODD, **links}
    assert [listing.given(name) for name in NAMES] == NAMES
    assert (listing.source, listing.title) == (str(path), kind)
    gathered = read(listing, tmp_path)
    pixels = gathered.images.batch(gathered.owner).numpy()
    assert (pixels == [noise(0), noise(1)]).all()
    assert not list((tmp_path / "store").rglob("unpacked")), "what was unpacked is gone"
    assert {each.name for each in tmp_path.iterdir()} == {kind, "store"}, "nothing is written elsewhere"
    assert not (tmp_path.parent / "out.png").exists()


def test_of_members_with_one_name_the_last_counts_and_a_changed_archive_is_read_again(tmp_path, picture, noise):
    path = tmp_path / "x.tar"
    tarred(path, {"1.png": picture(0)}, "w")
    before = find(str(path)).digest
    with tarfile.open(path, "a") as archive:
        entry = tarfile.TarInfo("1.png")
        entry.size = len(picture(1))
        archive.addfile(entry, io.BytesIO(picture(1)))
    listing = find(str(path))
    assert (listing.names, listing.digest == before) == (("1.png",), False)
    assert (read(listing, tmp_path).images.batch([0])[0].numpy() == noise(1)).all()


def damaged(path, files):
    data = zipped(path, files).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def encrypted(path, files):
    data = bytearray(zipped(path, files).read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of each header
        start = -1
        while (start := data.find(mark, start + 1)) >= 0:
            data[start + place] |= 1
    path.write_bytes(bytes(data))


def cut(path, files):
    data = tarred(path, files, "w:gz").read_bytes()
    path.write_bytes(data[: len(data) // 2])


def page(path, files):
    path.write_bytes(b"<html>404 not found</html>")


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("x.zip", damaged, "is no archive that can be read, or is broken"),
        ("x.zip", encrypted, "is encrypted; unpack it with its password"),
        ("x.zip", page, "is no archive that can be read, or is broken"),
        ("x.zip", lambda path, files: zipfile.ZipFile(path, "w").close(), r"holds no image \(0 other files\)"),
        ("x.tgz", cut, "is no archive that can be read, or is broken"),
        ("x.tar", page, "is no archive that can be read, or is broken"),
        ("x.tar", lambda path, files: tarred(path, {}, "w"), "holds no image that may be taken; the first, hard.png"),
        ("x.png", lambda path, files: path.write_bytes(files["a/1.png"]), "is one image; expected a folder of images"),
        ("x.bin", lambda path, files: path.write_bytes(b"\0\1\2"), "no folder, no archive and no text"),
        ("x.txt", lambda path, files: path.write_bytes(b"# nothing\n\n"), "names no file; expected one path a line"),
        ("x.txt", lambda path, files: path.write_bytes(b'a.png\n"b.png\n'), 'line 2: "b.png begins with a quote'),
        ("x.txt", lambda path, files: path.write_bytes(b'"\\u0000a.png"\n'), "line 1: .* is no path in JSON"),
        ("x.txt", lambda path, files: path.write_bytes(b'"\\ud800a.png"\n'), "line 1: .* is no path in JSON"),
        ("x.pipe", lambda path, files: os.mkfifo(path), "is a pipe, to which nobody may ever write"),
        (
            "x.txt",
            lambda path, files: path.write_bytes(b"nope.png\n"),
            "is no list of paths of images: none of its 1 diff",
        ),
        (
            "x.txt",
            lambda path, files: path.write_bytes(b"<!doctype html>\n<p>\n"),
            "none of its 2 different lines names",
        ),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path, files, name, make, message):
    path = tmp_path / name
    make(path, files)
    with pytest.raises(BenchError, match=message) as caught:
        read(find(str(path)), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_member_that_is_damaged_is_an_error_too(tmp_path, files):
    data = bytearray(zipped(tmp_path / "x.zip", files, zipfile.ZIP_STORED).read_bytes())
    data[data.index(files["a/1.png"]) + 40] ^= 255
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(BenchError, match="broken: Bad CRC-32"):
        read(find(str(tmp_path / "x.zip")), tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, files, monkeypatch):
    monkeypatch.setattr(archives, "FREE_GROWTH", 1000)
    path = tmp_path / "x.zip"
    zipped(path, {"zeros.png": bytes(2_000_000)})
    with pytest.raises(BenchError, match="holds more than 0 MiB; if it can be trusted, unpack it"):
        find(str(path))
    tarred(tmp_path / "x.tgz", {"zeros.txt": bytes(2_000_000)}, "w:gz")
    with pytest.raises(BenchError, match="holds more than 0 MiB"):
        find(str(tmp_path / "x.tgz"))
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    with pytest.raises(BenchError, match="holds more than 3 files"):
        find(str(zipped(path, files)))


@pytest.mark.parametrize("first", [False, True], ids=["after a file", "at once"])
@pytest.mark.parametrize("kind", [b"x", b"g", b"X", b"L", b"K"])
def test_what_a_tar_says_of_a_file_is_not_read_without_bound(tmp_path, kind, first):
    path, notes = tmp_path / "x.tar", tarfile.TarInfo("notes")
    notes.type, notes.size = kind, 1 << 32
    with path.open("wb") as file:
        file.write(b"" if first else tarfile.TarInfo("a.png").tobuf())
        file.write(notes.tobuf())
        file.truncate(1 << 32)  # a hole: it takes no room on the disk
    with pytest.raises(BenchError, match=r"x\.tar: it says too much of one of its files"):
        find(str(path))


@pytest.mark.parametrize("named", [b"a.png\n", b"9" * 4000 + b"\n"], ids=["not its map", "a map of any length"])
def test_a_sparse_file_in_a_tar_is_passed_over_without_its_map(tmp_path, named, picture):
    path, notes = tmp_path / "x.tar", {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.png"}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data, said in (("a.png", named, notes), ("b.png", picture(0), {})):
            entry = tarfile.TarInfo(name)
            entry.size, entry.pax_headers = len(data), said
            archive.addfile(entry, io.BytesIO(data))
    listing = find(str(path))
    assert (listing.names, listing.gone) == (("b.png",), {"a.png": "no regular file"})


def test_a_zip_with_an_endless_list_of_members_is_refused_before_it_is_read(tmp_path, files, monkeypatch):
    path = zipped(tmp_path / "x.zip", files)
    monkeypatch.setattr(archives, "MOST_LIST", 100)
    with pytest.raises(BenchError, match=r"x\.zip: it lists files in more than 0 MiB"):
        find(str(path))


def test_notes_for_all_files_of_a_tar_are_not_gathered_without_bound(tmp_path):
    """Each is small; tarfile would keep all, and give all to every file."""
    path = tmp_path / "x.tar"
    with path.open("wb") as file:
        for number in range(40):
            notes = {f"k{number}-{each}": "v" * 900 for each in range(40)}
            file.write(tarfile.TarInfo.create_pax_global_header(notes))
    with pytest.raises(BenchError, match="it says too much of one of its files"):
        find(str(path))
    with path.open("wb") as file:
        for number in range(40):
            notes = {f"k{number}-{each}": "v" * 900 for each in range(40)}
            entry = tarfile.TarInfo(f"{number}.png")
            file.write(tarfile.TarInfo.create_pax_global_header(notes) + entry.tobuf())
        file.write(bytes(1024))
    with archives._open(path) as entries:
        assert [member.name for member, _ in entries] == [f"{number}.png" for number in range(40)]


@pytest.mark.parametrize("kind", ["x.tar", "x.zip"])
def test_folders_count_too(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    if kind == "x.tar":
        with tarfile.open(tmp_path / kind, "w") as archive:
            for name in "abcd":
                entry = tarfile.TarInfo(name)
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
    else:
        with zipfile.ZipFile(tmp_path / kind, "w") as archive:
            for name in "abcd":
                archive.mkdir(name)
    with pytest.raises(BenchError, match="holds more than 3 files"):
        find(str(tmp_path / kind))


@pytest.mark.parametrize("name", ["", ".", "/", "./.", "//"])
def test_a_member_without_a_name_is_passed_over(tmp_path, picture, name):
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for place, data, said in ((name or "a", b"x", {"path": name}), ("b.png", picture(0), {})):
            entry = tarfile.TarInfo(place)
            entry.size, entry.pax_headers = len(data), said
            archive.addfile(entry, io.BytesIO(data))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("@@", b"x")
        archive.writestr("b.png", picture(0))
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(data.replace(b"@@", b"./" if name == "/" else b"//"))
    for kind in ("x.tar", "x.zip"):
        assert find(str(tmp_path / kind)).names == ("b.png",)


def test_an_old_sparse_file_of_many_pieces_is_refused(tmp_path):
    entry = tarfile.TarInfo("a.png")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(entry.tobuf(format=tarfile.GNU_FORMAT))
    block[482] = 1  # another block of pieces follows
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "x.tar").write_bytes(bytes(block) + b"1" * 1024)
    with pytest.raises(BenchError, match="it says too much"):
        find(str(tmp_path / "x.tar"))


@pytest.mark.parametrize("source", ["list.txt", "-"])
def test_a_list_without_end_is_refused(tmp_path, monkeypatch, source):
    for module in (listing_module, lists):
        monkeypatch.setattr(module, "MOST_TEXT", 1000)
    (tmp_path / "list.txt").write_bytes(b"a.png\n" * 1000)
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "list.txt").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        with pytest.raises(BenchError, match="is larger than 0 MiB; a folder of so many images can be named"):
            find(source)


def test_a_list_names_files_by_its_first_column(tmp_path, picture, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"caf\xe9 #1")  # no suffix, not UTF-8: a list is believed
    for number, name in enumerate(("b.png", odd, "a\tb.png")):
        (tmp_path / name).write_bytes(picture(number))
    absolute = os.fsencode(tmp_path / "b.png")
    data = b'# kept\n"a\\tb.png"\t0.5\t\r\n\n%s\n%s\t1\nb.png\nb.png\n' % (os.fsencode(odd), absolute)
    (tmp_path / "list.txt").write_bytes(data)
    listing = find("list.txt")
    assert (listing.kind, listing.title, listing.source) == ("list", "list.txt", "list.txt")
    assert sorted(listing.names) == sorted([str(tmp_path / "b.png"), "a\tb.png", "b.png", odd])
    assert [listing.given(name) for name in listing.names] == list(listing.names)
    assert len(read(listing, tmp_path).images) == 3, "b.png is there twice"


def test_a_list_whose_paths_begin_elsewhere_or_end_at_commas(tmp_path, picture, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.png").write_bytes(picture(0))
    (tmp_path / "in" / "list.txt").write_bytes(b"1.png\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="Paths are relative to where you are, and this is one of in: start from th"):
        find("in/list.txt")
    (tmp_path / "list.csv").write_bytes(b"in/1.png,cat\n")
    with pytest.raises(BenchError, match=r"in/1\.png is there: columns are separated by tabs, not by commas"):
        find("list.csv")


def test_a_list_on_standard_input(tmp_path, picture, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1.png").write_bytes(picture(0))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1.png\nnope.png\n")))
    listing = find("-")
    assert (listing.names, listing.gone, listing.title) == (
        ("1.png",),
        {"nope.png": "No such file or directory"},
        "standard-input",
    )
