"""Makes the stages that a study needs, and reads its values off them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError
from bench.estimate.estimate import Estimator, Pace
from bench.pipeline.events import Notify
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.runner import make_stage
from bench.pipeline.stage import Stage
from bench.records import build as outcome

from .plan import Cell, Plan
from .study import Depth

Values = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of one cell. values: every measure by its path; empty where `status` says why there is none.

    keys: which artifacts of the store the values rest on.
    """

    cell: Cell
    values: Values
    keys: Mapping[str, str]
    status: str = ""


def needed(pipeline: Pipeline, depth: Depth) -> Iterator[Stage]:
    """The stages of one cell in order; each may be asked for only when those before it are made."""
    if depth is Depth.RETRAIN:
        yield from pipeline.stages()
        return
    yield from (pipeline.poison, pipeline.threat)
    yield pipeline.threat_probe if depth is Depth.THREAT else pipeline.clean


def run(plan: Plan, notify: Notify, tell: Callable[[int, Cell], None]) -> Iterator[Row]:
    """One row after the other; what is in the store is not made again. `tell` hears of each cell before it is run.

    A cell whose defense cannot work with its settings gets a row that says so; the others go on.
    """
    notify = Once(notify)
    for number, cell in enumerate(plan.cells):
        tell(number, cell)
        yield _row(cell, plan.study.depth, notify)


def _row(cell: Cell, depth: Depth, notify: Notify) -> Row:
    if cell.pipeline is None:
        return Row(cell=cell, values={}, keys={}, status=f"skipped: {cell.skipped}")
    try:
        stages = []
        for stage in needed(cell.pipeline, depth):
            make_stage(stage, cell.pipeline.store, notify)
            stages.append(stage)
        return Row(cell=cell, values=measure(cell.pipeline, depth), keys=_keys(cell.pipeline, depth))
    except BenchError as error:
        return Row(cell=cell, values={}, keys={}, status=f"failed: {error}")


def _keys(pipeline: Pipeline, depth: Depth) -> dict[str, str]:
    found = {"threat_model": pipeline.threat.key}
    if depth >= Depth.SEARCH:
        found["search"] = pipeline.clean.key
    if depth is Depth.RETRAIN:
        found["retraining"] = pipeline.retrain.key
    return found


class Once:
    """Passes on events, but reports of each stage only once that it came from the store."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._known: set[str] = set()

    def __call__(self, event: str, **facts: Any) -> None:
        repeated = event == "stage_started" and facts["cached"] and facts["key"] in self._known
        if not repeated:
            self._notify(event, **facts)
        self._known.add(facts["key"])


# --- values ---------------------------------------------------------------------------------------


def measure(pipeline: Pipeline, depth: Depth) -> Values:
    """All that the finished stages give, flat: the paths of a record's "metrics" ("none.clean.acc",
    "localisation.10.iou"), and "seconds." of the stages. None where a measure is undefined."""
    targets = pipeline.config.attack.targets(pipeline.dataset.classes)
    found: dict[str, Any] = {"seconds": _seconds(pipeline, depth)}
    if depth is not Depth.SEARCH:
        found["none"] = outcome.rates(pipeline, pipeline.threat_probe, targets)
    if depth is Depth.RETRAIN:
        found["defended"] = outcome.rates(pipeline, pipeline.defended_probe, targets)
    if depth >= Depth.SEARCH:
        found |= outcome.search_metrics(pipeline, targets)
    return dict(flat(found))


def flat(value: Any, path: str = "") -> Iterator[tuple[str, float | None]]:
    """The numbers in nested dicts and lists, by their paths."""
    inner = dict(enumerate(value)) if isinstance(value, list) else value
    if isinstance(inner, dict):
        for name, item in inner.items():
            yield from flat(item, f"{path}.{name}" if path else str(name))
    else:
        yield path, inner


def _seconds(pipeline: Pipeline, depth: Depth) -> Values:
    found: Values = {"threat_model": _took(pipeline, pipeline.threat)}
    if depth >= Depth.SEARCH:
        search = found["search"] = _took(pipeline, pipeline.clean)
        scored = pipeline.verdict.facts.get("images_scored")
        found["search_per_image"] = search / scored if scored else None
    if depth is Depth.RETRAIN:
        found["retraining"] = _took(pipeline, pipeline.retrain)
    return found


def _took(pipeline: Pipeline, stage: Stage) -> float:
    """As measured when it was made, however often it was found since."""
    return round(float((pipeline.store.meta(stage.name, stage.key) or {})["seconds"]), 3)


# --- how long it will take ------------------------------------------------------------------------


@dataclass(frozen=True)
class Forecast:
    """stages: how many are to be made; seconds: about how long they take."""

    stages: int
    seconds: float


def forecast(plan: Plan) -> Forecast:
    """What is left to do: stages that cells share count once. The networks that a defense trains are not counted."""
    paces: dict[str, Pace] = {}
    seen: set[str] = set()
    stages, seconds = 0, 0.0
    for cell in plan.cells:
        if cell.pipeline is not None:
            for took in _to_do(cell.pipeline, plan.study.depth, paces, seen):
                stages, seconds = stages + 1, seconds + took
    return Forecast(stages, seconds)


def _to_do(pipeline: Pipeline, depth: Depth, paces: dict[str, Pace], seen: set[str]) -> Iterator[float]:
    estimator = Estimator(pipeline, paces)
    for stage in needed(pipeline, depth):
        if stage.key not in seen and not pipeline.found(stage):
            yield estimator.row(stage).seconds or 0.0
        seen.add(stage.key)
    unknown = depth is Depth.RETRAIN and not pipeline.found(pipeline.clean)
    if unknown and pipeline.config.defense.name != "none":  # that keeps everything: its training is the threat model's
        yield estimator.row(pipeline.training_on_all).seconds or 0.0
        yield estimator.row(pipeline.threat_probe).seconds or 0.0
