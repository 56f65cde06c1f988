"""From a study and a preset to cells: one pipeline for each line, step and seed, all on one store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.config.combination import reaches
from bench.config.config import Config, load_config, parse_setting
from bench.errors import BenchError
from bench.pipeline.pipeline import Pipeline
from bench.plugins.options import options
from bench.records.metrics import KS
from bench.ssl.schedule import Schedule

from .steps import Base, Step, setting
from .study import Line, Panel, Study

if TYPE_CHECKING:
    from bench.api import Dataset
    from bench.pipeline.stage import Machine
    from bench.plugins.manager import Plugins
    from bench.store import Store

DEFAULT_K = 10
_THIRD = ("n02701002", "ambulance")
"""The paper's third target, by synset and by name; where it is not a class, the last that is no target yet (on `scenes`
the first draws mosaics to itself even without poison, docs/small-scale.md)."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a study. pipeline None: it cannot be run here, and `skipped` says why."""

    line: Line
    step: Step
    seed: int
    settings: tuple[str, ...] = ()
    pipeline: Pipeline | None = None
    skipped: str = ""

    @property
    def title(self) -> str:
        """For people."""
        parts = (self.line.label, self.step.label, f"seed {self.seed}")
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study on one preset. k: what {k} stands for. config: that of its first line, to tell what all cells share."""

    study: Study
    config: Config
    dataset: Dataset
    settings: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    k: int

    @property
    def panels(self) -> list[Panel]:
        """The study's panels with {k} filled in."""
        return [
            Panel(
                label=panel.label.replace("{k}", str(self.k)),
                curves={name: path.replace("{k}", str(self.k)) for name, path in panel.curves.items()},
                unit=panel.unit,
            )
            for panel in self.study.panels
        ]


@dataclass(kw_only=True)
class Planner:
    """Makes the plan of a study. `settings` are the user's, as for --set; seeds () means the preset's own."""

    plugins: Plugins
    store: Store
    machine: Machine
    preset: str
    settings: Sequence[str] = ()
    seeds: Sequence[int] = ()
    _dataset: Dataset | None = field(default=None, init=False)

    def plan(self, study: Study) -> Plan:
        """Raises BenchError where no line of the study can be run, or a setting of the user's fits none."""
        self._check_settings(study)
        bases = {line.label: self._base(line) for line in study.lines}
        ready = [base for base in bases.values() if not isinstance(base, str)]
        if not ready:
            raise BenchError(f"nothing of study {study.name!r} can be run: {next(iter(bases.values()))}")
        config, values = ready[0]
        seeds = tuple(self.seeds) or (config.seed,)
        cells = [
            cell for seed in seeds for line in study.lines for cell in self._cells(study, line, seed, bases[line.label])
        ]
        return Plan(
            study=study,
            config=config,
            dataset=self._data(config),
            settings=tuple(self.settings),
            seeds=seeds,
            cells=tuple(cells),
            k=_k(values),
        )

    def _cells(self, study: Study, line: Line, seed: int, base: tuple[Config, Base] | str) -> Iterator[Cell]:
        if isinstance(base, str):
            yield Cell(line=line, step=Step("", ""), seed=seed, skipped=base)
            return
        targets = self._targets(line, base[0])
        for step in study.steps.of(base[1]):
            changes = (*targets, *line.settings, *step.settings)
            try:
                config = self._config(line, changes, seed)
                self._in_force(config)
            except BenchError as error:
                yield Cell(line=line, step=step, seed=seed, settings=changes, skipped=str(error))
                continue
            pipeline = Pipeline(config, self._data(config), self.store, self.machine)
            yield Cell(line=line, step=step, seed=seed, settings=changes, pipeline=pipeline)

    def _base(self, line: Line) -> tuple[Config, Base] | str:
        """The line without steps; for a plugin that is not there, the reason. Raises for any other mistake."""
        missing = self._missing(line)
        if missing:
            return missing
        config = self._config(line, line.settings, None)
        schedule = Schedule(config.train, len(self._data(config).train), config.seeds)
        epochs = schedule.steps / schedule.steps_per_epoch
        return config, Base(values=self._in_force(config), steps=schedule.steps, epochs=epochs)

    def _missing(self, line: Line) -> str:
        wanted = [("defense", part) for part in line.defense.split("+")]
        for kind, name in [*wanted, *([("attack", line.attack)] if line.attack else [])]:
            if name not in self.plugins.names(kind):
                return f"{kind} {name!r} is not installed"
        return ""

    def _config(self, line: Line, changes: Sequence[str], seed: int | None) -> Config:
        own = [text for text in self.settings if self._fits(line, text)]
        choices = {"defense": line.defense, "attack": line.attack}
        return load_config(self.plugins, self.preset, choices=choices, settings=[*own, *changes], seed=seed)

    def _fits(self, line: Line, text: str) -> bool:
        """Whether a --set is for this line: one of a defense's options is for the lines whose defense has it."""
        keys, _ = parse_setting(text)
        if keys[0] != "defense" or len(keys) == 1:
            return True
        names = line.defense.split("+")
        known = {name: [option.name for option in options(self.plugins.get("defense", name))] for name in names}
        return keys[1] in names or reaches(keys[1:], known)

    def _check_settings(self, study: Study) -> None:
        lines = [line for line in study.lines if not self._missing(line)]
        for text in self.settings:
            if lines and not any(self._fits(line, text) for line in lines):
                names = " or ".join(dict.fromkeys(repr(line.defense) for line in lines))
                raise BenchError(f"--set {text!r}: no defense of study {study.name!r} ({names}) has this option")

    def _in_force(self, config: Config) -> dict[str, Any]:
        """Every option's value, as "defense.masks". Raises BenchError for values that do not fit the images."""
        data, chooser = self._data(config), config.defense.filter
        found = dict(config.attack.identity())
        values = {f"attack.{name}": value for name, value in found.items()}
        if hasattr(chooser, "in_force"):
            inner = chooser.in_force(len(data.train), data.size)
            values |= {f"defense.{name}": value for name, value in inner.items()}
        return values

    def _data(self, config: Config) -> Dataset:
        """Loaded once: no line or step changes it."""
        if self._dataset is None:
            self._dataset = config.dataset.load()
        return self._dataset

    def _targets(self, line: Line, config: Config) -> tuple[str, ...]:
        """The settings that give the multi-target attack this line's number of targets; () where it has it."""
        identity, dataset = config.attack.identity(), self._data(config)
        classes, seeds = list(identity.get("target_classes", ())), list(identity.get("trigger_seeds", ()))
        if line.targets is None or len(classes) == line.targets:
            return ()
        taken = set(config.attack.targets(dataset.classes))
        free = [i for i in reversed(range(len(dataset.classes))) if i not in taken]
        free.sort(key=lambda i: dataset.classes[i] not in _THIRD)
        classes = [*classes, *free][: line.targets]
        seeds = [*seeds, *(seed for seed in range(len(seeds) + line.targets) if seed not in seeds)][: line.targets]
        found = [setting("attack.target_classes", classes), setting("attack.trigger_seeds", seeds)]
        if getattr(config.attack, "triggers", None) is not None:
            triggers = [*config.attack.triggers, *["mosaic"] * line.targets]  # type: ignore[attr-defined]
            found.append(setting("attack.triggers", triggers[: line.targets]))
        return tuple(found)


def _k(base: Base) -> int:
    """How many top images the panels look at: as many as the classifier learns from, at most, of those measured."""
    wanted = base.values.get("defense.top_k") or DEFAULT_K
    return max((k for k in KS if k <= wanted), default=min(KS))
