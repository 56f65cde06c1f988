import numpy as np
import pytest
import torch

from bench.defenses.search.iterate import Queue, Search, survivors


def _score_by(table):
    """An image's score is table[index]; its box is (index, 0, 1, 1)."""

    def score(indices, seeds, tell):
        tell(len(indices))
        boxes = np.stack([indices, 0 * indices, 0 * indices + 1, 0 * indices + 1], axis=1)
        return np.array([table[i] for i in indices]), boxes

    return score


@pytest.fixture
def view(toy_view):
    return toy_view(torch.zeros(16, 3, 4, 4, dtype=torch.uint8), None, 1)


def _rounds(view, labels):
    """Which clusters each round scored."""
    names = sorted(name for name in view.kept if name.startswith("search"))
    return [sorted(set(labels[view.kept[name]["indices"]].tolist())) for name in names]


class TestSearch:
    labels = np.repeat([0, 1, 2, 3], 4)

    def test_which_clusters_are_dropped_in_which_round(self, view):
        # 4 live -1-> 3 -(0.75 -> 0 -> 1)-> 2 -> 1; the sums per image are 1, 4, 3, 2: dropped 0, 3, 2, 1.
        found = Search(samples=1)(view, self.labels, _score_by(np.repeat([1, 4, 3, 2], 4)))
        assert _rounds(view, self.labels) == [[0, 1, 2, 3], [1, 2, 3], [1, 2], [1]]
        assert found.rounds == 4
        assert np.bincount(self.labels[found.indices]).tolist() == [1, 4, 3, 2]
        assert len(set(found.indices.tolist())) == 10  # no image twice
        np.testing.assert_array_equal(found.scores, np.array([1, 4, 3, 2])[self.labels[found.indices]])
        np.testing.assert_array_equal(found.boxes[:, 0], found.indices)

    def test_half_are_dropped(self, view):
        Search(samples=2, drop=0.5)(view, self.labels, _score_by(np.repeat([4, 1, 3, 2], 4)))
        assert _rounds(view, self.labels) == [[0, 1, 2, 3], [0, 2]]  # in round 2 cluster 0 has no image left

    def test_a_cluster_without_unseen_images_keeps_its_score(self, view):
        labels = np.array([0, 0] + [1] * 7 + [2] * 7)
        scores = np.array([9, 9] + [4] * 7 + [1] * 7)
        found = Search(samples=2)(view, labels, _score_by(scores))
        # round 0: 18, 8, 2 -> 2 goes; round 1: 18 (none left), 16 -> 1 goes; round 2: nothing left to score
        assert _rounds(view, labels) == [[0, 1, 2], [1]]
        assert found.rounds == 3
        assert np.bincount(labels[found.indices]).tolist() == [2, 4, 2]

    def test_sum_and_max_differ(self, toy_view):
        labels, scores = np.repeat([0, 1], 4), np.array([5, 0, 0, 0, 3, 3, 3, 3])
        last = {}
        for kind in ("sum", "max"):
            view = toy_view(torch.zeros(8, 3, 4, 4, dtype=torch.uint8), None, 1)
            Search(samples=3, cluster_score=kind, drop=0.5)(view, labels, _score_by(scores))
            last[kind] = (set(view.kept["search-000"]["scores"]), _rounds(view, labels)[1])
        assert last["sum"][1] == [1]  # 9 beats 5 or 0
        assert last["max"][1] == ([0] if 5 in last["max"][0] else [1])

    def test_max_takes_negative_scores(self, view):
        Search(samples=1, cluster_score="max")(view, self.labels, _score_by(np.repeat([-1, -4, -2, -3], 4)))
        assert _rounds(view, self.labels) == [[0, 1, 2, 3], [0, 2, 3], [0, 2], [0]]

    def test_an_empty_cluster_is_not_live(self, view):
        labels = np.repeat([0, 1, 5, 6], 4)
        found = Search(samples=1)(view, labels, _score_by(np.repeat([1, 4, 3, 2], 4)))
        assert found.rounds == 4
        assert set(labels[found.indices]) == {0, 1, 5, 6}

    def test_killed_and_started_again(self, view, toy_view):
        score = _score_by(np.arange(16))
        whole = Search(samples=1)(view, self.labels, score)
        other = toy_view(view.images, None, 1, stop="search-002")
        with pytest.raises(KeyboardInterrupt):
            Search(samples=1)(other, self.labels, score)
        assert other.computed == ["search-000", "search-001"]
        other.stop = None
        again = Search(samples=1)(other, self.labels, score)
        assert other.computed == view.computed
        for name in ("indices", "scores", "boxes"):
            np.testing.assert_array_equal(getattr(whole, name), getattr(again, name))

    def test_progress_ends_at_its_total(self, view):
        Search(samples=1)(view, self.labels, _score_by(np.repeat([1, 4, 3, 2], 4)))
        assert view.told == [
            ("search", 4, 10),
            ("search", 7, 10),
            ("search", 9, 10),
            ("search", 10, 10),
            ("search", 10, 10),
        ]

    def test_the_seed_decides_who_is_scored(self, toy_view):
        picks = []
        for root in (0, 0, 1):
            view = toy_view(torch.zeros(16, 3, 4, 4, dtype=torch.uint8), None, 1, root=root)
            picks.append(Search(samples=1)(view, self.labels, _score_by(np.repeat([1, 4, 3, 2], 4))).indices.tolist())
        assert picks[0] == picks[1] != picks[2]


def test_survivors_by_hand():
    live = np.array([2, 5, 7, 8])
    assert survivors(live, np.array([3, 1, 1, 9]), 0.25).tolist() == [
        2,
        7,
        8,
    ]  # of equals the lower index goes
    assert survivors(live, np.array([3, 1, 1, 9]), 0.75).tolist() == [8]
    assert survivors(np.array([4]), np.array([9]), 0.25).tolist() == []


def test_a_queue_shows_every_image_once():
    labels = np.array([1, 0, 1, 1, 0, 3])
    queue = Queue(labels, np.random.default_rng(0))
    live = np.array([0, 1, 3])
    seen = [queue.pick(live, r, 2).tolist() for r in range(3)]
    assert [len(part) for part in seen] == [5, 1, 0]
    assert sorted(index for part in seen for index in part) == [0, 1, 2, 3, 4, 5]
    assert labels[seen[1]].tolist() == [1]
