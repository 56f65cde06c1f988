import numpy as np
import pytest
import torch

from bench.defenses.search.iterate import Queue, Search, survivors

LABELS = np.repeat([0, 1, 2, 3], 4)


def _score_by(table):
    """An image's score is table[index]; its box is (index, 0, 1, 1)."""

    def score(indices, seeds, tell):
        tell(len(indices))
        boxes = np.stack([indices, 0 * indices, 0 * indices + 1, 0 * indices + 1], axis=1)
        return {"scores": np.asarray(table)[indices], "boxes": boxes}

    return score


@pytest.fixture
def view(toy_view):
    return toy_view(torch.zeros(16, 3, 4, 4, dtype=torch.uint8), None, 1)


def _rounds(view, labels):
    """Which clusters each round scored."""
    names = sorted(name for name in view.notebook if name.startswith("search"))
    return [sorted(set(labels[view.notebook[name]["indices"]].tolist())) for name in names]


@pytest.mark.parametrize(
    ("labels", "scores", "options", "rounds", "number", "scored"),
    [
        # 4 live -1-> 3 -(0.75 -> 0 -> 1)-> 2 -> 1; the sums per image are 1, 4, 3, 2: dropped 0, 3, 2, 1.
        (LABELS, np.repeat([1, 4, 3, 2], 4), {"samples": 1}, [[0, 1, 2, 3], [1, 2, 3], [1, 2], [1]], 4, [1, 4, 3, 2]),
        # half are dropped; in round 2 cluster 0 has no image left
        (LABELS, np.repeat([4, 1, 3, 2], 4), {"drop": 0.5}, [[0, 1, 2, 3], [0, 2]], 3, [4, 2, 4, 2]),
        # a cluster without unseen images keeps its score. Round 0: 18, 8, 2 -> 2 goes; round 1: 18 (none left), 16 -> 1
        # goes; round 2: nothing left to score
        (np.repeat([0, 1, 2], [2, 7, 7]), np.repeat([9, 4, 1], [2, 7, 7]), {}, [[0, 1, 2], [1]], 3, [2, 4, 2]),
        # the maximum, also of negative scores
        (
            *(LABELS, np.repeat([-1, -4, -2, -3], 4), {"samples": 1, "cluster_score": "max"}),
            *([[0, 1, 2, 3], [0, 2, 3], [0, 2], [0]], 4, [4, 1, 3, 2]),
        ),
        # an empty cluster is not live
        (
            *(np.repeat([0, 1, 5, 6], 4), np.repeat([1, 4, 3, 2], 4), {"samples": 1}),
            *([[0, 1, 5, 6], [1, 5, 6], [1, 5], [1]], 4, [1, 4, 0, 0, 0, 3, 2]),
        ),
    ],
)
def test_which_clusters_are_dropped_in_which_round(view, labels, scores, options, rounds, number, scored):
    found = Search(**{"samples": 2, **options})(view, labels, _score_by(scores))
    assert (_rounds(view, labels), found.rounds) == (rounds, number)
    assert np.bincount(labels[found.indices]).tolist() == scored
    assert len(set(found.indices.tolist())) == sum(scored)  # no image twice
    np.testing.assert_array_equal(found.scores, scores[found.indices])
    np.testing.assert_array_equal(found.boxes[:, 0], found.indices)


def test_sum_and_max_differ(toy_view):
    """Scores (5, 0, 0, 0) and (3, 3, 3, 3), seen in one round: the sum keeps the second."""
    labels, rest = np.repeat([0, 1], [4, 5]), {}
    for kind in ("sum", "max"):
        view = toy_view(torch.zeros(9, 3, 4, 4, dtype=torch.uint8), None, 1)
        scores = np.array([5, 0, 0, 0, 3, 3, 3, 3, 3])
        Search(samples=4, cluster_score=kind, drop=0.5)(view, labels, _score_by(scores))
        rest[kind] = _rounds(view, labels)[1:]
    assert rest == {"sum": [[1]], "max": []}  # of the first cluster no image is left


def test_killed_and_started_again(view, toy_view):
    score = _score_by(np.arange(16))
    whole = Search(samples=1)(view, LABELS, score)
    other = toy_view(torch.zeros(16, 3, 4, 4, dtype=torch.uint8), None, 1, stop="search-002")
    with pytest.raises(KeyboardInterrupt):
        Search(samples=1)(other, LABELS, score)
    assert other.computed == ["search-000", "search-001"]
    other.stop = None
    again = Search(samples=1)(other, LABELS, score)
    assert other.computed == view.computed
    for name in ("indices", "scores", "boxes"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(again, name))


def test_progress_ends_at_its_total(view):
    Search(samples=1)(view, LABELS, _score_by(np.repeat([1, 4, 3, 2], 4)))
    assert view.told == [("search", done, 10) for done in (4, 7, 9, 10, 10)]


def test_the_seed_decides_who_is_scored(toy_view):
    views = [toy_view(torch.zeros(16, 3, 4, 4, dtype=torch.uint8), None, 1, root=root) for root in (0, 0, 1)]
    picks = [Search(samples=1)(view, LABELS, _score_by(LABELS)).indices.tolist() for view in views]
    assert picks[0] == picks[1] != picks[2]


def test_survivors_by_hand():
    live = np.array([2, 5, 7, 8])
    assert survivors(live, np.array([3, 1, 1, 9]), 0.25).tolist() == [2, 7, 8]  # of equals the lower index goes
    assert survivors(live, np.array([3, 1, 1, 9]), 0.75).tolist() == [8]
    assert survivors(np.array([4]), np.array([9]), 0.25).tolist() == []


def test_a_queue_shows_every_image_once():
    labels = np.array([1, 0, 1, 1, 0, 3])
    queue = Queue(labels, np.random.default_rng(0))
    seen = [queue.pick(np.array([0, 1, 3]), r, 2).tolist() for r in range(3)]
    assert [len(part) for part in seen] == [5, 1, 0]
    assert sorted(index for part in seen for index in part) == [0, 1, 2, 3, 4, 5]
    assert labels[seen[1]].tolist() == [1]
