"""The runs of a study on one preset: which there are, how long they take, and the values that they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.config.combination import reaches
from bench.config.config import load_config, parse_setting
from bench.errors import BenchError
from bench.estimate.estimate import Estimator
from bench.matrix.cell import Cell, RunContext
from bench.matrix.forecast import expected
from bench.matrix.graph import Graph
from bench.plugins.options import options
from bench.records import build
from bench.records.metrics import KS
from bench.records.record import numbers
from bench.ssl.schedule import Schedule

from .study import Line, Step, Study, setting
from .table import DEFAULT_K, HEAD, KEYS, PLANNED

if TYPE_CHECKING:
    from bench.estimate.pace import Pace
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stage import Stage

THIRD = ("n02701002", "ambulance")
"""The paper's third target, by synset and by name; where it is not a class, the last that is no target yet (on `scenes`
the first draws mosaics to itself even without poison, docs/dev/small-scale.md)."""


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """One run of a study. facts: what it is, as in the study's CSV. skipped: why it cannot be made here, else ""."""

    facts: Mapping[str, Any]
    cell: Cell
    skipped: str


class StudyRuns:
    """A study on one preset. settings: the user's, as for --set; a defense's go to the lines whose defense has them.

    seeds: () for the preset's own. Raises BenchError where no line of the study can be run, or a setting fits none.
    """

    def __init__(
        self,
        study: Study,
        context: RunContext,
        preset: str,
        settings: Sequence[str] = (),
        seeds: Sequence[int] = (),
    ) -> None:
        self.study, self.context, self._preset, self._settings = study, context, preset, tuple(settings)
        self._check_settings()
        steps = {line: self._steps(line) for line in study.lines}
        first = next((line for line, found in steps.items() if not isinstance(found, str)), None)
        if first is None:
            raise BenchError(f"nothing of study {study.name!r} can be run: {steps[study.lines[0]]}")
        base = self._opened(first)
        self.dataset, self.preset = base.dataset, base.config.preset
        self._attack, self._k = base.config.attack.name, _largest_k(base)
        self.runs = [
            run
            for seed in seeds or (load_config(context.plugins, preset).seed,)
            for line, found in steps.items()
            for run in self._runs(line, found, seed)
        ]

    @property
    def cells(self) -> list[Cell]:
        """The runs that can be made."""
        return [run.cell for run in self.runs if not run.skipped]

    def _steps(self, line: Line) -> list[tuple[Step, tuple[str, ...]]] | str:
        """Each step of a line, with all the settings that make it; or why there is none."""
        try:
            pipeline = self._opened(line)
            schedule = Schedule(pipeline.config.train, len(pipeline.dataset.train), pipeline.config.seeds)
            now = {**in_force(pipeline), "train.max_steps": schedule.steps}
            vary, targets = self.study.vary, _targets(line, pipeline)
            steps = vary.steps(now, schedule.steps_per_epoch) if vary else [Step("", "")]
        except BenchError as error:
            return str(error)
        return [(step, (*targets, *line.settings, *step.settings)) for step in steps]

    def _runs(self, line: Line, steps: list[tuple[Step, tuple[str, ...]]] | str, seed: int) -> Iterator[StudyRun]:
        for step, changes in [(Step("", ""), ())] if isinstance(steps, str) else steps:
            cell = self._cell(line, seed, changes)
            what = (self.study.name, self.preset, self.dataset.name, line.attack or self._attack, line.defense)
            values = (*what, line.label, step.label, step.x, seed, " ".join(cell.settings))
            facts = {**dict(zip(HEAD, values, strict=False)), "k": self._k, "changed": " ".join(self._settings)}
            yield StudyRun(facts=facts, cell=cell, skipped=steps if isinstance(steps, str) else self._unfit(cell))

    def _unfit(self, cell: Cell) -> str:
        """Why a cell cannot be run, "" if it can."""
        try:
            in_force(self.context.pipeline(cell))
        except BenchError as error:
            return str(error)
        return ""

    def _opened(self, line: Line) -> Pipeline:
        """The line as it is without steps."""
        return self.context.pipeline(self._cell(line, 0, line.settings))

    def _cell(self, line: Line, seed: int, changes: Sequence[str]) -> Cell:
        settings = (*(text for text in self._settings if self._fits(line, text)), *changes)
        return Cell(preset=self._preset, attack=line.attack, defense=line.defense, seed=seed, settings=settings)

    def _fits(self, line: Line, text: str) -> bool:
        """Whether a --set is for this line: one of a defense's options is for the lines whose defense has it."""
        keys, _ = parse_setting(text)
        if keys[0] != "defense" or len(keys) == 1:
            return True
        plugins = self.context.plugins
        parts = [part for part in line.defense.split("+") if part in plugins.names("defense")]
        known = {part: [option.name for option in options(plugins.get("defense", part))] for part in parts}
        return keys[1] in parts or reaches(keys[1:], known)

    def _check_settings(self) -> None:
        for text in self._settings:
            if not any(self._fits(line, text) for line in self.study.lines):
                names = " or ".join(dict.fromkeys(repr(line.defense) for line in self.study.lines))
                raise BenchError(f"--set {text!r}: no defense of study {self.study.name!r} ({names}) has this option")

    def left_to_do(self) -> tuple[int, float]:
        """How many stages are to be made, and about how many seconds they take. Stages that runs share count once."""
        graph = Graph({cell: self.context.pipeline(cell) for cell in self.cells}, self.study.needed)
        stages = [(graph.pipelines[node.cells[0]], node.stage) for node in graph.to_do()]
        if self.study.stages == "all":  # a training and a measurement follow each verdict that is not known yet
            open_ends = [pipeline for pipeline in graph.pipelines.values() if expected(pipeline)]
            stages += [(each, stage) for each in open_ends for stage in (each.training_on_all, each.threat_probe)]
        paces: dict[str, Pace] = {}
        return len(stages), sum(Estimator(pipeline, paces).row(stage).seconds for pipeline, stage in stages)

    def to_csv(self, failures: Mapping[Cell, str]) -> str:
        """A line for each run that is skipped, failed or finished: what it is, then every measure; empty = undefined.

        failures: why cells could not be finished.
        """
        import pandas as pd

        lines: list[dict[str, Any]] = []
        names: set[str] = set()
        for run in self.runs:
            failure = failures.get(run.cell)
            status = f"skipped: {run.skipped}" if run.skipped else f"failed: {failure}" if failure else ""
            pipeline = None if status else self.context.pipeline(run.cell)
            if pipeline is None:
                lines.append({**run.facts, "status": status})
            elif all(pipeline.found(stage) for stage in self.study.needed(pipeline)):
                values = measure(pipeline, self.study)
                names.update(values)
                keys = {f"{name}_key": stage.key for name, stage in _timed(pipeline, self.study).items()}
                lines.append({**run.facts, **keys, **values})
        columns = [*HEAD, *PLANNED, *KEYS, *sorted(names, key=_by_number)]
        return pd.DataFrame(lines, columns=columns, dtype=object).to_csv(index=False, lineterminator="\n")


def in_force(pipeline: Pipeline) -> dict[str, Any]:
    """The values of the attack's and the defense's options, as {"defense.masks": 16}; rules are applied.

    Raises BenchError for values that do not fit the images.
    """
    config, dataset = pipeline.config, pipeline.dataset
    values = {f"attack.{name}": value for name, value in config.attack.identity().items()}
    defense = config.defense.filter
    if hasattr(defense, "in_force"):
        inner = defense.in_force(len(dataset.train), dataset.size)
        values |= {f"defense.{name}": value for name, value in inner.items()}
    return values


def _largest_k(pipeline: Pipeline) -> int:
    """How many top images the panels look at: as many as the classifier learns from, at most, of those measured."""
    wanted = in_force(pipeline).get("defense.top_k") or DEFAULT_K
    return max((k for k in KS if k <= wanted), default=min(KS))


def _targets(line: Line, pipeline: Pipeline) -> tuple[str, ...]:
    """The settings that give the multi-target attack this line's number of targets; () where it has it."""
    attack, names, count = pipeline.config.attack, pipeline.dataset.classes, line.targets
    identity = attack.identity()
    classes, seeds = list(identity.get("target_classes", ())), list(identity.get("trigger_seeds", ()))
    if count is None or len(classes) == count:
        return ()
    taken = set(attack.targets(names))
    free = [i for i in reversed(range(len(names))) if i not in taken]
    free.sort(key=lambda i: names[i] not in THIRD)
    seeds += [seed for seed in range(len(seeds) + count) if seed not in seeds]
    values = {"target_classes": [*classes, *free], "trigger_seeds": seeds}
    if getattr(attack, "triggers", None) is not None:
        values["triggers"] = [*attack.triggers, *["mosaic"] * count]  # type: ignore[attr-defined]
    return tuple(setting(f"attack.{name}", value[:count]) for name, value in values.items())


# --- values -------------------------------------------------------------------------------------------


def measure(pipeline: Pipeline, study: Study) -> dict[str, float | None]:
    """All that the finished stages of a run give, by path: those of a record's metrics ("none.clean.acc",
    "localisation.10.iou"), and "seconds." of the stages. None where a measure is undefined."""
    targets = pipeline.config.attack.targets(pipeline.dataset.classes)
    found: dict[str, Any] = {"seconds": _seconds(pipeline, study)}
    if study.stages != "search":
        found["none"] = build.rates(pipeline, pipeline.threat_probe, targets)
    if study.stages == "all":
        found["defended"] = build.rates(pipeline, pipeline.defended_probe, targets)
    if study.stages != "threat":
        found |= build.search_metrics(pipeline, targets)
    return numbers(found)


def _by_number(name: str) -> list[tuple[int, int, str]]:
    """localisation.5 before localisation.10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split(".")]


def _timed(pipeline: Pipeline, study: Study) -> dict[str, Stage]:
    """The stages whose keys and seconds a study's table has."""
    found = {"threat_model": pipeline.threat}
    if study.stages != "threat":
        found["search"] = pipeline.clean
    if study.stages == "all":
        found["retraining"] = pipeline.retrain
    return found


def _seconds(pipeline: Pipeline, study: Study) -> dict[str, float | None]:
    """As measured when the stages were made, however often they were found since."""
    found: dict[str, float | None] = {}
    for name, stage in _timed(pipeline, study).items():
        seconds = found[name] = round(float((pipeline.store.meta(stage.name, stage.key) or {})["seconds"]), 3)
        if name == "search":
            scored = pipeline.verdict.facts.get("images_scored")
            found["search_per_image"] = seconds / scored if scored else None
    return found
