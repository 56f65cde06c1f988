import hashlib

import numpy as np
import pytest
from hypothesis import given, strategies as st

from bench.data.fingerprint import array_digest, fingerprint, image_digests
from bench.data.images import ArrayImages


def digest(text):
    return hashlib.sha256(text.encode()).digest()


def base(classes=("a", "b"), name="train", ids=("x", "y"), data=("1", "2"), **facts):
    return fingerprint(classes, [(name, list(ids), map(digest, data))], **{"size": 8, **facts})


def test_the_stream_is_what_the_docstring_says():
    hasher = hashlib.sha256()
    for part in (b"bench dataset 1", b'{"size": 8}', b"1", b"a", b"train", b"1", b"x", digest("1")):
        hasher.update(len(part).to_bytes(8, "little") + part)
    assert base(classes=["a"], ids=["x"], data=["1"]) == hasher.hexdigest()


def test_every_part_counts():
    variants = [
        base(),
        base(classes=("a", "c")),
        base(classes=("b", "a")),
        base(classes=("ab", "")),
        base(name="val"),
        base(ids=("y", "x")),
        base(ids=("xy", "")),
        base(data=("2", "1")),
        base(size=9),
        base(of="files"),
    ]
    assert len(set(variants)) == len(variants)
    assert base() == base()


def test_moving_an_image_to_the_other_split_counts_and_ids_and_digests_must_pair():
    one = fingerprint([], [("train", ["x", "y"], map(digest, "12")), ("val", [], [])])
    two = fingerprint([], [("train", ["x"], map(digest, "1")), ("val", ["y"], map(digest, "2"))])
    assert one != two
    with pytest.raises(ValueError, match="zip"):
        base(data=("1",))


def test_array_digest_holds_label_and_pixels():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    assert array_digest(4, pixels) == hashlib.sha256(b"4:" + bytes(range(12))).digest()
    strided = np.ascontiguousarray(pixels.transpose(1, 2, 0)).transpose(2, 0, 1)
    assert array_digest(4, strided) == array_digest(4, pixels)
    assert array_digest(5, pixels) != array_digest(4, pixels)


@given(st.integers(1, 9), st.integers(0, 9))
def test_image_digests_do_not_depend_on_the_chunk(chunk, count):
    array = np.random.default_rng(0).integers(0, 256, (count, 3, 2, 2), dtype=np.uint8)
    labels = np.arange(count) % 2
    expected = [array_digest(label, image) for label, image in zip(labels, array, strict=True)]
    assert list(image_digests(ArrayImages(array), labels, chunk)) == expected
