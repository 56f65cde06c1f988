"""Controls: what each keeps, worked out by hand."""

import numpy as np
import pytest

from bench import BenchError, Seeds, Truth
from bench.defenses.controls import CleanSet, Oracle, RandomRemoval

POISONED = np.array([True, False, False, True, False, False, False, False])
RIVAL = np.array([True, True, False, False, False, True, True, True])


def keep(control, rival=RIVAL, seed=0):
    return control.keep(Truth(poisoned=POISONED, reference_keep=rival), Seeds(seed))


def test_the_oracle_removes_exactly_the_poisoned_images():
    assert keep(Oracle()).tolist() == (~POISONED).tolist()


def test_the_oracle_leaves_nothing_where_everything_is_poisoned():
    with pytest.raises(BenchError, match="nothing to train on"):
        Oracle().keep(Truth(poisoned=np.ones(3, bool), reference_keep=None), Seeds(0))


def test_random_removal_keeps_as_many_as_its_rival_but_not_by_its_choice():
    found = [keep(RandomRemoval(), seed=seed) for seed in range(30)]
    assert {int(each.sum()) for each in found} == {5}
    share = np.mean(found, axis=0)
    assert (share > 0.3).all(), "every image is kept in some of 30 draws, poisoned or not"
    assert (share < 0.95).all()


def test_random_removal_without_a_verdict_is_a_mistake_of_the_harness():
    with pytest.raises(ValueError, match="rival"):
        keep(RandomRemoval(), rival=None)


def test_the_clean_set_keeps_all_and_says_that_it_is_unpoisoned():
    assert keep(CleanSet()).all()
    assert CleanSet.unpoisoned
    assert not Oracle.unpoisoned
