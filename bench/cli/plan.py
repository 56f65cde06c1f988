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
    until: options.Until = "end",
    plugin: options.PluginFiles = None,
    threat_checkpoint: options.ThreatCheckpoint = None,
    store: options.StoreRoot = None,
    devices: options.Devices = 1,
    accelerator: options.Accelerator = "auto",
    on: Annotated[
        str | None, typer.Option(help="Estimate for other machines: 'h200', '4xrtx3090' ...", show_default=False)
    ] = None,
) -> None:
    """List the stages of a run: which are in the store, and about how long the others take."""
    from bench.estimate.estimate import Estimator
    from bench.estimate.gpus import read_fleet
    from bench.pipeline.check import check_runnable
    from bench.pipeline.stage import Machine
    from bench.session.opening import configured
    from bench.store import check_can_write

    choices = {"attack": attack, "defense": defense, "dataset": dataset, "ssl": ssl}
    config, _ = configured(preset, choices, settings or (), seed, until, threat_checkpoint, plugin or ())
    fleet = read_fleet(on) if on else None
    pipeline = common.open_pipeline(config, store, Machine(accelerator=accelerator, devices=devices))
    check_can_write(pipeline.store.root / ".probe")
    check_runnable(pipeline)
    estimator = Estimator(pipeline, fleet=fleet)
    rows = estimator.rows()
    lines = [(row.title, "yes" if row.cached else "no", row.time, row.basis) for row in rows]
    common.print_table(("stage", "in the store", "time", "estimated from"), lines, right=("time",))
    common.say(f"\n{estimator.total(rows)}")
