"""What the commands do: everything that prints."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from bench.errors import BenchError, nearest
from bench.store.store import Store, check_can_write

if TYPE_CHECKING:
    from bench.api import Dataset, Defense
    from bench.config.config import Config
    from bench.parallel.nodes import Party
    from bench.pipeline.pipeline import Pipeline
    from bench.plugins.manager import Entry, Plugins

out, log_out = Console(), Console(stderr=True)


def open_store(root: Path | None) -> Store:
    """The store at `root`, else in the user's cache folder."""
    if root is None:
        from platformdirs import user_cache_path

        root = user_cache_path("ssl-backdoor-bench", appauthor=False) / "store"
    return Store(root.expanduser().absolute())


def run_command(
    config: Config,
    plugins: Plugins,
    *,
    store: Path | None,
    record: Path | None,
    devices: int,
    accelerator: str,
    nodes: int = 1,
    node_timeout: float = 600.0,
) -> None:
    """`bench run`, on this machine or, where it is one of several `nodes`, its part of it."""
    if nodes == 1:
        _run(config, plugins, store, record, devices, accelerator)
        return
    from bench import __version__
    from bench.parallel.nodes import joined
    from bench.pipeline.runner import follow

    about = {"--nodes": nodes, "--devices": devices, "version": __version__}
    with joined(nodes, node_timeout, about) as party:
        if party.leads:
            _run(config, plugins, store, record, devices, accelerator, party)
        else:
            logging.getLogger("bench").setLevel(logging.ERROR)  # warnings are the first node's to give
            follow(party, lambda: _pipeline(config, store, devices, accelerator, party))


def _run(
    config: Config,
    plugins: Plugins,
    store: Path | None,
    record: Path | None,
    devices: int,
    accelerator: str,
    party: Party | None = None,
) -> None:
    from bench.pipeline.events import Terminal
    from bench.pipeline.runner import make_stages
    from bench.records import build as outcome, record as records
    from bench.report.terminal import summary

    show_log()
    if record is not None:
        check_can_write(record)
    pipeline = _pipeline(config, store, devices, accelerator, party)
    plugins.notify("run_started", config=config.resolved)
    with Terminal(out) as terminal:
        plugins.add(terminal)
        make_stages(pipeline, plugins.notify)
    built, kept = outcome.keep_record(pipeline)
    plugins.notify("run_finished", record=built)
    for part in summary(built):
        out.print(part, highlight=False, soft_wrap=True)
    if record is not None:
        records.save(record, built)
    out.print(f"\nRecord: {record or kept}", highlight=False, soft_wrap=True)


def _pipeline(
    config: Config, store: Path | None, devices: int, accelerator: str, party: Party | None = None
) -> Pipeline:
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stage import Machine

    dataset = config.dataset.load()
    if party is None or party.leads:
        tell_skipped(dataset)
    machine = Machine(accelerator=accelerator, devices=devices, party=party)
    return Pipeline(config, dataset, open_store(store), machine)


def tell_skipped(dataset: Dataset) -> None:
    if dataset.skipped:
        names = ", ".join(dataset.skipped[:5]) + (" ..." if len(dataset.skipped) > 5 else "")
        log_out.print(f"bench: {len(dataset.skipped)} files cannot be read and are left out: {names}", markup=False)


def show_log() -> None:
    handler = RichHandler(console=log_out, show_time=False, show_path=False, markup=False)
    logger = logging.getLogger("bench")
    if not logger.handlers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)


def show_command(
    run: Path, store: Path | None, output: Path | None, maps: list[str], count: int, files: Sequence[Path] = ()
) -> None:
    """`bench show`."""
    from bench.api import Defense
    from bench.report.attention import gallery

    output = output or run.with_suffix(".png")
    check_can_write(output)
    pipeline, plugins = reopened(run, store, files)
    names = maps or [each.name for each in plugins.entries("defense") if issubclass(each.cls, Defense)]
    figure = gallery(pipeline, lookers(pipeline, plugins, names), count)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, metadata={"Software": None} if output.suffix == ".png" else None)
    out.print(f"Picture: {output}", highlight=False, soft_wrap=True)


def lookers(pipeline: Pipeline, plugins: Plugins, names: Sequence[str]) -> list[Defense]:
    """The defenses of these names as the run of `pipeline` would have them. Raises BenchError for a control."""
    from bench.api import Defense

    found: list[Defense] = []
    for name in names:
        choices = {**pipeline.config.asked["choices"], "defense": name}
        chooser = again(pipeline.config.asked, plugins, choices).defense.filter
        if not isinstance(chooser, Defense):
            raise BenchError(f"--maps {name}: a control looks nowhere; name a defense")
        found.append(chooser)
    return found


def reopened(run: Path, store: Path | None, files: Sequence[Path] = ()) -> tuple[Pipeline, Plugins]:
    """The pipeline of a record, if its stages are what this version of the benchmark would make; `files` hold its
    plugins that are not installed. Raises BenchError."""
    from bench.plugins.from_file import load_plugins
    from bench.records import record as records

    found, plugins = records.load(run), load_plugins(files)
    asked = found["run"].get("asked")
    if not asked:
        raise BenchError(f"{run} does not say how its run was asked for (an older version made it): run it again")
    threat = found["config"].get("threat")
    asked = {**asked, "threat_checkpoint": threat} if threat else asked  # older records say it only there
    pipeline = _pipeline(again(asked, plugins, asked["choices"]), store, 1, "auto")
    for stage, name in ((pipeline.threat, "threat_model"), (pipeline.clean, "defense")):
        if stage.key != found["stages"][name]["key"]:
            raise BenchError(f"{run}: the same command makes another {name} now (other data or version): run it again")
    return pipeline, plugins


def again(asked: Mapping[str, Any], plugins: Plugins, choices: Mapping[str, str]) -> Config:
    """The configuration that was asked for, with other choices; settings that a chosen plugin does not know are left
    out of it. An imported threat model is known by its digest: its file need not be there."""
    from dataclasses import replace

    from bench.config.config import load_config
    from bench.ssl.import_weights import Checkpoint

    other = choices.get("defense") != asked["choices"].get("defense")
    settings = [text for text in asked["settings"] if not (other and text.startswith("defense."))]
    config = load_config(plugins, asked["preset"], choices=choices, settings=settings, seed=asked["seed"])
    threat = asked.get("threat_checkpoint")
    found = Checkpoint(path=Path(threat["checkpoint"]), sha256=threat["sha256"]) if threat else None
    return replace(config, threat_checkpoint=found)


def plan_command(config: Config, *, store: Path | None, devices: int, accelerator: str, on: str | None) -> None:
    """`bench plan`. on: machines that are not this one, as `elsewhere.read_fleet` takes them."""
    from bench.estimate.estimate import Estimator
    from bench.estimate.gpus import ElsewhereEstimator, read_fleet

    fleet = read_fleet(on) if on else None
    pipeline = _pipeline(config, store, devices, accelerator)
    estimator = ElsewhereEstimator(pipeline, fleet) if fleet else Estimator(pipeline)
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("stage", "in the store", "time", "estimated from"):
        table.add_column(heading, justify="right" if heading == "time" else "left")
    rows = estimator.rows()
    for row in rows:
        table.add_row(row.title, "yes" if row.cached else "no", row.time, row.basis)
    out.print(table)
    out.print(f"\n{estimator.total(rows)}", highlight=False, soft_wrap=True)


def list_command(kind: str | None, files: Sequence[Path] = ()) -> None:
    """`bench list`."""
    from bench.plugins.from_file import load_plugins
    from bench.plugins.registry import KINDS

    if kind is not None and kind not in KINDS:
        raise BenchError(f"unknown kind {kind!r}.{nearest(kind, KINDS)}")
    found = load_plugins(files)
    for each in [kind] if kind else list(KINDS):
        out.print(f"\n[bold]{KINDS[each].word}s[/]")
        for entry in found.entries(each):
            _print_entry(entry)
    _print_broken(found)


def _print_entry(entry: Entry) -> None:
    from bench.plugins.options import REQUIRED, options

    purpose = (entry.cls.__doc__ or "").strip().splitlines()[0]
    out.print(
        f"  [cyan]{entry.name}[/]  {escape(purpose)} [dim]({escape(entry.origin)})[/]", highlight=False, soft_wrap=True
    )
    for option in options(entry.cls):
        default = "(required)" if option.default is REQUIRED else repr(option.default)
        line = f"      {option.name} = {default}  [dim]{escape(option.doc)}[/]"
        out.print(line, highlight=False, soft_wrap=True)


def plugins_command(files: Sequence[Path] = ()) -> None:
    """`bench plugins`."""
    from bench.plugins.from_file import load_plugins
    from bench.plugins.registry import KINDS

    found = load_plugins(files)
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("kind", "name", "from"):
        table.add_column(heading)
    for kind in KINDS:
        for entry in found.entries(kind):
            table.add_row(KINDS[kind].word, entry.name, escape(entry.origin))
    out.print(table)
    _print_broken(found)


def _print_broken(found: Plugins) -> None:
    for broken in found.broken:
        log_out.print(f"cannot be used: {broken}", style="red", markup=False, highlight=False)


def presets_command(name: str | None) -> None:
    """`bench presets`."""
    from importlib.resources import files

    from bench.config.config import preset_names, read_preset

    if name is not None:
        read_preset(name)
        path = Path(name) if name.endswith(".toml") else files("bench.config.presets") / f"{name}.toml"
        sys.stdout.write(path.read_text(encoding="utf-8"))
        return
    for each in preset_names():
        out.print(
            f"  [cyan]{each}[/]  {escape(str(read_preset(each).get('purpose', '')))}", highlight=False, soft_wrap=True
        )


def store_list_command(root: Path | None) -> None:
    """`bench store list`."""
    store = open_store(root)
    entries = store.entries()
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("stage", "key", "size", "seconds", "last used", "state"):
        table.add_column(heading, justify="right" if heading in ("size", "seconds") else "left")
    for e in entries:
        used = e.last_used.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(e.stage, e.key[:12], size(e.bytes), f"{e.seconds:.0f}", used, "" if e.finished else "unfinished")
    out.print(table)
    total = size(sum(e.bytes for e in entries))
    out.print(f"{len(entries)} stages, {total} in {store.root}", highlight=False, soft_wrap=True)


def store_prune_command(
    root: Path | None, days: float | None, gib: float | None, stage: str | None, partial: bool, dry_run: bool
) -> None:
    """`bench store prune`."""
    freed = open_store(root).prune(
        older_than=None if days is None else days * 86_400,
        max_bytes=None if gib is None else int(gib * 2**30),
        stage=stage,
        partial=partial,
        dry_run=dry_run,
    )
    out.print(f"{'would free' if dry_run else 'freed'} {size(freed)}", highlight=False)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
