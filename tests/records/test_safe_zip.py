"""Zips from strangers: what is not just what is expected is refused, with one error, and nothing else happens."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bench.errors import BenchError
from bench.records import safe_zip as archive
from bench.records.safe_zip import Archive, array_bytes, array_from, json_from, pack, read_file


def zipped(*members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch, zipfile.ZipFile(buffer, "w", compression) as file:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of a name given twice
        for name, data in members:
            file.writestr(name, data)
    return buffer.getvalue()


def encrypted():
    data = bytearray(zipped(("x", b"1")))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


BOMB = zipped(("x", bytes(50 * 2**20)))
LIAR = zipped(("x", bytes(10**6))).replace((10**6).to_bytes(4, "little"), (100).to_bytes(4, "little"))
"""Both sizes on record, in the file's own header and in the list, say 100."""


def test_equal_files_give_equal_bytes_in_any_order():
    assert pack({"b": b"1" * 99, "a": b"2"}) == pack({"a": b"2", "b": b"1" * 99})
    found = Archive(pack({"b": b"1" * 99, "a": b"2"}))
    assert found.names == {"a", "b"}
    assert found.read("b", 99) == b"1" * 99


@pytest.mark.parametrize(
    ("data", "said"),
    [
        *[(data, "it is no zip file") for data in (b"", b"PK", b"not a zip at all", pickle.dumps([1]))],
        (zipped(("x\x1b", b"1"), ("x\x1b", b"2")), r"it holds two files 'x\\x1b'"),
        (zipped(*((str(n), b"") for n in range(4))), "more than 3 files"),
        (zipped(("y", b"")), "x is missing"),
        (zipped(("x", b"1" * 99), compression=zipfile.ZIP_LZMA), "x is encrypted or oddly packed"),
        (encrypted(), "x is encrypted or oddly packed"),
        (BOMB, "x is of 52428800 bytes; at most 1000 are expected"),
        (LIAR, "x is damaged|x unpacks to more"),
    ],
    ids=lambda each: each if isinstance(each, str) else "zip",
)
def test_a_zip_that_is_refused(monkeypatch, data, said):
    assert len(data) < 2**17
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    with pytest.raises(BenchError, match=said):
        Archive(data).read("x", 1000)


def test_a_file_that_is_too_large_or_no_regular_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILE", 10)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x").write_bytes(bytes(11))
    said = dict.fromkeys((tmp_path / "pipe", Path("/dev/zero"), tmp_path), "cannot read it: no regular file")
    said |= {tmp_path / "x": "cannot read it: larger than", tmp_path / "y": "cannot read it: No such file"}
    for path, fault in said.items():
        with pytest.raises(BenchError, match=fault):
            read_file(path)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [(np.arange(6).reshape(2, 3), "<i8"), (np.array([True, False]), "|b1"), (np.array([0.5, np.nan]), "<f8")],
)
def test_an_array_comes_back(array, dtype):
    found = array_from(array_bytes(array, dtype), "x", dtype, array.shape)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.flags.writeable


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))  # what a pickle could do


def test_nothing_is_unpickled(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil(tmp_path / "ran")], dtype=object), allow_pickle=True)
    for data in (buffer.getvalue(), pickle.dumps(Evil(tmp_path / "ran"))):
        with pytest.raises(BenchError, match=r"x is object \(1,\); expected|x is no \.npy file"):
            array_from(data, "x", "<i8", (1,))
    assert not (tmp_path / "ran").exists()


def npy(header, rest=0):
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(rest)


def header(descr="<i8", fortran=False, shape=(2,)):
    return f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (npy(header(shape=(10**12,))), r"x is int64 \(1000000000000,\)"),
        (npy(header(fortran=True), 16), "in Fortran order"),
        (npy(header(descr="<i4"), 16), "x is int32"),
        (npy(header(), 15), "cut short or too long"),
        (npy(header(), 17), "cut short or too long"),
        (npy("__import__('os').getcwd()"), r"x is no \.npy file"),
        (npy("{"), r"x is no \.npy file"),
        (b"\x93NUMPY\x03\x00" + bytes(200), r"of version \(3, 0\)"),
        (b"", r"x is no \.npy file"),
    ],
)
def test_an_array_that_is_not_what_is_expected(data, said):
    with pytest.raises(BenchError, match=said):
        array_from(data, "x", "<i8", (2,))


def test_a_bool_is_0_or_1():
    """Of a byte 2 NumPy makes a True that counts twice."""
    data = array_bytes(np.array([True, False]), "|b1")
    with pytest.raises(BenchError, match="neither false nor true"):
        array_from(data[:-1] + b"\x02", "x", "|b1", (2,))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": 1, "a": 2}', "a key is given twice"),
        (b"NaN", "NaN is not JSON"),
        (b"\xff", "x is not JSON"),
        (b"[" * 100 + b"]" * 100, "nested more than 64 deep"),
        (b"[" * 10**6, "x is not JSON"),
        (b"1" * 5000, "x is not JSON"),
    ],
)
def test_json_that_is_refused(data, said):
    with pytest.raises(BenchError, match=said):
        json_from(data, "x")


PLAIN = st.none() | st.booleans() | st.integers() | st.text()


@settings(deadline=None, max_examples=40)
@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10))
def test_other_json_is_read_as_it_is(value):
    assert json_from(json.dumps(value).encode(), "x") == value
