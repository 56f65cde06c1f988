"""`bench run`: one attack and one defense from the images to the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError

from . import common, options

if TYPE_CHECKING:
    from bench.config.config import Config
    from bench.pipeline.stage import Machine
    from bench.plugins.manager import Plugins


def run(
    attack: options.Attack = None,
    defense: options.Defense = None,
    dataset: options.DatasetName = None,
    ssl: options.Method = None,
    preset: options.Preset = "laptop",
    settings: options.Set = None,
    seed: options.Seed = None,
    until: options.Until = "end",
    record: Annotated[Path | None, typer.Option(help="Write the record to this file as well.")] = None,
    plugin: options.PluginFiles = None,
    threat_checkpoint: options.ThreatCheckpoint = None,
    store: options.StoreRoot = None,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
    node_timeout: options.NodeTimeout = 600.0,
    tensorboard: options.TensorBoardDir = None,
    in_place: Annotated[
        bool,
        typer.Option("--in-place", help="Run the defense in this process, unfenced, so that breakpoint() works in it."),
    ] = False,
) -> None:
    """Attack, train, defend, train again (not with --until detection), and print what came out. What is in the store is
    not computed again."""
    from bench.parallel.nodes import torchrun_devices
    from bench.pipeline.stage import Machine

    choices = {"attack": attack, "defense": defense, "dataset": dataset, "ssl": ssl}
    config, plugins = common.configured(preset, choices, settings, seed, until, threat_checkpoint, plugin)
    if tensorboard is not None:
        from bench.plugins.tensorboard import TensorBoard

        plugins.add(TensorBoard(tensorboard.expanduser(), name=f"{config.defense.name}-seed{config.seed}"))
    here = torchrun_devices()
    machine = Machine(accelerator=accelerator, devices=here or devices, in_place=in_place)
    if here is None:
        _run(config, plugins, store, record, machine)
        return
    if devices not in (1, here):
        raise BenchError(f"--devices {devices}: torchrun started {here} processes on each machine, one for a device")
    _run_with_others(config, plugins, store, record, machine, node_timeout)


def _run(config: Config, plugins: Plugins, store: Path | None, record: Path | None, machine: Machine) -> None:
    from bench.pipeline.events import Terminal
    from bench.pipeline.runner import make_stages
    from bench.records import build, record as records
    from bench.report.terminal import summary
    from bench.store import check_can_write

    common.show_log()
    if record is not None:
        check_can_write(record)
    pipeline = common.open_pipeline(config, store, machine)
    plugins.notify("run_started", config=config.resolved)
    with Terminal(common.out) as terminal:
        plugins.add(terminal)
        make_stages(pipeline, plugins.notify)
    built, kept = build.keep_record(pipeline)
    plugins.notify("run_finished", record=built)
    for part in summary(built):
        common.out.print(part, **common.PLAIN)
    if record is not None:
        records.save(record, built)
    common.say(f"\nRecord: {record or kept}")


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
