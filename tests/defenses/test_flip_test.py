import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from bench import Seeds
from bench.defenses.search.clusters import Clusters
from bench.defenses.search.flip_test import FlipTest, cut, flip_set, flips, paste


class TestScores:
    def test_any_counts_changes_to_whichever_cluster(self):
        before = torch.tensor([0, 0, 1, 2])
        after = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 2], [3, 3, 3, 3]])
        assert flips(before, after, torch.tensor([1, 1, 1]), "any").tolist() == [2, 0, 4]

    def test_own_counts_the_candidates_cluster_after_minus_before(self):
        before = torch.tensor([0, 0, 1, 2])
        after = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 2], [3, 3, 3, 3]])
        assert flips(before, after, torch.tensor([1, 1, 3]), "own").tolist() == [2, -1, 4]

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
        assert FlipTest(clusters, images, "any")(patches, own, Seeds(0)).tolist() == [3, 2, 3]
        # black: nearest is the lower of two equals, cluster 0, so own goes from 2 to 5 there
        assert FlipTest(clusters, images, "own")(patches, own, Seeds(0)).tolist() == [3, 2, 3]


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

    def test_cut_takes_back_what_was_pasted(self):
        patches = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)
        tops, lefts = torch.tensor([[1], [4]]), torch.tensor([[3], [0]])
        pasted = paste(torch.full((1, 3, 6, 6), 99, dtype=torch.uint8), patches, tops, lefts)[:, 0]
        boxes = torch.tensor([[1, 3, 2, 2], [4, 0, 2, 2]])
        assert torch.equal(cut(pasted, boxes), patches)

    def test_places_reach_every_corner_and_never_leave_the_image(self, toy_view):
        images = torch.zeros(400, 3, 5, 5, dtype=torch.uint8)
        encoder = toy_view(images, lambda x: x.mean((2, 3)), 3).encoder
        spots = FlipTest(Clusters(encoder, torch.eye(3), 64), images)._spots(3, 3, Seeds(1))
        assert spots.shape == (2, 3, 400)
        pairs = set(zip(spots[0].flatten().tolist(), spots[1].flatten().tolist(), strict=True))
        assert pairs == {(i, j) for i in range(3) for j in range(3)}


class TestFlipSet:
    labels = np.array([0, 0, 0, 1, 1, 3, 3, 3])  # cluster 2 is empty
    distances = np.array([3, 1, 2, 5, 4, 9, 8, 7], dtype=np.float32)

    def test_the_nearest_of_every_cluster(self):
        assert flip_set(self.labels, self.distances, 6, Seeds(0)).tolist() == [1, 2, 3, 4, 6, 7]

    def test_a_cluster_too_small_gives_all_it_has(self):
        assert flip_set(self.labels, self.distances, 8, Seeds(0)).tolist() == [1, 2, 3, 4, 6, 7]
        assert flip_set(self.labels, self.distances, 9, Seeds(0)).tolist() == list(range(8))

    def test_size_is_rounded_down_to_whole_shares(self):
        assert flip_set(self.labels, self.distances, 5, Seeds(0)).tolist() == [1, 4, 7]

    def test_more_clusters_than_places(self):
        picks = [tuple(flip_set(self.labels, self.distances, 2, Seeds(i))) for i in range(40)]
        assert set(picks) == {(1, 4), (1, 7), (4, 7)}
        assert picks[0] == tuple(flip_set(self.labels, self.distances, 2, Seeds(0)))
