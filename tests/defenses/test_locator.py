import numpy as np
import torch
from hypothesis import given, strategies as st

from bench import Seeds
from bench.defenses.search.locator import Locator, best_window


class TestBestWindow:
    def test_by_hand(self):
        heat = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 2.0, 5.0], [0.0, 0.0, 4.0]]])
        assert best_window(heat, 2).tolist() == [[1, 1, 2, 2]]  # 2 + 5 + 0 + 4 = 11
        assert best_window(heat, 1).tolist() == [[1, 2, 1, 1]]

    def test_of_equal_windows_the_first_by_rows(self):
        assert best_window(torch.zeros(1, 4, 4), 2).tolist() == [[0, 0, 2, 2]]
        heat = torch.zeros(1, 4, 4)
        heat[0, 3, 3] = heat[0, 0, 3] = 0.1
        assert best_window(heat, 2).tolist() == [[0, 2, 2, 2]]

    @given(st.integers(3, 9), st.integers(0, 10_000), st.data())
    def test_as_a_plain_search(self, size, seed, data):
        window = data.draw(st.integers(1, size - 1))
        heat = np.random.default_rng(seed).integers(0, 4, (size, size))
        places = [(i, j) for i in range(size - window + 1) for j in range(size - window + 1)]
        sums = [heat[i : i + window, j : j + window].sum() for i, j in places]
        top, left = places[int(np.argmax(sums))]
        assert best_window(torch.tensor(heat)[None].float(), window).tolist() == [[top, left, window, window]]


def test_a_locator_gives_the_best_window_of_its_maps():
    class Brightest(Locator):
        window = 2

        def maps(self, images, own, seeds):
            return images.float().mean(1)

    images = torch.zeros(2, 3, 5, 5, dtype=torch.uint8)
    images[0, :, 3:, 1:3] = 9
    found = Brightest()(images, torch.zeros(2, dtype=torch.long), Seeds(0))
    assert found.tolist() == [[3, 1, 2, 2], [0, 0, 2, 2]]
