import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from bench import Seeds
from bench.defenses.search.locator import Locator, best_window

CORNERS = torch.zeros(4, 4)
CORNERS[3, 3] = CORNERS[0, 3] = 0.1


@pytest.mark.parametrize(
    ("heat", "window", "found"),
    [
        (torch.tensor([[0.0, 1, 0], [0, 2, 5], [0, 0, 4]]), 2, [1, 1, 2, 2]),  # 2 + 5 + 0 + 4 = 11
        (torch.tensor([[0.0, 1, 0], [0, 2, 5], [0, 0, 4]]), 1, [1, 2, 1, 1]),
        (torch.zeros(4, 4), 2, [0, 0, 2, 2]),  # of equal windows the first by rows
        (CORNERS, 2, [0, 2, 2, 2]),
    ],
)
def test_the_best_window_by_hand(heat, window, found):
    assert best_window(heat[None], window).tolist() == [found]


@given(st.integers(3, 9), st.integers(0, 10_000), st.data())
def test_the_best_window_as_a_plain_search(size, seed, data):
    window = data.draw(st.integers(1, size - 1))
    heat = np.random.default_rng(seed).integers(0, 4, (size, size))
    places = [(i, j) for i in range(size - window + 1) for j in range(size - window + 1)]
    top, left = places[int(np.argmax([heat[i : i + window, j : j + window].sum() for i, j in places]))]
    assert best_window(torch.tensor(heat)[None].float(), window).tolist() == [[top, left, window, window]]


def test_a_locator_gives_the_best_window_of_its_maps():
    class Brightest(Locator):
        window = 2

        def maps(self, images, own, seeds):
            return images.float().mean(1)

    images = torch.zeros(2, 3, 5, 5, dtype=torch.uint8)
    images[0, :, 3:, 1:3] = 9
    assert Brightest()(images, torch.zeros(2).long(), Seeds(0)).tolist() == [[3, 1, 2, 2], [0, 0, 2, 2]]
