import faiss
import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances

from bench import BenchError
from bench.defenses.search.clusters import all_features, k_means, learn, nearest


def _points(seed=0, count=300, dim=8):
    points = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _flat_images(values):
    return torch.tensor(values, dtype=torch.uint8)[:, :, None, None].expand(-1, 3, 4, 4).contiguous()


def _mean_colour(images):
    return images.mean((2, 3))


def test_nearest_agrees_with_scikit_learn():
    points, centres = _points(), _points(1, 20)
    labels, distances = nearest(torch.tensor(points), torch.tensor(centres))
    table = pairwise_distances(points, centres)
    np.testing.assert_array_equal(labels, table.argmin(1))
    np.testing.assert_allclose(distances, table.min(1), atol=1e-5)


def test_assignment_by_hand():
    """Equation 1: the least Euclidean distance. (0.6, 0.8) is sqrt(0.8) from (1, 0), sqrt(0.4) from (0, 1), which wins;
    (0.8, -0.6) is sqrt(0.4) from (1, 0); (0, 0) is as far from both and takes the first. A centre
    need not have length 1."""
    points = torch.tensor([[0.6, 0.8], [0.8, -0.6], [0.0, 0.0], [0.0, 3.0]])
    labels, distances = nearest(points, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 4.0]]))
    assert labels.tolist() == [1, 0, 0, 2]
    assert distances.tolist() == pytest.approx([0.632456, 0.632456, 1.0, 1.0], abs=1e-6)


def test_k_means_by_hand():
    """On a line, two groups: the centres are their means, 1 and 7, wherever it starts."""
    points = np.array([[0], [1], [2], [6], [7], [8]], np.float32)
    for seed in range(5):
        assert sorted(k_means(points, 2, seed).ravel().tolist()) == pytest.approx([1, 7])


def test_k_means_finds_separate_groups_and_one_seed_gives_one_result():
    points = np.repeat(np.eye(4, dtype=np.float32), 10, axis=0)
    centres = k_means(points, 4, 1)
    np.testing.assert_allclose(np.sort(centres.argmax(1)), range(4))
    np.testing.assert_array_equal(k_means(_points(), 10, 3), k_means(_points(), 10, 3))
    assert not np.array_equal(k_means(_points(), 10, 3), k_means(_points(), 10, 4))


def test_k_means_does_not_depend_on_the_number_of_threads():
    threads, results = faiss.omp_get_max_threads(), []
    try:
        for count in (1, 2):
            faiss.omp_set_num_threads(count)
            results.append(k_means(_points(), 10, 3))
    finally:
        faiss.omp_set_num_threads(threads)
    np.testing.assert_array_equal(*results)


def test_features_are_normalised_whatever_the_batch(toy_view):
    view = toy_view(_flat_images([[255, 0, 0], [0, 51, 0], [153, 204, 0]]), _mean_colour, 3)
    expected = [[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0]]
    for batch in (1, 2, 8):
        np.testing.assert_allclose(all_features(view, batch), expected, atol=1e-6)
    assert view.told[-1] == ("features", 3, 3)


def test_learn_labels_every_image_and_survives_a_restart(toy_view):
    images = _flat_images([[255, 0, 0], [250, 5, 0], [0, 0, 255], [0, 9, 250]] * 5)
    view = toy_view(images, _mean_colour, 3)
    first = learn(view, 2, 3)
    assert first.labels[0] == first.labels[1] != first.labels[2] == first.labels[3]
    calls = view.encoder.calls
    again = learn(view, 2, 3)
    assert view.encoder.calls == calls
    np.testing.assert_array_equal(first.labels, again.labels)
    labels, distances = again.clusters.assign(images)  # in 7 parts of 3
    np.testing.assert_array_equal(labels, first.labels)
    np.testing.assert_allclose(distances, first.distances, atol=1e-6)


def test_equal_images_leave_clusters_empty_and_finite(toy_view):
    found = learn(toy_view(_flat_images([[9, 9, 9]] * 12), _mean_colour, 3), 4, 8)
    assert len(np.unique(found.labels)) == 1
    assert np.isfinite(found.distances).all()
    assert torch.isfinite(found.clusters.centres).all()
    with pytest.raises(BenchError, match="3 images cannot fill 4 clusters"):
        learn(toy_view(_flat_images([[1, 2, 3]] * 3), _mean_colour, 3), 4, 8)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_counted(toy_view, bad):
    def broken(images):
        features = _mean_colour(images)
        features[features[:, 0] > 0.5] = bad
        return features

    view = toy_view(_flat_images([[255, 0, 0], [1, 0, 0], [200, 0, 0], [2, 0, 0]]), broken, 3)
    with pytest.raises(BenchError, match="features for 2 of 4 images"):
        learn(view, 2, 3)
