"""`bench plan`: what a run would compute, and about how long that takes."""

from __future__ import annotations

from typing import Annotated

import typer

from . import common, options


def plan(
    attack: options.Attack = None,
    defense: options.Defense = None,
    dataset: options.DatasetName = None,
    ssl: options.Method = None,
    preset: options.Preset = "laptop",
    settings: options.Set = None,
    seed: options.Seed = None,
    plugin: options.PluginFiles = None,
    threat_checkpoint: options.ThreatCheckpoint = None,
    store: options.StoreRoot = None,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
    on: Annotated[
        str | None, typer.Option(help="Estimate for other machines: 'h200', '4xrtx3090' ...", show_default=False)
    ] = None,
) -> None:
    """The stages of that run, which of them are in the store, and an estimate of the time for the rest."""
    from rich.table import Table

    from bench.estimate.estimate import Estimator
    from bench.estimate.gpus import read_fleet
    from bench.pipeline.stage import Machine

    choices = {"attack": attack, "defense": defense, "dataset": dataset, "ssl": ssl}
    config, _ = common.configured(preset, choices, settings, seed, threat_checkpoint, plugin)
    fleet = read_fleet(on) if on else None
    pipeline = common.open_pipeline(config, store, Machine(accelerator=accelerator, devices=devices))
    estimator = Estimator(pipeline, fleet=fleet)
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("stage", "in the store", "time", "estimated from"):
        table.add_column(heading, justify="right" if heading == "time" else "left")
    rows = estimator.rows()
    for row in rows:
        table.add_row(row.title, "yes" if row.cached else "no", row.time, row.basis)
    common.out.print(table)
    common.say(f"\n{estimator.total(rows)}")
