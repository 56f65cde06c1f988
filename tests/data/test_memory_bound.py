"""Memory: nothing makes a second copy of what grows with the number of images; and all is as it was with one."""

import gc
import pickle
import resource  # noqa: F401 - where it is missing (Windows) so is /proc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from bench import Images
from bench.api import Poison
from bench.data.images import ArrayImages, FileImages, Subset
from bench.data.manifest import Manifest
from bench.data.names import Names
from bench.defenses.search.clusters import all_features, k_means
from bench.errors import BenchError
from bench.isolation.view import DefenderView
from bench.parallel.rows import Rows
from bench.seeds import Seeds
from bench.ssl.encoder import FrozenEncoder, normalised_features
from bench.ssl.linear_probe import fit
from bench.ssl.loader import resident
from bench.ssl.settings import ProbeSettings

CPU = torch.device("cpu")
MB = 1 << 20
WIDE = 1024  # features
MANY = 12 * MB // WIDE  # rows: 48 MiB of float32: of over 32 MiB glibc takes none from what it has lain by


def _status(key):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


@pytest.fixture
def above():
    """above(call): how many bytes more than before were resident at the highest, while it ran."""
    reset = Path("/proc/self/clear_refs")

    def measure(call):
        gc.collect()
        reset.write_text("5")  # Linux: the highest is what is resident now
        before = _status("VmRSS:")
        kept = call()
        peak = _status("VmHWM:") - before
        del kept
        return peak

    try:
        reset.write_text("5")
    except OSError:
        pytest.skip("the system does not tell the highest memory of a while")
    return measure


class Blank(Images):
    """Images that take no memory."""

    size = 2

    def __init__(self, count):
        self._count = count

    def __len__(self):
        return self._count

    def batch(self, indices):
        return torch.ones((len(indices), 3, 2, 2), dtype=torch.uint8)


class Spread(nn.Module):
    """WIDE features of any image."""

    def forward(self, images):
        return images.flatten(1)[:, :1].expand(-1, WIDE) + torch.arange(WIDE)


def view(images, encoder):
    return DefenderView(
        images,
        name="toy",
        encoder=lambda device: encoder,
        seeds=Seeds(0),
        step=lambda name, compute: compute(),
        report=lambda what, done, total: None,
        device=CPU,
    )


# --- no second copy -------------------------------------------------------------------------------


def test_the_measure_sees_a_second_copy(above):
    size = 4 * MANY * WIDE
    once = above(lambda: np.ones((MANY, WIDE), np.float32))
    twice = above(lambda: np.concatenate([np.ones((MANY, WIDE), np.float32), np.ones((1, WIDE), np.float32)]))
    assert once == pytest.approx(size, rel=0.1)
    assert twice == pytest.approx(2 * size, rel=0.1)


def test_features_lie_in_one_array(above):
    encoder, images = FrozenEncoder(Spread(), WIDE, CPU), Blank(MANY)
    seen, size = view(images, encoder), 4 * MANY * WIDE
    assert above(lambda: normalised_features(encoder, images)) < 1.3 * size
    assert above(lambda: all_features(seen, 256)) < 1.3 * size


def test_k_means_reads_the_features_where_they_lie(above):
    features = np.random.default_rng(0).random((MANY, WIDE), np.float32)
    k_means(features[:100], 2, 0)
    assert above(lambda: k_means(features, 2, 0)) < 0.3 * features.nbytes


def test_the_probe_makes_no_copy_of_the_features(above):
    features, labels = torch.rand((MANY, WIDE), generator=Seeds(0).torch()), np.arange(MANY) % 2
    settings = ProbeSettings(epochs=1, batch=256)
    fit(features[:100], labels[:100], 2, settings, Seeds(0))
    assert above(lambda: fit(features, labels, 2, settings, Seeds(0))) < 0.3 * 4 * features.numel()


def test_a_resident_set_is_read_once(above):
    pixels = np.ones((16_000, 3, 32, 32), np.uint8)
    assert above(lambda: resident(ArrayImages(pixels), "cpu")) < 1.3 * pixels.nbytes


def test_rows_of_several_processes_lie_in_one_array(above):
    def gather():
        rows = Rows(MANY)
        for start in range(0, MANY, 1024):
            stop = min(start + 1024, MANY)
            rows.put(start, stop, {"features": np.ones((stop - start, WIDE), np.float32)})
        return rows.arrays

    assert above(gather) < 1.3 * 4 * MANY * WIDE


def traced(call):
    """What it returns, Python's memory at its highest meanwhile, and what is still held."""
    tracemalloc.start()
    try:
        kept = call()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return kept, peak, held


def test_a_manifest_is_small_and_so_is_reading_and_writing_it(tmp_path):
    """Of 40 letters an id: as strings in a tuple they take some 100 bytes each."""
    count, path = 20_000, tmp_path / "train.jsonl"
    ids = Names(f"train/n{index % 100:08d}/n{index % 100:08d}_{index:08d}.JPEG" for index in range(count))
    rows = [Poison(index=index, trigger=0, target=0, box=(1, 2, 3, 4), seed=index) for index in range(0, count, 200)]
    made = Manifest(ids, rows)
    _, peak, _ = traced(lambda: made.save(path))
    assert peak < MB
    again, peak, held = traced(lambda: Manifest.load(path))
    assert again == made
    assert held < 65 * count
    assert peak < 130 * count


def test_names_of_files_are_small_and_reading_images_makes_no_strings():
    names, _, held = traced(lambda: Names(f"class {index % 10}/{index:06d}.jpg" for index in range(20_000)))
    assert held < 35 * len(names)
    assert len(pickle.dumps(FileImages(names, 8))) < 35 * len(names)


@pytest.mark.parametrize(
    ("part", "small"),
    [
        (lambda whole: whole, True),
        (lambda whole: whole[2:], False),
        (lambda whole: whole.transpose(0, 1, 3, 2), False),
        (lambda whole: np.asarray(whole)[1:], False),
        (lambda whole: np.load(whole.filename, mmap_mode="c"), False),
    ],
)
def test_a_memory_map_is_opened_by_who_unpickles_it_a_part_of_one_is_pickled_as_any_array(tmp_path, part, small):
    np.save(tmp_path / "pixels.npy", np.random.default_rng(0).integers(0, 256, (500, 3, 8, 8), np.uint8))
    images = Subset(ArrayImages(part(np.load(tmp_path / "pixels.npy", mmap_mode="r"))), [3, 489])
    sent = pickle.dumps(images)
    assert (len(sent) < 2000) == small
    assert torch.equal(pickle.loads(sent).batch([0, 1]), images.batch([0, 1]))


# --- the same as before ---------------------------------------------------------------------------


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.sampled_from(["i8", "f4", "?"]), st.booleans())
def test_rows_are_those_of_parts_that_are_joined(lengths, kind, backwards):
    draw = np.random.default_rng(len(lengths))
    parts = [{"a": draw.integers(0, 2, (n, 2)).astype(kind), "b": np.array(["x" * n] * n)} for n in lengths]
    stops = np.cumsum(lengths).tolist()
    rows, places = Rows(stops[-1]), list(zip(stops, lengths, parts, strict=True))
    for stop, length, part in places[::-1] if backwards else places:
        rows.put(stop - length, stop, part)
    for name in ("a", "b"):
        joined = np.concatenate([part[name] for part in parts])
        assert np.array_equal(rows.arrays[name], joined)
        assert rows.arrays[name].dtype == joined.dtype


def test_rows_that_do_not_fit_are_refused():
    rows = Rows(6)
    rows.put(0, 2, {"a": np.zeros((2, 3))})
    with pytest.raises(BenchError, match=r"rows 2 to 4 of 'a' have the shape \(1, 3\), expected \(2, 3\)"):
        rows.put(2, 4, {"a": np.zeros((1, 3))})
    with pytest.raises(BenchError, match=r"rows 2 to 4 have \['b'\], expected \['a'\]"):
        rows.put(2, 4, {"b": np.zeros((2, 3))})


TEXT = st.text(st.characters() | st.sampled_from("\udcff\udc80\n\0"), max_size=5)


@given(st.lists(TEXT, max_size=8), st.data())
def test_names_are_as_a_list(given_names, data):
    names = Names(given_names)
    assert list(names) == given_names
    assert len(names) == len(given_names)
    assert names == given_names
    assert tuple(given_names) == names
    assert hash(names) == hash(tuple(given_names))
    assert pickle.loads(pickle.dumps(names)) == names
    assert names[1:-1] == given_names[1:-1]
    other = data.draw(st.lists(TEXT, max_size=8))
    assert (names == Names(other)) == (names == other) == (given_names == other)
    assert names != "".join(given_names)
    assert repr(Names("abcd")) == "Names(['a', 'b', 'c', ...])"
    for at in (*range(-len(names), len(names)), *(np.arange(len(names)))):
        assert names[at] == given_names[at]
    for at in (len(names), -len(names) - 1):
        with pytest.raises(IndexError):
            names[at]
