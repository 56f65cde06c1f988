"""The manifest: exact bytes, the same truth back, arrays by image, and errors that name the line."""

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bench.api import Poison
from bench.data.manifest import Manifest
from bench.errors import BenchError

BOXED = Poison(index=2, trigger=1, target=7, box=(3, 4, 5, 6), seed=99)
SPREAD = Poison(index=0, trigger=0, target=1, box=None, seed=2**62)
LINES = (
    b'{"id":"a","poisoned":true,"trigger":0,"target":1,"box":null,"seed":4611686018427387904}\n'
    b'{"id":"\\u00e9","poisoned":false,"trigger":null,"target":null,"box":null,"seed":null}\n'
    b'{"id":"c","poisoned":true,"trigger":1,"target":7,"box":[3,4,5,6],"seed":99}\n'
)


@pytest.fixture
def manifest():
    return Manifest(["a", "é", "c"], [BOXED, SPREAD])


def poison(**change):
    return Poison(**{"index": 0, "trigger": 0, "target": 0, "box": (0, 0, 1, 1), "seed": 0, **change})


@st.composite
def manifests(draw):
    ids = draw(st.lists(st.text(), unique=True, max_size=6))
    count, side = st.integers(0, 2**63), st.integers(1, 300)
    box = st.none() | st.tuples(st.integers(0, 300), st.integers(0, 300), side, side)
    strength = st.none() | st.floats(allow_nan=False, allow_infinity=False)
    fields = {"trigger": st.integers(0, 9), "target": count, "box": box, "seed": count, "strength": strength}
    indices = draw(st.sets(st.sampled_from(range(len(ids))))) if ids else set()
    return Manifest(ids, [Poison(index=i, **{name: draw(each) for name, each in fields.items()}) for i in indices])


def test_a_strength_is_a_seventh_key_of_its_row_alone():
    found = Manifest(["a", "b", "c"], [poison(strength=50), poison(index=2)])
    first, clean, last = found.to_bytes().splitlines()
    assert first.endswith(b'"box":[0,0,1,1],"seed":0,"strength":50.0}')
    assert b"strength" not in clean + last
    assert Manifest.from_bytes(found.to_bytes()) == found


def test_bytes_are_these(manifest):
    assert manifest.to_bytes() == LINES
    assert Manifest.from_bytes(LINES.replace(b"\n", b"\r\n")) == manifest
    assert Manifest.from_bytes(LINES.rstrip(b"\n")) == manifest


def test_arrays_by_image(manifest):
    assert len(manifest) == 3
    assert manifest.poisoned.tolist() == [True, False, True]
    assert manifest.poisoned.dtype == bool
    assert manifest.trigger.tolist() == [0, -1, 1]
    assert manifest.target.tolist() == [1, -1, 7]
    assert manifest.boxes.tolist() == [[-1] * 4, [-1] * 4, [3, 4, 5, 6]]
    assert (manifest.trigger.dtype, manifest.target.dtype, manifest.boxes.dtype) == (np.int64,) * 3
    for array in (manifest.poisoned, manifest.boxes, manifest.trigger, manifest.target):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@settings(deadline=None, max_examples=60)
@given(manifests())
def test_read_back_is_the_same(manifest):
    again = Manifest.from_bytes(manifest.to_bytes())
    assert again == manifest
    assert again.to_bytes() == manifest.to_bytes()
    np.testing.assert_array_equal(again.boxes, manifest.boxes)


def test_files(tmp_path, manifest):
    manifest.save(tmp_path / "sub" / "m.jsonl")
    assert (tmp_path / "sub" / "m.jsonl").read_bytes() == LINES
    assert Manifest.load(tmp_path / "sub" / "m.jsonl") == manifest
    with pytest.raises(BenchError, match=r"cannot read the manifest .*none\.jsonl: No such file"):
        Manifest.load(tmp_path / "none.jsonl")


def test_numbers_of_numpy_become_plain():
    found = Manifest(["a"], [poison(index=np.int64(0), box=tuple(np.arange(1, 5)), seed=np.uint64(2**63))])
    assert found.poisons == (poison(box=(1, 2, 3, 4), seed=2**63),)
    assert b'"box":[1,2,3,4],"seed":9223372036854775808}' in found.to_bytes()


def test_nothing_poisoned_nothing_at_all_and_a_name_that_is_no_unicode():
    clean = Manifest(["a"], [])
    assert (clean.poisoned.tolist(), clean.boxes.tolist()) == ([False], [[-1] * 4])
    assert Manifest.from_bytes(b"").boxes.shape == (0, 4)
    no_unicode = b"broken\xff.png".decode("utf-8", "surrogateescape")
    assert Manifest.from_bytes(Manifest([no_unicode], []).to_bytes()).ids == (no_unicode,)


@pytest.mark.parametrize(
    ("ids", "poisons", "complaint"),
    [
        (["a", "b", "a"], [], "images 0 and 2 have the same id 'a'"),
        ([1], [], "id of image 0 is 1; expected a string"),
        (["a"], [poison(index=1)], r"poisoned image 1 is not among the 1 image \(0 to 0\)"),
        (["a"], [poison(index=-1)], "index of poisoned image -1 is -1; expected an int from 0"),
        (["a"], [poison(), poison()], "image 0 is poisoned twice"),
        (["a"], [poison(target=-1)], "target of poisoned image 0 is -1"),
        (["a"], [poison(seed=1.0)], "seed of poisoned image 0 is 1.0"),
        (["a"], [poison(trigger=True)], "trigger of poisoned image 0 is True"),
        (["a"], [poison(target=np.float64(1))], "target of poisoned image 0 is .*1"),
        (["a"], [poison(box=(0, 0, 0, 1))], "box of poisoned image 0"),
        (["a"], [poison(strength=float("inf"))], "strength of poisoned image 0 is inf; expected a finite number"),
        (["a"], [poison(strength="much")], "strength of poisoned image 0 is 'much'"),
        (["a"], [poison(box=(0, 0, 1))], "box of poisoned image 0"),
        (["a"], [poison(box=(-1, 0, 1, 1))], "box of poisoned image 0"),
    ],
)
def test_what_cannot_be_true_is_refused(ids, poisons, complaint):
    with pytest.raises(BenchError, match=complaint):
        Manifest(ids, poisons)


ROW = {"id": "b", "poisoned": True, "trigger": 0, "target": 0, "box": [0, 0, 1, 1], "seed": 0}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "got list, expected an object"),
        ("", "not JSON"),
        (json.dumps({**ROW, "id": 5}), "id is 5; expected a string"),
        (json.dumps({**ROW, "sede": 1}), "unknown key 'sede'. Did you mean 'seed'"),
        (json.dumps({k: v for k, v in ROW.items() if k != "box"}), "missing box"),
        (json.dumps({**ROW, "poisoned": 1}), "poisoned is 1; expected true or false"),
        (json.dumps({**ROW, "poisoned": False}), "a clean image has a trigger"),
        (
            json.dumps({"id": "b", **dict.fromkeys(list(ROW)[2:]), "poisoned": False, "strength": 1}),
            "a clean image has",
        ),
        (json.dumps({**ROW, "strenght": 1}), "unknown key 'strenght'. Did you mean 'strength'"),
        (json.dumps({**ROW, "target": None}), "target of poisoned image 1 is None"),
        (json.dumps({**ROW, "box": "no"}), "box of poisoned image 1"),
        (json.dumps({**ROW, "box": [0, 0, "1", 1]}), "box of poisoned image 1"),
    ],
)
def test_a_bad_line_is_named(line, complaint):
    good = json.dumps({**ROW, "id": "a"})
    with pytest.raises(BenchError, match=f"m.jsonl, line 2: {complaint}"):
        Manifest.from_bytes(f"{good}\n{line}\n".encode(), "m.jsonl")
    with pytest.raises(BenchError, match=r"m\.jsonl: images 0 and 1 have the same id"):
        Manifest.from_bytes(f"{good}\n{good}\n".encode(), "m.jsonl")
