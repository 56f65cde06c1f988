"""Stages made, values read."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.estimate import estimate
from bench.estimate.estimate import Pace
from bench.paper.studies import engine
from bench.paper.studies.catalogue import CR, STUDIES
from bench.paper.studies.engine import Depth, flat, forecast, measure, needed, run
from bench.paper.studies.steps import Multiples, Once
from bench.paper.studies.study import Line, Study
from bench.records.build import build_record

POISONCAM = Line(label="PoisonCAM", defense="poisoncam")


def search_study(by, lines=(POISONCAM,), depth=Depth.SEARCH):
    steps = Multiples(option="defense.masks", by=by, least=2) if by else Once()
    return Study(
        name="toy", title="Toy", figure="Figure 0", about="", lines=lines, steps=steps, panels=(CR,), depth=depth
    )


def quiet(number, cell):
    """Hears of nothing."""


def test_values_of_a_whole_run_are_those_of_its_record(smoke):
    pipeline, _ = smoke
    record = build_record(pipeline)
    values = measure(pipeline, Depth.RETRAIN)
    del record["metrics"]["clean_removed"]  # a study's CSV has no column for each class
    metrics = dict(flat(record["metrics"]))
    assert {name: values[name] for name in metrics} == metrics
    assert {name for name in values if name not in metrics} == {
        "seconds.threat_model",
        "seconds.search",
        "seconds.search_per_image",
        "seconds.retraining",
    }
    assert values["seconds.search"] == pytest.approx(record["stages"]["defense"]["seconds"], abs=0.01)
    assert values["seconds.search_per_image"] == values["seconds.search"] / record["facts"]["images_scored"]


def test_less_depth_gives_the_same_values_and_fewer(smoke):
    pipeline, _ = smoke
    whole = measure(pipeline, Depth.RETRAIN)
    for depth, without in ((Depth.THREAT, ("defended", "detection")), (Depth.SEARCH, ("none", "defended"))):
        values = measure(pipeline, depth)
        assert values.items() <= whole.items()
        assert not [name for name in values if name.startswith(without)]


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_measure_that_a_study_draws_is_there(study, smoke):
    values = measure(smoke[0], study.depth)
    for panel in study.panels:
        for path in panel.curves.values():
            assert path.replace("{k}", "5").replace("*", "5") in values


def test_only_what_the_depth_needs(smoke):
    names = {depth: [stage.title for stage in needed(smoke[0], depth)] for depth in Depth}
    assert names[Depth.THREAT] == ["poison the images", "train on the poisoned images", "measure the encoder"]
    assert names[Depth.SEARCH] == [*names[Depth.THREAT][:2], "find the poison (poisoncam)"]
    assert len(names[Depth.RETRAIN]) == 6


def test_a_study_makes_what_is_missing_and_goes_on_from_there(planner, copied, ear):
    plan = planner(copied).plan(search_study((0.5, 1)))
    store = plan.cells[0].pipeline.store
    before = {(entry.stage, entry.key) for entry in store.entries()}
    told = []
    rows = list(run(plan, ear, lambda number, cell: told.append((number, cell.step.x))))
    assert told == [(0, 8), (1, 16)]
    assert ear.made == ["find the poison (poisoncam)"]
    after = {(entry.stage, entry.key) for entry in store.entries()}
    assert after - before == {("clean", plan.cells[0].pipeline.clean.key)}
    assert [row.keys["threat_model"] for row in rows] == [plan.cells[0].pipeline.threat.key] * 2
    assert rows[1].values == measure(plan.cells[1].pipeline, Depth.SEARCH)
    ear.heard.clear()
    again = list(run(planner(copied).plan(search_study((0.5, 1))), ear, quiet))
    assert [(row.values, row.keys) for row in again] == [(row.values, row.keys) for row in rows]
    assert ear.made == []
    titles = [event[1] for event in ear.heard]
    assert titles.count("train on the poisoned images") == 1  # said once, though both cells rest on it


def test_what_cannot_be_run_gets_a_row_that_says_so(planner, smoke, ear, monkeypatch):
    lines = (Line(label="Else", defense="nosuch"), Line(label="PoisonCAM", defense="poisoncam"))
    plan = planner(smoke[0].store.root).plan(search_study((), lines))

    def fails(stage, store, listener):
        if stage.name == "clean":
            raise BenchError("too few images")

    monkeypatch.setattr(engine, "make_stage", fails)
    rows = list(run(plan, ear, quiet))
    assert [row.status for row in rows] == ["skipped: defense 'nosuch' is not installed", "failed: too few images"]
    assert [row.values for row in rows] == [{}, {}]


def test_ctrl_c_goes_through_after_the_rows_before(planner, smoke, ear, monkeypatch):
    plan = planner(smoke[0].store.root).plan(search_study((1, 2)))
    make = engine.make_stage

    def stopped(stage, store, listener):
        if stage.key == plan.cells[1].pipeline.clean.key:
            raise KeyboardInterrupt
        make(stage, store, listener)

    monkeypatch.setattr(engine, "make_stage", stopped)
    rows = []
    with pytest.raises(KeyboardInterrupt):
        rows.extend(run(plan, ear, quiet))  # extend keeps what came before
    assert [row.cell.step.x for row in rows] == [16]
    assert rows[0].values


PRICES = dict.fromkeys(("features", "masking", "flip test"), 0.25)
PRICES |= dict.fromkeys(("k-means", "poison classifier", "judging"), 0.0)


def test_the_forecast_counts_shared_stages_once_and_tries_once(planner, smoke, monkeypatch):
    """By hand: the searches with 8 and 32 masks are missing, at 0.25 s for each image encoded."""
    tried = []
    monkeypatch.setattr(
        estimate, "measure_pace", lambda pipeline: tried.append(1) or Pace(0.5, 0.25, 8, 0, dict(PRICES))
    )
    plan = planner(smoke[0].store.root).plan(search_study((0.5, 1, 2)))
    found = forecast(plan)
    expected = [cell.pipeline.config.defense.filter.forwards(160, 32) for cell in plan.cells if cell.step.x != 16]
    assert (found.stages, len(tried)) == (2, 1)
    assert found.seconds == pytest.approx(0.25 * sum(expected), rel=1e-3)  # whole passes there
    own = forecast(planner(smoke[0].store.root).plan(search_study((1,))))
    assert (own.stages, own.seconds) == (0, 0.0)


def test_the_forecast_of_a_retraining_is_that_of_the_first_training(planner, tmp_path, monkeypatch):
    """By hand: one threat model of 320 images, and one more training with i-CutMix; 0.5 s an image."""
    monkeypatch.setattr(estimate, "measure_pace", lambda pipeline: Pace(0.5, 0.0, 8))
    lines = (Line(label="none", defense="none"), Line(label="i-CutMix", defense="icutmix"))
    found = forecast(planner(tmp_path / "new").plan(search_study((), lines, Depth.RETRAIN)))
    assert found.seconds == pytest.approx(2 * 320 * 0.5 + 160 * 1e-5, abs=1e-9)  # and the poison
