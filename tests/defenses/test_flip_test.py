import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from bench import Seeds
from bench.defenses.search.clusters import Clusters
from bench.defenses.search.flip_test import FlipTest, cut, flip_set, flips, paste, pulls


class TestScores:
    @pytest.mark.parametrize(
        ("kind", "after", "scores"),
        [
            ("any", [[1, 0, 1, 0], [0, 0, 1, 2], [3, 3, 3, 3]], [2, 0, 4]),  # changes to whichever cluster
            ("own", [[1, 0, 1, 1], [0, 0, 0, 2], [3, 3, 3, 3]], [2, -1, 4]),  # the own cluster after minus before
        ],
    )
    def test_what_counts_as_a_flip(self, kind, after, scores):
        assert flips(torch.tensor([0, 0, 1, 2]), torch.tensor(after), torch.tensor([1, 1, 3]), kind).tolist() == scores

    @pytest.mark.parametrize("batch", [1, 6, 100])
    def test_a_red_patch_on_green_images(self, toy_view, batch):
        """Centres red and green; a full-size red patch turns every green image, and no red one."""
        images = torch.zeros(5, 3, 4, 4, dtype=torch.uint8)
        images[:2, 0] = 200
        images[2:, 1] = 200
        encoder = toy_view(images, lambda x: x.mean((2, 3)), 3).encoder
        clusters = Clusters(encoder, torch.eye(3)[:2], batch)
        patches = torch.stack([images[0], images[4], torch.zeros_like(images[0])])
        own = torch.tensor([0, 1, 0])
        for kind in ("any", "own"):  # black: nearest is the lower of two equals, cluster 0, so own goes from 2 to 5
            assert FlipTest(clusters, images, kind)(patches, own, Seeds(0)).tolist() == [3, 2, 3]


class TestPulls:
    before = torch.tensor([[1.0, 4.0, 9.0], [5.0, 2.0, 3.0]])  # of two images: clusters 0 and 1, by 3 and by 1
    after = torch.tensor([[[2.0, 4.0, 9.0], [5.0, 3.0, 2.5]], [[1.0, 4.0, 9.0], [0.0, 2.0, 3.0]]])

    def test_by_hand(self):
        """The first candidate: image 0's lead falls from 3 to 2, image 1's from 1 to -0.5. The second: from 1 to -2."""
        own = torch.tensor([2, 0])
        assert pulls(self.before, self.after, own, "any").tolist() == [2.5, 3.0]
        # Cluster 2 leads by -8 and -1 before, by -7 and 0.5 after; cluster 0 by 3 and -3 before, by 3 and 2 after.
        assert pulls(self.before, self.after, own, "own").tolist() == [2.5, 5.0]

    def test_one_cluster_pulls_nothing(self):
        assert pulls(self.before[:, :1], self.after[..., :1], torch.tensor([0, 0]), "any").tolist() == [0, 0]


class TestPaste:
    @given(st.integers(1, 6), st.integers(0, 999))
    @settings(max_examples=20)
    def test_as_a_plain_loop(self, window, seed):
        generator = Seeds(seed).torch()
        images = torch.randint(256, (4, 3, 7, 7), generator=generator, dtype=torch.uint8)
        patches = torch.randint(256, (3, 3, window, window), generator=generator, dtype=torch.uint8)
        tops, lefts = torch.randint(7 - window + 1, (2, 3, 4), generator=generator)
        untouched = images.clone()
        pasted = paste(images, patches, tops, lefts)
        for b in range(3):
            for f in range(4):
                expected, y, x = images[f].clone(), tops[b, f], lefts[b, f]
                expected[:, y : y + window, x : x + window] = patches[b]
                assert torch.equal(pasted[b, f], expected)
        assert torch.equal(images, untouched)
        boxes = torch.stack([tops[:, 0], lefts[:, 0], *torch.full((2, 3), window)], dim=1)
        assert torch.equal(cut(pasted[:, 0], boxes), patches), "cut takes back what was pasted"

    def test_places_reach_every_corner_and_never_leave_the_image(self, toy_view):
        images = torch.zeros(400, 3, 5, 5, dtype=torch.uint8)
        encoder = toy_view(images, lambda x: x.mean((2, 3)), 3).encoder
        spots = FlipTest(Clusters(encoder, torch.eye(3), 64), images)._spots(3, 3, Seeds(1))
        assert spots.shape == (2, 3, 400)
        pairs = set(zip(spots[0].flatten().tolist(), spots[1].flatten().tolist(), strict=True))
        assert pairs == {(i, j) for i in range(3) for j in range(3)}


def _flip_set(size, seed=0):
    labels = np.array([0, 0, 0, 1, 1, 3, 3, 3])  # cluster 2 is empty
    distances = np.array([3, 1, 2, 5, 4, 9, 8, 7], dtype=np.float32)
    return tuple(flip_set(labels, distances, size, Seeds(seed)))


def test_the_flip_set_holds_the_nearest_of_every_cluster():
    assert _flip_set(5) == (1, 4, 7)  # the size is rounded down to whole shares
    assert _flip_set(6) == _flip_set(8) == (1, 2, 3, 4, 6, 7)
    assert _flip_set(9) == tuple(range(8))  # a cluster too small gives all it has
    picks = [_flip_set(2, seed) for seed in range(40)]  # more clusters than places
    assert set(picks) == {(1, 4), (1, 7), (4, 7)}
    assert picks[0] == _flip_set(2)
