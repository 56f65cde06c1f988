"""Cells: runs as data. A cell holds the options that `bench run` would be given, so that any process can open it."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass

from bench.api import Dataset
from bench.config.config import END, Config, load_config
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Machine
from bench.plugins.manager import Plugins
from bench.store import Store, canonical


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run: a preset and what changes it. None: the preset's. `settings` are as for --set, `plugins` the files for
    --plugin."""

    preset: str
    seed: int
    attack: str | None = None
    defense: str | None = None
    dataset: str | None = None
    ssl: str | None = None
    settings: tuple[str, ...] = ()
    until: str = END
    plugins: tuple[str, ...] = ()

    @property
    def choices(self) -> dict[str, str | None]:
        """The plugins chosen, by kind."""
        return {kind: getattr(self, kind) for kind in ("attack", "defense", "dataset", "ssl")}

    @property
    def command(self) -> str:
        """The command that runs this cell alone."""
        words = ["bench", "run", "--preset", self.preset]
        for kind, name in self.choices.items():
            words += [f"--{kind}", name] if name else []
        for setting in self.settings:
            words += ["--set", setting]
        for file in self.plugins:
            words += ["--plugin", file]
        until = [] if self.until == END else ["--until", self.until]
        return shlex.join([*words, "--seed", str(self.seed), *until])

    def config(self, plugins: Plugins) -> Config:
        """Its checked configuration. Raises BenchError."""
        chosen, settings = self.choices, self.settings
        return load_config(plugins, self.preset, choices=chosen, settings=settings, seed=self.seed, until=self.until)

    @property
    def title(self) -> str:
        """Short, for people: 'byol, htba (target=7), poisoncam, seed 0', the first where it is not the preset's."""
        own = [text.removeprefix("attack.") for text in self.settings if text.startswith("attack.")]
        attack = " ".join([self.attack or self.preset, *([f"({', '.join(own)})"] if own else [])])
        return ", ".join(filter(None, [self.ssl, attack, self.defense, f"seed {self.seed}"]))


class RunContext:
    """Opens cells; what they share (plugins, loaded datasets) is loaded once."""

    def __init__(self, store: Store, machine: Machine, plugins: Plugins | None = None) -> None:
        self.store, self.machine = store, machine
        self.plugins = plugins or Plugins.load()
        self.datasets: dict[str, Dataset] = {}
        self._pipelines: dict[Cell, Pipeline] = {}

    def config(self, cell: Cell) -> Config:
        """The cell's checked configuration. Raises BenchError."""
        return cell.config(self.plugins)

    def pipeline(self, cell: Cell) -> Pipeline:
        """The cell's pipeline, its dataset loaded. Raises BenchError."""
        if cell not in self._pipelines:
            config = self.config(cell)
            self._pipelines[cell] = Pipeline(config, self._dataset(config), self.store, self.machine)
        return self._pipelines[cell]

    def _dataset(self, config: Config) -> Dataset:
        options = dataclasses.asdict(config.dataset)  # type: ignore[call-overload]
        key = canonical({"name": config.dataset.name, **options})
        if key not in self.datasets:
            self.datasets[key] = config.dataset.load()
        return self.datasets[key]
