"""`bench run`: one attack and one defense from the images to the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError, counted, in_one_line

from . import common, options

if TYPE_CHECKING:
    from bench.config.config import Config
    from bench.pipeline.stage import Machine
    from bench.plugins.manager import Plugins
    from bench.records.record import Record


def run(
    attack: options.Attack = None,
    defense: options.Defense = None,
    dataset: options.DatasetName = None,
    ssl: options.Method = None,
    preset: options.Preset = "laptop",
    settings: options.Set = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    until: options.Until = "end",
    record: Annotated[
        Path | None,
        options.written("Write the record to this .json file as well, or into this folder."),
    ] = None,
    plugin: options.PluginFiles = None,
    threat_checkpoint: options.ThreatCheckpoint = None,
    store: options.StoreRoot = None,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
    node_timeout: options.NodeTimeout = 600.0,
    tensorboard: options.TensorBoardDir = None,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Run the defense in this process, unfenced and without a progress bar, so that breakpoint() works in "
            "it; of an error show the plugin's own lines.",
        ),
    ] = False,
) -> None:
    """Attack, train, defend, train again (not with --until detection), and print what came out. What is in the store is
    not computed again."""
    from bench.parallel.nodes import torchrun_devices
    from bench.pipeline.stage import Machine
    from bench.session.opening import configured

    wanted = options.parse_seeds(seeds)
    _check(wanted, seed, record)
    choices = {"attack": attack, "defense": defense, "dataset": dataset, "ssl": ssl}
    here = torchrun_devices()
    machine = Machine(accelerator=accelerator, devices=here or devices, in_place=debug)
    if here is not None and devices not in (1, here):
        raise BenchError(
            f"--devices {devices}: torchrun started {counted(here, 'process', 'processes')} on each machine, one for a "
            "device"
        )
    if here is not None and wanted:
        raise BenchError("--seeds under torchrun: start one command for each --seed")
    made: list[Record] = []
    for each in wanted or [seed]:
        config, plugins = configured(preset, choices, settings or (), each, until, threat_checkpoint, plugin or ())
        if tensorboard is not None:
            from bench.plugins.tensorboard import TensorBoard
            from bench.store import check_can_write

            check_can_write(tensorboard / "events")
            plugins.add(TensorBoard(tensorboard, name=f"{config.defense.name}-seed{config.seed}"))
        if here is not None:
            _run_with_others(config, plugins, store, record, machine, node_timeout)
        elif wanted:
            common.say(f"{'' if not made else chr(10)}seed {each}")
            made.append(_run(config, plugins, store, record, machine, short=True))
        else:
            _run(config, plugins, store, record, machine)
    if wanted:
        _print_means(made)


def _check(seeds: Sequence[int], seed: int | None, record: Path | None) -> None:
    """Raises BenchError for options that do not go together."""
    if seeds and seed is not None:
        raise BenchError(f"--seed {seed} and --seeds: give one of them")
    if seeds and record is not None and (record.is_file() or record.suffix == ".json"):
        raise BenchError(f"--record {record}: with --seeds there are several records; name a folder for them")


def _run(
    config: Config, plugins: Plugins, store: Path | None, record: Path | None, machine: Machine, short: bool = False
) -> Record:
    """The record of one run, printed: whole, or (`short`) only where it is."""
    from bench.pipeline.events import Terminal
    from bench.records import record as records
    from bench.report.terminal import summary
    from bench.session.running import finished
    from bench.store import check_can_write

    common.show_log()
    folder = record is not None and record.suffix != ".json" and (record.is_dir() or not record.exists())
    if record is not None:
        check_can_write(record / "record.json" if folder else record)
    pipeline = common.open_pipeline(config, store, machine)
    with Terminal(common.out, live=not machine.in_place) as terminal, _own_lines(config, machine.in_place):
        plugins.add(terminal)
        result = finished(pipeline, plugins)
    for part in () if short else summary(result.record):
        common.show(part)
    kept = result.path
    if record is not None:
        kept = record / kept.name if folder else record
        records.save(kept, result.record)
    common.say(f"{'  ' if short else chr(10)}Record: {kept}")
    return result.record


@contextmanager
def _own_lines(config: Config, debug: bool) -> Iterator[None]:
    """With --debug an error of a plugin is shown by the lines of its own code."""
    from bdb import BdbQuit

    from bench.plugins.trace import own_lines

    if not debug:
        yield
        return
    try:
        yield
    except BenchError:
        raise
    except BdbQuit:  # "q" in the debugger
        raise typer.Abort from None
    except Exception as error:
        parts = (config.attack, config.ssl, config.dataset, *config.defense.parts)
        lines = own_lines(error, [type(part).__module__ for part in parts])
        raise BenchError(f"{in_one_line(error)}\n{lines}".rstrip()) from error


def _print_means(made: Sequence[Record]) -> None:
    """The means of several seeds, a row for each metric and a column for each line of their table."""
    from bench import boards
    from bench.boards.rows import SECONDS

    for table in boards.tables(made):
        lines = list(table.lines)
        names = {title: name for title, name in table.columns.items() if name != SECONDS}
        rows = [(title, *(line.cell(name) for line in lines)) for title, name in names.items()]
        rows = [row for row in rows if set(row[1:]) != {boards.UNDEFINED}]
        common.say(f"\n{table.title}: mean over {counted(len(made), 'seed')} ± half of its 95 % interval (Student's t)")
        headings = ("", *(line.label for line in lines))
        common.print_table(headings, rows, right=headings[1:])
    common.say(f"\n{common.LEGEND}")


def _run_with_others(
    config: Config, plugins: Plugins, store: Path | None, record: Path | None, machine: Machine, timeout: float
) -> None:
    """This process's part of a run that torchrun started, on one machine or on several."""
    import logging
    from dataclasses import replace

    import torch

    from bench import __version__
    from bench.parallel.nodes import joined
    from bench.pipeline.runner import follow

    gpus = machine.accelerator in ("cuda", "gpu") or (machine.accelerator == "auto" and torch.cuda.is_available())
    about = {"version": __version__, "--nproc-per-node": machine.devices, "the run": _asked(config)}
    with joined(timeout, about, common.open_store(store).root, gpus=gpus) as group:
        machine = replace(machine, group=group)
        if group.leads:
            _run(config, plugins, store, record, machine)
        else:
            logging.getLogger("bench").setLevel(logging.ERROR)  # the first process gives the warnings
            follow(group, lambda: common.open_pipeline(config, store, machine))


def _asked(config: Config) -> str:
    """The run in words, without folders, which may differ between machines."""
    settings = [text for text in config.asked["settings"] if not text.startswith("dataset.")]
    choices = config.asked["choices"].values()
    words = [config.preset, *choices, *settings, f"seed {config.seed}", f"until {config.until}"]
    return " ".join(words)
