"""Rows shared out over processes: cut at groups, joined in order, the same as in one."""

import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from bench.data.images import ArrayImages
from bench.defenses.poisoncam import PoisonCAM
from bench.defenses.search.clusters import all_features, learn
from bench.errors import BenchError
from bench.isolation.view import DefenderView, row_function
from bench.parallel.rows import alone, spans
from bench.parallel.shards import Shards
from bench.seeds import Seeds
from bench.ssl import encoder
from bench.ssl.encoder import FrozenEncoder, feature_maker

PIXELS = np.random.default_rng(0).integers(0, 256, (70, 3, 16, 16)).astype(np.uint8)


@given(st.integers(1, 500), st.integers(1, 40), st.integers(1, 9))
def test_spans_cover_all_rows_once_from_multiples_of_the_group(count, group, shares):
    found = spans(count, group, shares)
    assert [row for span in found for row in range(*span)] == list(range(count))
    assert all(start % group == 0 and start < stop for start, stop in found)
    assert len(found) <= shares
    sizes = [-(-(stop - start) // group) for start, stop in found]
    assert max(sizes) <= count / group / shares + 2


def test_spans_by_hand():
    assert spans(100, 32, 2) == [(0, 64), (64, 100)]
    assert spans(10, 32, 4) == [(0, 10)]
    assert spans(8, 1, 4) == [(0, 2), (2, 4), (4, 6), (6, 8)]


def test_one_device_needs_no_process():
    told = []

    def part(what, start, stop, done):
        for _ in range(start, stop):
            done(1)
        return {"rows": np.arange(start, stop) * what}

    assert alone(part)(3, 4, 1, told.append)["rows"].tolist() == [0, 3, 6, 9]
    assert told == [1, 2, 3, 4]


def counting(device):
    """Makes rows that say where they were made. At 7 it fails, as `what` says."""

    def part(what, start, stop, done):
        if what != "fine" and start <= 7 < stop:
            raise (BenchError if what == "bad input" else ValueError)(f"row 7: {what}")
        for _ in range(start, stop):
            done(1)
        return {"row": np.arange(start, stop), "process": np.full(stop - start, os.getpid())}

    return part


@pytest.fixture(autouse=True, scope="module")
def _importable():
    """The processes find this file's functions by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])
        yield


@pytest.fixture(scope="module")
def shards(_importable):
    """Two processes for the tests of this module."""
    with Shards(2, "cpu", threads=1) as made:
        yield made


def test_two_processes_join_in_order_and_add_up_what_is_done(shards):
    told = []
    found = shards.map_rows(counting)("fine", 10, 4, told.append)
    assert found["row"].tolist() == list(range(10))
    first, second = found["process"][0], found["process"][-1]
    assert found["process"].tolist() in ([first] * 4 + [second] * 6, [first] * 8 + [second] * 2)
    assert len({first, second, os.getpid()}) == 3
    assert told == list(range(1, 11))


def threads_there(device):
    """Makes rows that say with how many threads they are computed."""

    def part(what, start, stop, done):
        return {"threads": np.full(stop - start, torch.get_num_threads())}

    return part


def test_each_process_computes_with_as_many_threads_as_one_alone():
    with Shards(2, "cpu", threads=3) as made:
        assert made.map_rows(threads_there)("fine", 4, 1, lambda done: None)["threads"].tolist() == [3] * 4


def test_what_goes_wrong_there_is_raised_here(shards):
    team = shards.map_rows(counting)
    for what, error, said in (
        ("bad input", BenchError, r"^row 7: bad input$"),
        ("a bug", RuntimeError, "ValueError: row 7: a bug"),
    ):
        with pytest.raises(error, match=said):
            team(what, 10, 10, lambda done: None)
    assert team("fine", 10, 10, lambda done: None)["row"].tolist() == list(range(10))


def test_what_cannot_be_sent_is_said(shards):
    with pytest.raises(BenchError, match=r"cannot be shared out over several devices .*: use --devices 1"):
        shards.map_rows(lambda device: None)


class Source:
    """A toy encoder's source: mean colours and a random projection."""

    def __call__(self, device):
        torch_module = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 6))
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for each in torch_module.parameters():
                each.copy_(torch.randn(each.shape, generator=generator))
        return FrozenEncoder(torch_module, 6, device)


def views(shards):
    """The same view twice: alone, and with a team of two."""
    view = partial(DefenderView, ArrayImages(PIXELS), name="toy", encoder=Source(), seeds=Seeds(5))
    facts = {"device": torch.device("cpu"), "step": lambda name, compute: compute()}
    return view(**facts), view(**facts, share_out=lambda make: shards.map_rows(partial(row_function, make, view)))


def test_features_assignments_and_scores_are_those_of_one_process(shards):
    one, two = views(shards)
    np.testing.assert_allclose(all_features(two, 8), all_features(one, 8), atol=1e-6)
    first, second = learn(one, 5, 8), learn(two, 5, 8)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_allclose(first.distances, second.distances, atol=1e-6)
    search = PoisonCAM(clusters=5, masks=8, window=5, flip_set=10)
    settings = search.settings(one.size, len(one))
    indices, seeds = np.random.default_rng(1).permutation(70), Seeds(9)
    told = []
    ours = search._scorer(one, first, settings)(indices, seeds, lambda n: None)
    theirs = search._scorer(two, second, settings)(indices, seeds, told.append)
    assert ours.keys() == theirs.keys() == {"scores", "boxes"}
    for name, mine in ours.items():
        np.testing.assert_array_equal(mine, theirs[name])
    assert sorted(told) == told
    assert told[-1] == 70
    assert len(np.unique(ours["scores"])) > 1


def test_the_probes_features_are_those_of_one_process(shards, monkeypatch):
    monkeypatch.setattr(encoder, "BATCH", 32)
    images, cpu = ArrayImages(PIXELS), torch.device("cpu")
    with Shards(1, "cpu", threads=1) as alone_here:
        ours = feature_maker(Source(), cpu, alone_here)(images)
    theirs = feature_maker(Source(), cpu, shards)
    torch.testing.assert_close(theirs(images), ours)
    torch.testing.assert_close(theirs(ArrayImages(PIXELS[60:])), ours[60:])


def test_a_part_has_no_notebook():
    view = DefenderView(ArrayImages(PIXELS), name="toy", encoder=None, seeds=Seeds(5), device=torch.device("cpu"))
    with pytest.raises(BenchError, match="step 'x': a part of shared work saves no steps"):
        view.step("x", dict)
    assert view.seeds("a").value == Seeds(5, "a").value


def test_the_example_of_the_document_runs():
    text = (Path(__file__).parents[2] / "docs" / "howto" / "scale.md").read_text(encoding="utf-8")
    names = {}
    exec(next(iter(re.findall(r"```python\n(.*?)```", text, re.S))), names)
    view, _ = views(None)
    found = view.map_rows(partial(names["brightness"], 32))(None, 70, 32, lambda done: None)
    np.testing.assert_allclose(found["mean"], PIXELS.mean((1, 2, 3)), rtol=1e-5)
