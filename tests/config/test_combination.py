"""`--defense a+b`: which parts there are, which options each gets, and what cannot be combined."""

import pytest

from bench.config.config import load_config
from bench.errors import BenchError
from bench.plugins.manager import Plugins

PLUGINS = Plugins.load()


def combined(name, *settings, preset="smoke"):
    return load_config(PLUGINS, preset, choices={"defense": name}, settings=settings).defense


def test_the_order_of_the_names_does_not_matter():
    one, other = combined("poisoncam+icutmix"), combined("icutmix + poisoncam")
    assert one == other
    assert one.name == "poisoncam+icutmix"
    assert (one.filter.name, one.training_change.name, one.control) == ("poisoncam", "icutmix", False)


def test_a_change_alone_keeps_every_image():
    alone = combined("icutmix")
    assert (alone.filter.name, alone.training_change.name, alone.name) == ("none", "icutmix", "icutmix")
    assert alone.identity() == {"name": "icutmix", "alpha": 1.0}


def test_a_single_filter_is_known_by_its_own_identity():
    assert combined("poisoncam").identity() == combined("poisoncam").filter.identity()


def test_both_identities_are_in_that_of_a_combination():
    found = combined("poisoncam+icutmix", "defense.alpha=2")
    assert found.identity()["icutmix"] == {"name": "icutmix", "alpha": 2.0}
    assert found.identity()["poisoncam"] == found.filter.identity()


def test_an_option_goes_to_the_part_that_has_it_or_that_is_named():
    found = combined("poisoncam+icutmix", "defense.masks=17", "defense.icutmix.alpha=0.5", "defense.poisoncam.window=9")
    assert (found.filter.masks, found.filter.window, found.training_change.alpha) == (17, 9, 0.5)


def test_the_presets_options_reach_the_parts_of_a_combination():
    assert combined("poisoncam+icutmix").filter == combined("poisoncam").filter
    assert combined("poisoncam").filter.masks == 16, "smoke's own number, not the default"


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("poisoncam+oracle", [], "'poisoncam' and 'oracle' are both defenses that choose images"),
        ("poisoncam+poisoncam", [], "'poisoncam' and 'poisoncam' are both"),
        ("icutmix+icutmix", [], "'icutmix' and 'icutmix' are both training changes"),
        ("poisoncam+icutmx", [], r"unknown defense 'icutmx'.*icutmix"),
        ("poisoncam+", [], "unknown defense ''"),
        ("poisoncam+icutmix", ["defense.alhpa=1"], r"'poisoncam' or 'icutmix'(.|\n)*'alhpa'.*alpha"),
        ("poisoncam+icutmix", ["defense.icutmix.masks=9"], r"defense 'icutmix'(.|\n)*'masks'"),
        ("icutmix", ["defense.alpha=0"], "alpha is 0"),
        ("random", ["defense.like=oracle"], "like is 'oracle', expected a defense that removes images"),
        ("random", ["defense.like=icutmix"], "like is 'icutmix', expected a defense that removes images"),
        ("random", ["defense.like=nothing"], "unknown defense 'nothing'"),
    ],
)
def test_what_cannot_be(name, settings, said):
    with pytest.raises(BenchError, match=said):
        combined(name, *settings)


def test_a_rival_gets_the_presets_options_and_those_that_are_its_own():
    found = combined("random", "defense.window=11")
    assert found.control
    assert (found.reference.name, found.reference.masks, found.reference.window) == ("poisoncam", 16, 11)
    assert found.identity() == {"name": "random", "like": "poisoncam", "rival": found.reference.identity()}
