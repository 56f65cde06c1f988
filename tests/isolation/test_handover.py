"""The order of a view, and the file that its images are handed over in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.data.images import ArrayImages
from bench.errors import BenchError
from bench.isolation import handover
from bench.isolation.handover import hand_over, handed_over
from bench.seeds import Seeds

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
PIXELS[20:] = PIXELS[:20]  # every image twice


def shown(pixels, folder, seed=0, told=None):
    report = (lambda *at: None) if told is None else (lambda *at: told.append(at))
    order = hand_over(ArrayImages(pixels), Seeds(seed), folder, report)
    return order, handed_over(folder).batch(range(len(pixels)))


@pytest.mark.parametrize("batch", [1 << 25, 7 * 192])
def test_the_view_is_the_same_however_the_data_set_is_sorted(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(handover, "_BYTES", batch)
    told = []
    order, one = shown(PIXELS, tmp_path / "one", told=told)
    assert sorted(order) == list(range(40))
    assert torch.equal(one, torch.from_numpy(PIXELS[order]))
    for number, other in enumerate((np.arange(39, -1, -1), np.random.default_rng(1).permutation(40))):
        assert torch.equal(shown(PIXELS[other], tmp_path / str(number), seed=number)[1], one)
    assert told[-1] == ("reading images", 40, 40)
    assert len(told) == -(-40 // (batch // 192))


def test_equal_images_come_in_an_order_that_is_drawn(tmp_path):
    orders = [shown(PIXELS, tmp_path / str(seed), seed)[0] for seed in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    assert len({tuple(order % 20) for order in orders}) == 1


def test_no_seed_gives_away_the_order_of_the_file(tmp_path):
    """With it, and the attack guessed, one image of the data set would show that the guess is right."""
    one, other = (shown(PIXELS, tmp_path / name)[1] for name in ("one", "other"))
    assert torch.equal(one, other)
    files = [np.load(tmp_path / name / handover.IMAGES) for name in ("one", "other")]
    assert not np.array_equal(*files)


def test_what_was_written_completely_is_not_written_again(tmp_path):
    order, _ = shown(PIXELS, tmp_path)
    again = hand_over(Unreadable(), Seeds(0), tmp_path, lambda *_: None)
    assert again.tolist() == order.tolist()
    (tmp_path / handover.ROWS).unlink()
    with pytest.raises(BenchError, match="read"):
        hand_over(Unreadable(), Seeds(0), tmp_path, lambda *_: None)


class Unreadable(ArrayImages):
    def __init__(self):
        super().__init__(PIXELS)

    def batch(self, indices):
        raise BenchError("read")
