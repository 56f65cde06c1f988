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
from bench.plugins.options import options
from bench.records import build
from bench.records.metrics import KS
from bench.ssl.schedule import Schedule

from .study import Line, Step, Study, setting

if TYPE_CHECKING:
    from bench.api import Dataset
    from bench.estimate.pace import Pace
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stages import Stage

DEFAULT_K = 10
THIRD = ("n02701002", "ambulance")
"""The paper's third target, by synset and by name; where it is not a class, the last that is no target yet (on `scenes`
the first draws mosaics to itself even without poison, docs/small-scale.md)."""


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """One run of a study. skipped: why it cannot be made here, "" if it can. attack: its name."""

    line: Line
    step: Step
    cell: Cell
    attack: str
    skipped: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A study on one preset. preset: its name. k: how many top images the panels look at. runs: seed by seed."""

    study: Study
    preset: str
    dataset: Dataset
    settings: tuple[str, ...]
    k: int
    runs: tuple[StudyRun, ...]

    @property
    def cells(self) -> list[Cell]:
        """The runs that can be made."""
        return [run.cell for run in self.runs if not run.skipped]


class Planner:
    """Lays out a study on a preset. settings: the user's, as for --set; a defense's go to the lines that have them."""

    def __init__(self, study: Study, context: RunContext, preset: str, settings: Sequence[str] = ()) -> None:
        self._study, self._context, self._preset, self._settings = study, context, preset, tuple(settings)
        self._plugins = context.plugins

    def plan(self, seeds: Sequence[int] = ()) -> StudyPlan:
        """seeds: () for the preset's own. Raises BenchError where no line of the study can be run, or a setting of the
        user's fits none."""
        missing = {line: self._missing(line) for line in self._study.lines}
        ready = [line for line, reason in missing.items() if not reason]
        if not ready:
            raise BenchError(f"nothing of study {self._study.name!r} can be run: {next(iter(missing.values()))}")
        self._check_settings(ready)
        first = self._opened(ready[0])
        steps = {line: self._steps(line) for line in ready}
        runs = []
        for seed in seeds or (load_config(self._plugins, self._preset).seed,):
            for line, reason in missing.items():
                runs += [self._run(line, step, seed, settings) for step, settings in steps.get(line, ())]
                if reason:
                    attack = line.attack or first.config.attack.name
                    cell = self._cell(line, seed, ())
                    runs.append(StudyRun(line=line, step=Step("", ""), cell=cell, attack=attack, skipped=reason))
        wanted = in_force(first).get("defense.top_k") or DEFAULT_K
        return StudyPlan(
            study=self._study,
            preset=first.config.preset,
            dataset=first.dataset,
            settings=self._settings,
            k=max((k for k in KS if k <= wanted), default=min(KS)),
            runs=tuple(runs),
        )

    def _steps(self, line: Line) -> list[tuple[Step, tuple[str, ...]]]:
        """Each step of a line, with all the settings that make it."""
        pipeline = self._opened(line)
        schedule = Schedule(pipeline.config.train, len(pipeline.dataset.train), pipeline.config.seeds)
        now = {**in_force(pipeline), "train.max_steps": schedule.steps}
        vary, targets = self._study.vary, _targets(line, pipeline)
        steps = vary.steps(now, schedule.steps_per_epoch) if vary else [Step("", "")]
        return [(step, (*targets, *line.settings, *step.settings)) for step in steps]

    def _run(self, line: Line, step: Step, seed: int, settings: Sequence[str]) -> StudyRun:
        cell, attack, skipped = self._cell(line, seed, settings), line.attack or "", ""
        try:
            pipeline = self._context.pipeline(cell)
            attack = pipeline.config.attack.name
            in_force(pipeline)
        except BenchError as error:
            skipped = str(error)
        return StudyRun(line=line, step=step, cell=cell, attack=attack, skipped=skipped)

    def _opened(self, line: Line) -> Pipeline:
        """The line as it is without steps."""
        return self._context.pipeline(self._cell(line, 0, line.settings))

    def _cell(self, line: Line, seed: int, changes: Sequence[str]) -> Cell:
        own = tuple(text for text in self._settings if self._fits(line, text))
        return Cell(preset=self._preset, attack=line.attack, defense=line.defense, seed=seed, settings=(*own, *changes))

    def _missing(self, line: Line) -> str:
        """Which plugin of the line is not installed, in words; "" for none."""
        wanted = [("defense", part) for part in line.defense.split("+")]
        for kind, name in [*wanted, *([("attack", line.attack)] if line.attack else [])]:
            if name not in self._plugins.names(kind):
                return f"{kind} {name!r} is not installed"
        return ""

    def _fits(self, line: Line, text: str) -> bool:
        """Whether a --set is for this line: one of a defense's options is for the lines whose defense has it."""
        keys, _ = parse_setting(text)
        names = line.defense.split("+")
        if keys[0] != "defense" or len(keys) == 1 or keys[1] in names:
            return True
        there = [name for name in names if name in self._plugins.names("defense")]
        return reaches(
            keys[1:], {name: [o.name for o in options(self._plugins.get("defense", name))] for name in there}
        )

    def _check_settings(self, lines: Sequence[Line]) -> None:
        for text in self._settings:
            if not any(self._fits(line, text) for line in lines):
                names = " or ".join(dict.fromkeys(repr(line.defense) for line in lines))
                raise BenchError(f"--set {text!r}: no defense of study {self._study.name!r} ({names}) has this option")


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
    found = [
        setting("attack.target_classes", [*classes, *free][:count]),
        setting("attack.trigger_seeds", seeds[:count]),
    ]
    if getattr(attack, "triggers", None) is not None:
        triggers = [*attack.triggers, *["mosaic"] * count]  # type: ignore[attr-defined]
        found.append(setting("attack.triggers", triggers[:count]))
    return tuple(found)


# --- how long it takes --------------------------------------------------------------------------------


def left_to_do(plan: StudyPlan, context: RunContext) -> tuple[int, float]:
    """How many stages are to be made, and about how many seconds they take. Stages that runs share count once."""
    paces: dict[str, Pace] = {}
    seen: set[str] = set()
    found = [seconds for cell in plan.cells for seconds in _to_do(plan.study, context.pipeline(cell), paces, seen)]
    return len(found), sum(found)


def _to_do(study: Study, pipeline: Pipeline, paces: dict[str, Pace], seen: set[str]) -> Iterator[float]:
    estimator = Estimator(pipeline, paces)
    for stage in study.needed(pipeline):
        if stage.key not in seen and not pipeline.found(stage):
            yield estimator.row(stage).seconds
        seen.add(stage.key)
    unknown = study.stages == "all" and not pipeline.found(pipeline.clean)
    if unknown and pipeline.config.defense.name != "none":  # that keeps everything: its training is the threat model's
        yield estimator.row(pipeline.training_on_all).seconds
        yield estimator.row(pipeline.threat_probe).seconds


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
    return dict(flat(found))


def flat(value: Any, path: str = "") -> Iterator[tuple[str, float | None]]:
    """The numbers in nested dicts and lists, by their paths."""
    inner = dict(enumerate(value)) if isinstance(value, list) else value
    if isinstance(inner, Mapping):
        for name, item in inner.items():
            yield from flat(item, f"{path}.{name}" if path else str(name))
    else:
        yield path, inner


def stage_keys(pipeline: Pipeline, study: Study) -> dict[str, str]:
    """Which stages in the store the values rest on."""
    return {name: stage.key for name, stage in _timed(pipeline, study).items()}


def _timed(pipeline: Pipeline, study: Study) -> dict[str, Stage]:
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
