"""What several commands share: where they print, the store, and the pipeline of a command or of a record."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.api import Dataset, Defense
    from bench.config.config import Config
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stage import Machine
    from bench.plugins.manager import Plugins
    from bench.store import Store

out, log_out = Console(), Console(stderr=True)
PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True}
"""How a line is printed: no colours guessed from its text, and never folded, so that paths can be copied."""


def say(line: str) -> None:
    """Print a line as it is: square brackets in it are no markup."""
    out.print(line, markup=False, **PLAIN)


def warn(line: str) -> None:
    """The same, to standard error."""
    log_out.print(line, markup=False, **PLAIN)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> None:
    """Print a table of texts. right: the headings of the columns that end at the right, as numbers do."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table)


def show_log() -> None:
    """Warnings of the benchmark go to standard error from now on."""
    import logging

    from rich.logging import RichHandler

    logger = logging.getLogger("bench")
    if not logger.handlers:
        logger.addHandler(RichHandler(console=log_out, show_time=False, show_path=False, markup=False))
        logger.setLevel(logging.WARNING)


def warn_of_skipped(dataset: Dataset) -> None:
    """Names files of the dataset that cannot be read."""
    if dataset.skipped:
        names = ", ".join(dataset.skipped[:5]) + (" ..." if len(dataset.skipped) > 5 else "")
        warn(f"bench: {len(dataset.skipped)} files cannot be read and are left out: {names}")


def open_store(root: Path | None) -> Store:
    """The store at `root`, else in the user's cache folder. Raises BenchError where there is neither."""
    from bench.store import Store, user_cache

    if root is None:
        cache = user_cache()
        if cache is None:
            raise BenchError("there is no home folder to keep the store in: name a folder with --store or BENCH_STORE")
        root = cache / "store"
    return Store(root.expanduser().absolute())


# --- the pipeline of a command --------------------------------------------------------------------------


def configured(
    preset: str,
    choices: Mapping[str, str | None],
    settings: Sequence[str] | None,
    seed: int | None,
    until: str,
    threat: Path | None,
    files: Sequence[Path] | None,
) -> tuple[Config, Plugins]:
    """The configuration that a command's options describe, and the plugins. Raises BenchError.

    choices: plugins by kind, None for the preset's. threat: a file from which the threat model is imported. files: of
    plugins that are not installed.
    """
    from dataclasses import replace

    from bench.config.config import load_config
    from bench.plugins.from_file import load_plugins

    plugins = load_plugins(files or ())
    config = load_config(plugins, preset, choices=choices, settings=settings or (), seed=seed, until=until)
    if threat is not None:
        from bench.ssl.import_weights import Checkpoint

        config = replace(config, threat_checkpoint=Checkpoint.of(threat.expanduser()))
    return config, plugins


def open_pipeline(config: Config, store: Path | None, machine: Machine | None = None) -> Pipeline:
    """The stages of a run, its dataset loaded. machine: None for one device, whichever there is."""
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stage import Machine

    machine = machine or Machine(accelerator="auto")
    dataset = config.dataset.load()
    if machine.group is None or machine.group.leads:
        warn_of_skipped(dataset)
    return Pipeline(config, dataset, open_store(store), machine)


# --- the pipeline of a record ---------------------------------------------------------------------------


def reopened(run: Path, store: Path | None, files: Sequence[Path] = ()) -> tuple[Pipeline, Plugins]:
    """The pipeline of a record, if its stages are what this version of the benchmark would make.

    files: the run's plugins that are not installed. Raises BenchError.
    """
    from bench.plugins.from_file import load_plugins
    from bench.records import record as records

    found, plugins = records.load(run), load_plugins(files)
    asked = asked_for(run, found)
    threat = found["config"].get("threat")
    asked = {**asked, "threat_checkpoint": threat} if threat else asked  # older records say it only there
    pipeline = open_pipeline(again(asked, plugins, asked["choices"]), store)
    for stage, name in ((pipeline.threat, "threat_model"), (pipeline.clean, "defense")):
        if stage.key != found["stages"][name]["key"]:
            raise BenchError(f"{run}: the same command makes another {name} now (other data or version): run it again")
    return pipeline, plugins


def asked_for(run: Path, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of the command that made the record in the file `run`. Raises BenchError."""
    asked: Mapping[str, Any] | None = record["run"].get("asked")
    if not asked:
        raise BenchError(f"{run} does not say which command made it (an older version did not keep it): run it again")
    return asked


def again(asked: Mapping[str, Any], plugins: Plugins, choices: Mapping[str, str]) -> Config:
    """The configuration that a record's command described, with other choices.

    Settings of a defense go with it. An imported threat model is known by its digest: its file need not be there.
    """
    from dataclasses import replace

    from bench.config.config import END, load_config
    from bench.ssl.import_weights import Checkpoint

    other = choices.get("defense") != asked["choices"].get("defense")
    settings = [text for text in asked["settings"] if not (other and text.startswith("defense."))]
    seed, until = asked["seed"], asked.get("until", END)
    config = load_config(plugins, asked["preset"], choices=choices, settings=settings, seed=seed, until=until)
    threat = asked.get("threat_checkpoint")
    found = Checkpoint(path=Path(threat["checkpoint"]), sha256=threat["sha256"]) if threat else None
    return replace(config, threat_checkpoint=found)


def lookers(pipeline: Pipeline, plugins: Plugins, names: Sequence[str]) -> list[Defense]:
    """The defenses of these names, with the options of the run of `pipeline`. Raises BenchError for a control."""
    from bench.api import Defense

    found: list[Defense] = []
    for name in names:
        choices = {**pipeline.config.asked["choices"], "defense": name}
        chosen = again(pipeline.config.asked, plugins, choices).defense.filter
        if not isinstance(chosen, Defense):
            raise BenchError(f"--maps {name}: a control looks nowhere; name a defense")
        found.append(chosen)
    return found
