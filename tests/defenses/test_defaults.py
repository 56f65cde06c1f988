import pytest
from hypothesis import given, strategies as st

from bench import BenchError
from bench.defenses.search.defaults import live_counts, planned, scale


def test_the_papers_own_numbers():
    found = scale(224, 127_000)
    assert (found.window, found.clusters, found.flip_set, found.top_k) == (60, 1000, 1000, 20)
    assert (found.patch_min, found.patch_max, found.margin, found.iterations) == (20, 80, 10, 2000)
    assert (found.learning_rate, found.crops, found.decoys) == (0.01, 1.0, 0.0)


def test_the_papers_search_scores_about_8000_images():
    assert planned(1000, 2, 0.25) == pytest.approx(8000, rel=0.02)


def test_the_table_at_laptop_size():
    found = scale(32, 2000)
    assert (found.window, found.clusters, found.flip_set, found.top_k) == (9, 32, 128, 10)
    assert (found.patch_min, found.patch_max, found.margin) == (8, 12, 1)
    assert (found.iterations, found.learning_rate, found.batch) == (300, 0.03, 1024)
    assert (found.crops, found.decoys) == (0.5, 0.5)


def test_options_replace_the_rule_and_others_follow():
    found = scale(32, 2000, window=12, clusters=40, batch=7)
    assert (found.window, found.clusters, found.flip_set, found.batch) == (12, 40, 160, 7)
    assert (found.patch_min, found.patch_max) == (8, 16)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 32}, "window=32 .* from 1 to 31"),
        ({"clusters": 2001}, "2000 images cannot fill 2001 clusters"),
        ({"clusters": 1}, "clusters=1"),
        ({"flip_set": 2001}, "flip_set=2001 .* from 1 to 2000"),
        ({"top_k": 1001}, "top_k=1001"),
        ({"margin": 16}, "margin=16"),
        ({"patch_min": 5, "patch_max": 4}, "patch_max=4 .* from 5 to 30"),
        ({"iterations": 0}, "iterations=0 .* 1 or more"),
        ({"batch": 0}, "batch=0"),
        ({"decoys": 1.5}, "decoys=1.5 .* from 0 to 1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: expected a number over 0"),
    ],
)
def test_values_that_cannot_work(options, said):
    with pytest.raises(BenchError, match=said):
        scale(32, 2000, **options)


def test_live_counts_by_hand():
    # 8 -2-> 6 -1-> 5 -1-> 4 -1-> 3 -(0 -> 1)-> 2 -> 1
    assert live_counts(8, 0.25) == [8, 6, 5, 4, 3, 2, 1]
    assert live_counts(4, 1.0) == [4]
    assert live_counts(0, 0.5) == []


@given(st.integers(8, 512), st.integers(40, 2_000_000))
def test_the_rule_always_gives_usable_values(size, count):
    found = scale(size, count)
    assert 1 <= found.window < size
    assert 2 <= found.clusters <= count // 16
    assert found.flip_set <= min(1000, count)
    assert 5 <= found.top_k <= 20
    assert 1 <= found.patch_min <= found.patch_max
    assert found.patch_max + 2 * found.margin <= size
