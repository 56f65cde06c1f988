"""`--defense a+b`: which parts there are, which options each gets, and what cannot be combined."""

import pytest

from bench.config.config import load_config
from bench.errors import BenchError
from bench.plugins.manager import Plugins

PLUGINS = Plugins.load()


def combined(name, *settings, preset="smoke"):
    return load_config(PLUGINS, preset, choices={"defense": name}, settings=settings).defense


def test_a_combination_is_known_by_both_parts_in_whichever_order():
    one, other = combined("poisoncam+icutmix"), combined("icutmix + poisoncam")
    assert one == other
    assert one.filter == combined("poisoncam").filter
    assert one.filter.masks == 16, "smoke's own number, not the default"
    assert (one.filter.name, one.training_change.name, one.control) == ("poisoncam", "icutmix", False)
    filter_alone = combined("poisoncam").identity()
    assert filter_alone == one.filter.identity()
    change = {"name": "icutmix", "alpha": 1.0}
    assert one.identity() == {"name": "poisoncam+icutmix", "poisoncam": filter_alone, "icutmix": change}
    alone = combined("icutmix")
    assert (alone.filter.name, alone.training_change.name, alone.name) == ("none", "icutmix", "icutmix")
    assert alone.identity() == change


def test_a_repair_is_combined_as_a_change_is():
    found = combined("distill+trusted", "defense.share=0.2", "defense.length=0.3")
    assert (found.name, found.control, found.baseline) == ("trusted+distill", True, False)
    assert (found.filter.share, found.training_change.length) == (0.2, 0.3)
    assert found.training_change.anchors == 32, "smoke's own number, not the default"
    assert combined("finetune").parts == [combined("finetune").training_change]


def test_an_option_goes_to_the_part_that_has_it_or_that_is_named():
    found = combined("poisoncam+icutmix", "defense.masks=17", "defense.icutmix.alpha=0.5", "defense.poisoncam.window=9")
    assert (found.filter.masks, found.filter.window, found.training_change.alpha) == (17, 9, 0.5)
    assert found.identity()["icutmix"] == {"name": "icutmix", "alpha": 0.5}


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("strip+icutmix", [], "'strip' scores test images, and nothing is trained .*--defense strip"),
        ("recur+decree", [], "'decree' judges the encoder, .*--defense decree"),
        ("poisoncam+oracle", [], "'poisoncam' and 'oracle' are both defenses that choose images"),
        ("poisoncam+poisoncam", [], "'poisoncam' and 'poisoncam' are both"),
        ("icutmix+icutmix", [], "'icutmix' and 'icutmix' are both training changes"),
        ("distill+icutmix", [], "'distill' and 'icutmix' are both training changes or repairs"),
        ("trusted+recur", [], "'trusted' and 'recur' are both defenses that choose images"),
        ("trusted+distill", ["defense.length=0"], "length is 0.0, expected a number above 0"),
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


def test_a_run_of_a_detector_or_an_encoder_test_ends_with_what_it_says():
    for name in ("strip", "decree"):
        config = load_config(PLUGINS, "smoke", choices={"defense": name})
        assert (config.defense.only_judges, config.until, "until" in config.asked) == (True, "detection", False)
    assert (combined("colour-test").baseline, combined("strip").baseline) == (True, False)
    with pytest.raises(BenchError, match="like is 'strip', expected a defense that removes images"):
        combined("random", "defense.like=strip")
