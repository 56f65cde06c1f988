"""What a search says its time goes to, and the samples that are timed for it."""

from __future__ import annotations

import pytest

from bench import BenchError
from bench.defenses.none import NoDefense
from bench.defenses.patchsearch import PatchSearch
from bench.defenses.poisoncam import PoisonCAM
from bench.defenses.search.defaults import planned

SMALL = {"clusters": 8, "flip_set": 16, "members": 2, "iterations": 400, "batch": 64}


def amounts(search, count=240, size=16):
    return {cost.what: cost.amount for cost in search.costs(count, size)}


@pytest.fixture
def view(toy_view, planted):
    """Over 64 images; and the list that its encoder's batches are noted in."""
    passes = []
    features = lambda images: (passes.append(len(images)), planted.features(images))[1]  # noqa: E731
    return toy_view(planted.images[:64], features, 4), passes


def test_amounts_by_hand():
    """8, 6, 5, 4, 3, 2, 1 clusters are live in turn: 2 x 29 images are scored. Members stop between 200 and 400."""
    assert planned(8, 2, 0.25) == 58
    found = amounts(PoisonCAM(**SMALL, masks=20))
    assert found == {
        "features": 240 + 16,
        "k-means": 240 * (8 + 32),
        "masking": pytest.approx(58 * 256 * (1 - (255 / 256) ** 20)),
        "flip test": 58 * 16,
        "poison classifier": pytest.approx(2 * 282.8427),
        "judging": 480,
    }


def test_a_classifier_that_cannot_stop_early_takes_all_its_batches():
    assert amounts(PoisonCAM(**{**SMALL, "iterations": 90}))["poison classifier"] == pytest.approx(180)


def test_the_passes_are_those_of_forwards():
    for search in (PoisonCAM(), PoisonCAM(search="coarse"), PatchSearch()):
        passes = [amount for what, amount in amounts(search, 2000, 32).items() if what.split()[0] not in NO_PASSES]
        assert len(passes) == 3
        assert sum(passes) == pytest.approx(search.forwards(2000, 32), abs=1)


NO_PASSES = ("k-means", "poison", "judging")


def test_another_way_to_search_has_a_price_of_its_own():
    exact, coarse = amounts(PoisonCAM()), amounts(PoisonCAM(search="coarse"))
    assert "masking (coarse)" in coarse
    assert "flip test (coarse)" in coarse
    assert exact.keys() & coarse.keys() == {"features", "k-means", "poison classifier", "judging"}
    assert "Grad-CAM" in amounts(PatchSearch())


@pytest.mark.parametrize("what", ["features", "masking", "flip test"])
def test_a_sample_makes_the_passes_that_it_says(view, what):
    """About as many as the view has images; fewer masks are drawn where there are more than that."""
    seen, passes = view
    cost = next(cost for cost in PoisonCAM(**SMALL, masks=100).costs(240, 16) if cost.what == what)
    units, run = cost.sample(seen)
    passes.clear()
    run()
    assert sum(passes) == pytest.approx(units, rel=0.1)
    assert 50 <= units <= 64


def test_every_sample_runs_more_than_once_and_moves_no_global_generator(view, global_rng):
    seen, _ = view
    for cost in PoisonCAM(**SMALL, masks=8, search="bf16").costs(240, 16)[1:2] + PoisonCAM(**SMALL).costs(240, 16):
        units, run = cost.sample(seen)
        run()
        run()
        assert units > 0


def test_a_lighter_search_never_has_more_masks():
    search = PoisonCAM(masks=64)
    assert [search.lighter(passes).masks for passes in (16, 64, 1000, 0)] == [16, 64, 64, 2]
    patch = PatchSearch()
    assert patch.lighter(1) is patch


def test_who_does_not_tell_has_no_costs():
    assert NoDefense().costs(100, 32) == ()
    with pytest.raises(BenchError):
        PoisonCAM(clusters=200).costs(100, 32)
