"""Which runs a study has, by rule from a preset's own values; the stages that they need; the values that they give."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from bench.errors import BenchError
from bench.matrix.cell import RunContext
from bench.paper.studies.runs import StudyRuns, measure
from bench.paper.studies.study import Line, Step, Vary, find, setting, studies
from bench.paper.studies.table import HEAD
from bench.records.build import build_record
from bench.records.record import numbers
from bench.store import Store

LAPTOP = {
    **{"defense.window": 12, "defense.masks": 16, "defense.clusters": 32, "defense.flip_set": 128, "defense.top_k": 10},
    **{"defense.patch_min": 8, "defense.patch_max": 16, "attack.rate": 0.9, "train.max_steps": 1240},
}
PAPER = {**LAPTOP, "defense.window": 60, "defense.clusters": 1000, "attack.rate": 0.5}


def steps(name, values):
    return find(name).vary.steps(values, 62)


@pytest.mark.parametrize(
    ("name", "values", "xs"),
    [
        ("window", LAPTOP, [8, 10, 12, 14, 16]),
        ("window", PAPER, [40, 50, 60, 70, 80]),
        ("clusters", LAPTOP, [3, 6, 16, 32, 64]),
        ("clusters", PAPER, [100, 200, 500, 1000, 2000]),
        ("masks", LAPTOP, [2, 4, 8, 16, 32]),
        ("masking", LAPTOP, [5, 10, 20, 50, 100]),
        ("epochs", LAPTOP, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0]),
        ("augmentation", PAPER, [0.5, 1.0]),
        ("augmentation", LAPTOP, [0.9]),  # a rate that cannot be doubled stays alone
    ],
)
def test_values_by_rule_from_the_presets_own(name, values, xs):
    assert [step.x for step in steps(name, values)] == xs


@pytest.mark.parametrize(
    ("name", "values", "number", "step"),
    [
        ("window", LAPTOP, 0, Step(8, "8", ("defense.window=8", "defense.patch_min=8", "defense.patch_max=16"))),
        ("window", LAPTOP, 2, Step(12, "12")),
        ("clusters", LAPTOP, -1, Step(64, "64", ("defense.clusters=64", "defense.flip_set=128", "defense.top_k=10"))),
        ("augmentation", PAPER, 0, Step(0.5, "rate 0.5")),
        ("augmentation", PAPER, 1, Step(1.0, "rate 1", ("attack.rate=1.0",))),
        ("epochs", LAPTOP, 0, Step(2.0, "2", ("train.max_steps=124",))),
        ("epochs", LAPTOP, -1, Step(20.0, "20")),
    ],
)
def test_one_thing_changes_at_a_time_and_the_presets_own_value_changes_nothing(name, values, number, step):
    assert steps(name, values)[number] == step


def test_an_option_without_a_value_is_named():
    with pytest.raises(BenchError, match=r"changes defense\.masks, which has no value here"):
        Vary(option="defense.masks", times=(1,)).steps({}, 1)
    assert setting("attack.target_classes", ["a b", 3]) == 'attack.target_classes=["a b", 3]'


@given(now=st.integers(1, 500), times=st.lists(st.floats(0.05, 4), min_size=1, max_size=8))
def test_multiples_rise_and_stay_in_range(now, times):
    vary = Vary(option="defense.masks", times=times, least=2, most=400)
    found = [step.x for step in vary.steps({"defense.masks": now}, 1)]
    assert found == sorted(set(found))
    assert all(2 <= x <= 400 for x in found)


# --- which runs ---------------------------------------------------------------------------------------


def test_every_line_step_and_seed_is_a_cell(planned):
    plan = planned(find("masks"), seeds=(4, 1))
    found = [(run.facts["seed"], run.facts["x"]) for run in plan.runs]
    assert found == [(seed, x) for seed in (4, 1) for x in (2, 4, 8, 16, 32)]
    masks = [plan.context.config(cell).defense.filter.masks for cell in plan.cells[:5]]
    assert masks == [2, 4, 8, 16, 32]
    assert [run.facts["seed"] for run in planned(find("search-number")).runs] == [0] * 4


def test_what_cannot_be_run_is_skipped(planned, toy):
    """A plugin that is not installed; a value that does not fit 160 images (top_k goes up to 80)."""
    plan = planned(toy(lines=(("Else", "nosuch+icutmix"), ("PoisonCAM", "poisoncam"))), seeds=(0, 1))
    found = [(run.facts["line"], run.facts["seed"], bool(run.skipped)) for run in plan.runs]
    assert found == [("Else", 0, True), ("PoisonCAM", 0, False), ("Else", 1, True), ("PoisonCAM", 1, False)]
    assert "nosuch" in plan.runs[0].skipped
    plan = planned(toy(vary=Vary(option="defense.top_k", values=(5, 90))))
    assert [run.skipped[:32] for run in plan.runs] == ["", "top_k=90 does not fit 160 images"]
    assert len(plan.cells) == 1
    with pytest.raises(BenchError, match=r"nothing of study 'toy' can be run: .*'nix'"):
        planned(toy(lines=(Line(label="", defense="none", attack="nix"),)))


def test_settings_go_to_the_defenses_that_have_them(planned, toy):
    both = toy(lines=(("PoisonCAM", "poisoncam"), ("", "none")))
    plan = planned(both, settings=("defense.masks=8", "train.epochs=1"))
    configs = [plan.context.config(cell) for cell in plan.cells]
    assert configs[0].defense.filter.masks == 8
    assert [config.train.epochs for config in configs] == [1, 1]
    with pytest.raises(BenchError, match=r"no defense of study 'toy' \('poisoncam' or 'none'\) has this option"):
        planned(both, settings=("defense.mask=8",))
    with pytest.raises(BenchError, match=r"unknown section 'trian'\. Did you mean 'train'\?"):
        planned(both, settings=("trian.epochs=8",))
    plan = planned(toy(vary=Vary(option="defense.masks", times=(0.5, 1), least=2)), settings=("defense.masks=20",))
    assert [plan.context.config(cell).defense.filter.masks for cell in plan.cells] == [10, 20]


def test_the_number_of_targets(planned, toy, workshop, monkeypatch):
    """The preset has the classes 0 and 3 with the mosaics 3 and 5; the third is the last class that is free, or the
    paper's own where it is a class."""
    lines = tuple(Line(label=str(n), defense="poisoncam", attack="multi-target", targets=n) for n in (2, 3))

    def attacks(*settings, lines=lines):
        plan = planned(toy(lines=lines), settings=settings)
        return [plan.context.config(cell).attack for cell in plan.cells]

    two, three = attacks()
    assert two == workshop.pipeline(attack="multi-target").config.attack
    assert (three.target_classes, three.trigger_seeds) == ((0, 3, 2), (3, 5, 0))
    fewer = attacks("attack.target_classes=[3, 2, 1]", "attack.trigger_seeds=[7, 8, 9]", lines=lines[:1])
    assert fewer[0].target_classes == (3, 2)
    monkeypatch.setattr("bench.paper.studies.runs.THIRD", (workshop.pipeline().dataset.classes[1],))
    assert attacks()[1].target_classes == (0, 3, 1)


def test_the_panels_look_at_as_many_top_images_as_the_classifier(planned):
    for settings, k in (((), 5), (("defense.top_k=33",), 20)):
        assert planned(find("masks"), settings=settings).runs[0].facts["k"] == k
    panel = find("masks").panels[0].at(5)
    assert (panel.axis, dict(panel.curves)) == ("IoU in the top 5 (%)", {"": "localisation.5.iou"})


# --- their stages and values --------------------------------------------------------------------------


def test_only_the_stages_that_a_study_needs(smoke, toy):
    titles = {name: [each.title for each in toy(stages=name).needed(smoke[0])] for name in ("threat", "search", "all")}
    assert titles["threat"] == ["poison the images", "train on the poisoned images", "measure the encoder"]
    assert titles["search"] == [*titles["threat"][:2], "find the poison (poisoncam)"]
    assert len(titles["all"]) == 6


def test_values_are_those_of_the_record_and_fewer_stages_give_fewer(smoke, toy):
    record = build_record(smoke[0])
    whole = measure(smoke[0], toy(stages="all"))
    del record["metrics"]["clean_removed"]  # a study's CSV has no column for each class
    metrics = numbers(record["metrics"])
    assert {name: whole[name] for name in metrics} == metrics
    times = {"threat_model", "search", "search_per_image", "retraining"}
    assert {name for name in whole if name not in metrics} == {f"seconds.{name}" for name in times}
    assert whole["seconds.search"] == pytest.approx(record["stages"]["defense"]["seconds"], abs=0.01)
    assert whole["seconds.search_per_image"] == whole["seconds.search"] / record["facts"]["images_scored"]
    for stages, without in (("threat", ("defended", "detection")), ("search", ("none", "defended"))):
        values = measure(smoke[0], toy(stages=stages))
        assert values.items() <= whole.items()
        assert not [name for name in values if name.startswith(without)]


def test_a_run_that_retrains_is_estimated_with_what_follows_its_verdict(planned, toy, smoke, monkeypatch):
    monkeypatch.setattr("bench.estimate.estimate.measure_pace", lambda *_: pytest.fail("the store has all kinds"))
    study = toy(stages="all", vary=Vary(option="defense.masks", times=(1,)))
    assert planned(study, store=smoke[0].store.root).left_to_do() == (0, 0)
    stages, seconds = planned(study, store=smoke[0].store.root, seeds=(5,)).left_to_do()
    assert stages == 6, "four, and the training and measurement that follow the verdict"
    assert seconds > 0


FOLDER = Path(__file__).parents[3] / "docs" / "studies"
FILES = sorted(FOLDER.glob("*.csv"))


@pytest.fixture(scope="module")
def laptop_context(tmp_path_factory, workshop):
    """One context for all, so that the data are drawn once."""
    return RunContext(Store(tmp_path_factory.mktemp("empty")), workshop.pipeline().machine)


@pytest.mark.parametrize("study", studies(), ids=lambda study: study.name)
def test_every_study_has_its_measures_and_its_committed_table_holds_its_runs(study, smoke, laptop_context):
    values = measure(smoke[0], study)
    paths = [path for panel in study.panels for path in panel.curves.values()]
    assert [path for path in paths if path.replace("{k}", "5").replace("*", "5") not in values] == []
    file = FOLDER / f"{study.name}-laptop.csv"
    if not file.exists():
        pytest.skip("not measured with the preset as it is")
    lines = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    plan = StudyRuns(study, laptop_context, "laptop", (), tuple(dict.fromkeys(int(line["seed"]) for line in lines)))
    wanted = [{name: str(run.facts[name]) for name in HEAD if name != "status"} for run in plan.runs]
    assert [{name: line[name] for name in HEAD if name != "status"} for line in lines] == wanted
    assert file.with_suffix(".svg").is_file()


def test_every_committed_table_is_of_a_study():
    found = {file.stem for file in FILES}
    presets = ("laptop", "cifar10-cpu")
    known = {f"{study.name}-{preset}" for study in studies() for preset in presets}
    assert {"recur-laptop", "variation-laptop"} <= found <= known
