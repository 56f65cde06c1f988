"""Controls: what each keeps, worked out by hand."""

import numpy as np
import pytest

from bench import BenchError, Seeds, Truth
from bench.defenses.controls import CleanSet, Oracle, RandomRemoval, Trusted, Untrusted

POISONED = np.array([True, False, False, True, False, False, False, False])
RIVAL = np.array([True, True, False, False, False, True, True, True])


def keep(control, rival=RIVAL, seed=0, poisoned=POISONED):
    return control.keep(Truth(poisoned=poisoned, reference_keep=rival), Seeds(seed))


def test_the_oracle_removes_exactly_the_poisoned_images():
    assert keep(Oracle()).tolist() == (~POISONED).tolist()
    with pytest.raises(BenchError, match="nothing to train on"):
        keep(Oracle(), poisoned=np.ones(3, bool))


def test_random_removal_keeps_as_many_as_its_rival_but_not_by_its_choice():
    found = [keep(RandomRemoval(), seed=seed) for seed in range(30)]
    assert {int(each.sum()) for each in found} == {5}
    share = np.mean(found, axis=0)  # every image is kept in some of 30 draws, poisoned or not
    assert ((share > 0.3) & (share < 0.95)).all()
    with pytest.raises(ValueError, match="rival"):  # a mistake of the harness
        keep(RandomRemoval(), rival=None)


def test_a_trusted_share_is_clean_and_an_untrusted_one_of_the_same_number_is_not():
    """Half of 8 images are 4; 6 of them are clean."""
    trusted, any_ = ([keep(cls(share=0.5), seed=seed) for seed in range(30)] for cls in (Trusted, Untrusted))
    assert {int(each.sum()) for each in trusted + any_} == {4}
    assert not np.any([each & POISONED for each in trusted])
    for found, there in ((trusted, ~POISONED), (any_, np.ones(8, bool))):
        share = np.mean(found, axis=0)[there]  # every one of them is kept in some of 30 draws
        assert ((share > 0.2) & (share < 0.95)).all()
    assert keep(Trusted(share=1)).tolist() == (~POISONED).tolist(), "no more are clean"
    assert keep(Trusted(share=0.01)).sum() == 1
    with pytest.raises(BenchError, match="none to be trusted"):
        keep(Trusted(), poisoned=np.ones(3, bool))
    for share in (0, 1.1):
        with pytest.raises(BenchError, match=f"share is {share}, expected a number above 0 and up to 1"):
            Untrusted(share=share)


def test_the_clean_set_keeps_all_and_says_that_it_is_unpoisoned():
    assert keep(CleanSet()).all()
    assert (CleanSet.unpoisoned, Oracle.unpoisoned) == (True, False)
