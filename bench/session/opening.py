"""The store, and the pipeline of what is requested or of a record."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, counted

if TYPE_CHECKING:
    from bench.api import Dataset, Defense, Plugin
    from bench.config.config import Config
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stage import Machine
    from bench.plugins.manager import Plugins
    from bench.store import Store


def open_store(root: str | Path | None = None) -> Store:
    """The store at `root`, else at $BENCH_STORE, else in the user's cache folder. Raises BenchError where there is
    none of these."""
    from bench.store import Store, user_cache

    if root == "":
        raise BenchError("store is '': expected a folder; leave it out for the user's cache")
    root = root or os.environ.get("BENCH_STORE") or None
    if root is None:
        cache = user_cache()
        if cache is None:
            raise BenchError("there is no home folder to keep the store in: name a folder with --store or BENCH_STORE")
        root = cache / "store"
    try:
        folder = Path(root).expanduser().absolute()
        str(folder).encode()
        return Store(folder)
    except UnicodeEncodeError:
        raise BenchError(f"the store {str(root)!a}: its path is not UTF-8, and encoders cannot be kept there") from None
    except RuntimeError as error:  # "~" of a user without a home folder
        raise BenchError(f"the store {str(root)!r} cannot be found: {error}") from error


# --- what is requested ----------------------------------------------------------------------------------


def configured(
    preset: str,
    choices: Mapping[str, str | Plugin | None],
    settings: Sequence[str] = (),
    seed: int | None = None,
    until: str = "end",
    threat: str | Path | None = None,
    files: Sequence[str | Path] = (),
) -> tuple[Config, Plugins]:
    """The configuration that is requested, and the plugins. Raises BenchError.

    choices: plugins by kind: a name, an object, or None for the preset's. threat: a file from which the threat model
    is imported. files: of plugins that are not installed.
    """
    from dataclasses import replace

    from bench.config.config import load_config
    from bench.plugins.from_file import load_plugins

    from .objects import named, with_objects

    plugins = load_plugins([Path(file) for file in files])
    names = {kind: named(plugins, kind, given) for kind, given in choices.items()}
    objects = {kind: given for kind, given in choices.items() if not isinstance(given, str | None)}

    def load(more: Sequence[str]) -> Config:
        return load_config(plugins, preset, choices=names, settings=[*settings, *more], seed=seed, until=until)

    config = with_objects(load, objects, settings)
    if threat is not None:
        from bench.ssl.import_weights import Checkpoint

        config = replace(config, threat_checkpoint=Checkpoint.of(Path(threat).expanduser()))
    return config, plugins


def open_pipeline(config: Config, store: str | Path | None, machine: Machine | None = None) -> Pipeline:
    """The stages of a run, its dataset loaded. machine: None for one device, whichever there is."""
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stage import Machine

    kept = open_store(store)
    return Pipeline(config, config.dataset.load(), kept, machine or Machine(accelerator="auto"))


def skipped(dataset: Dataset) -> str:
    """Names the files of a dataset that cannot be read, in a sentence; "" where there is none."""
    if not dataset.skipped:
        return ""
    names = ", ".join(dataset.skipped[:5]) + (" ..." if len(dataset.skipped) > 5 else "")
    what = counted(len(dataset.skipped), "file cannot be read and is", "files cannot be read and are")
    return f"{what} left out: {names}"


# --- what a record says ---------------------------------------------------------------------------------


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
        if stage.key != found["stages"].get(name, {}).get("key"):
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


def locating(plugins: Plugins) -> list[str]:
    """The names of all defenses that say where they look."""
    from bench.api import Defense

    found = [entry for entry in plugins.entries("defense") if issubclass(entry.cls, Defense)]
    return [entry.name for entry in found if entry.cls.attention is not Defense.attention]  # type: ignore[attr-defined]


def lookers(pipeline: Pipeline, plugins: Plugins, names: Sequence[str]) -> list[Defense]:
    """The defenses of these names, with the options of the run of `pipeline`. Raises BenchError for a control, a
    detector and an encoder test."""
    from bench.api import Control, Defense

    found: list[Defense] = []
    own = pipeline.config.defense.filter
    for name in names:
        choices = {**pipeline.config.asked["choices"], "defense": name}
        chosen = own if name == own.name else again(pipeline.config.asked, plugins, choices).defense.filter
        if not isinstance(chosen, Defense):
            what = "a control" if isinstance(chosen, Control) else "what only judges"
            raise BenchError(f"--maps {name}: {what} looks nowhere; name a defense")
        found.append(chosen)
    return found
