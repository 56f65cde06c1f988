"""What a defense is handed, and what it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.data.images import ArrayImages
from bench.errors import UndeclaredNeed
from bench.isolation.view import DefenderView
from bench.seeds import Seeds
from bench.ssl import loader as feed

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8)).astype(np.uint8)


def view(**more):
    facts = {
        "name": "nosy",
        "encoder": None,
        "seeds": Seeds(7),
        "step": lambda name, compute: compute(),
        "report": lambda what, done, total: None,
        "device": torch.device("cpu"),
    }
    return DefenderView(ArrayImages(PIXELS), **{**facts, **more})


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_images_by_index(monkeypatch, limit):
    monkeypatch.setattr(feed, "RESIDENT_BYTES", limit)
    seen = view()
    assert (len(seen), seen.size, seen.device) == (12, 8, torch.device("cpu"))
    for indices in ([3, 1, 1], np.array([3, 1, 1]), (3, 1, 1)):
        batch = seen.batch(indices)
        assert batch.dtype == torch.uint8
        np.testing.assert_array_equal(batch.numpy(), PIXELS[[3, 1, 1]])
    assert seen.batch([]).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_a_batch_is_the_callers_own(monkeypatch, limit):
    monkeypatch.setattr(feed, "RESIDENT_BYTES", limit)
    seen = view()
    seen.batch([0, 1]).zero_()
    np.testing.assert_array_equal(seen.batch([0, 1]).numpy(), PIXELS[:2])


def test_an_undeclared_encoder_is_refused():
    with pytest.raises(UndeclaredNeed, match=r"defense 'nosy' asked for the encoder without declaring it.*needs"):
        view().encoder  # noqa: B018 - asking is the point


def test_a_declared_encoder_is_loaded_once_when_it_is_asked_for():
    loaded = []
    seen = view(encoder=lambda: loaded.append(1) or "the encoder")
    assert loaded == []
    assert seen.encoder == seen.encoder == "the encoder"
    assert loaded == [1]


def test_seeds_are_children_of_its_node():
    assert view().seeds("masks", 3).value == Seeds(7, "masks", 3).value


def test_steps_and_progress_go_through():
    kept, told = {}, []
    seen = view(step=lambda name, compute: kept.setdefault(name, compute()), report=lambda *at: told.append(at))
    assert seen.step("a", lambda: {"x": 1}) == {"x": 1}
    seen.progress("masks", 1, 2)
    assert (kept, told) == ({"a": {"x": 1}}, [("masks", 1, 2)])


def test_there_is_no_truth_in_it():
    hidden = {"labels", "ids", "manifest", "poisons", "dataset", "images", "config", "classes"}
    assert not hidden & {name.lstrip("_") for name in (*dir(DefenderView), *vars(view()))}
