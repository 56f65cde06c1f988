import dataclasses

import pytest
from hypothesis import given, strategies as st

from bench import BenchError
from bench.config.config import load_config, preset_names
from bench.defenses.search.defaults import live_counts, planned, scale
from bench.defenses.search.search import TriggerSearch
from bench.plugins.manager import Plugins

PAPER = {"window": 60, "clusters": 1000, "flip_set": 1000, "top_k": 20, "patch_min": 20, "patch_max": 80, "margin": 10}
LAPTOP = {"window": 9, "clusters": 32, "flip_set": 128, "top_k": 10, "patch_min": 8, "patch_max": 12, "margin": 1}


@pytest.mark.parametrize(
    ("size", "count", "options", "expected"),
    [
        (224, 127_000, {}, {**PAPER, "iterations": 2000, "learning_rate": 0.01, "crops": 1.0, "decoys": 0.0}),
        (
            32,
            2000,
            {},
            {**LAPTOP, "iterations": 300, "learning_rate": 0.03, "crops": 0.5, "decoys": 0.5, "batch": 1024},
        ),
        (32, 2000, {"window": 12, "clusters": 40, "batch": 7}, {"flip_set": 160, "patch_min": 8, "patch_max": 16}),
    ],
)
def test_the_table_and_what_follows_from_an_option(size, count, options, expected):
    found = dataclasses.asdict(scale(size, count, **options))
    assert {**found, **options, **expected} == found


def test_the_papers_search_scores_about_8000_images():
    assert planned(1000, 2, 0.25) == pytest.approx(8000, rel=0.02)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 32}, "window=32 .* from 1 to 31"),
        ({"clusters": 2001}, "2,000 images cannot fill 2,001 clusters"),
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
    assert [live_counts(8, 0.25), live_counts(4, 1.0), live_counts(0, 0.5)] == [[8, 6, 5, 4, 3, 2, 1], [4], []]


@given(st.integers(8, 512), st.integers(40, 2_000_000))
def test_the_rule_always_gives_usable_values(size, count):
    found = scale(size, count)
    assert 1 <= found.window < size
    assert 2 <= found.clusters <= count // 16
    assert found.flip_set <= min(1000, count)
    assert 5 <= found.top_k <= 20
    assert 1 <= found.patch_min <= found.patch_max <= size - 2 * found.margin


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("count", [2000, 5000, 50_000, 127_000])
def test_both_searches_have_the_same_search_and_classifier_in_every_preset(preset, count):
    """Else a row of a table would compare two classifiers. What a locator has of its own may differ."""
    plugins = Plugins.load()
    configs = [load_config(plugins, preset, choices={"defense": name}) for name in ("poisoncam", "patchsearch")]
    size = configs[0].dataset.size
    one, other = (config.defense.filter.in_force(count, size) for config in configs)
    shared = [item.name for item in dataclasses.fields(TriggerSearch)]
    assert {name: one[name] for name in shared} == {name: other[name] for name in shared}
