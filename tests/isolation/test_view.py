"""What a defense is handed, and what it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.data.images import ArrayImages
from bench.errors import UndeclaredNeed
from bench.isolation.view import DefenderView
from bench.seeds import Seeds

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8)).astype(np.uint8)
CPU = torch.device("cpu")


def view(**more):
    return DefenderView(
        ArrayImages(PIXELS), **{"name": "nosy", "encoder": None, "seeds": Seeds(7), "device": CPU, **more}
    )


def test_images_by_index_each_batch_the_callers_own():
    seen = view()
    assert (len(seen), seen.size, seen.device) == (12, 8, CPU)
    for indices in ([3, 1, 1], np.array([3, 1, 1]), (3, 1, 1)):
        batch = seen.batch(indices)
        assert batch.dtype == torch.uint8
        np.testing.assert_array_equal(batch.numpy(), PIXELS[[3, 1, 1]])
        batch.zero_()
    assert seen.batch([]).shape == (0, 3, 8, 8)
    for wrong in (np.arange(12) > 8, [1.9, 2.5]):
        with pytest.raises(TypeError):
            seen.batch(wrong)


def test_the_encoder_is_refused_where_it_is_not_declared_and_loaded_once_where_it_is():
    with pytest.raises(UndeclaredNeed, match=r"defense 'nosy' asked for the encoder without declaring it.*needs"):
        view().encoder  # noqa: B018 - asking is the point
    loaded = []
    seen = view(encoder=lambda device: loaded.append(device) or "the encoder")
    assert loaded == []
    assert seen.encoder == seen.encoder == "the encoder"
    assert loaded == [CPU]


def test_seeds_steps_and_progress_are_what_it_was_given():
    kept, told = {}, []
    seen = view(step=lambda name, compute: kept.setdefault(name, compute()), report=lambda *at: told.append(at))
    assert seen.seeds("masks", 3).value == Seeds(7, "masks", 3).value
    assert seen.step("a", lambda: {"x": 1}) == {"x": 1}
    seen.progress("masks", 1, 2)
    assert (kept, told) == ({"a": {"x": 1}}, [("masks", 1, 2)])
