"""`bench profile` in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from bench.pipeline.stage import Machine

from .commands import out

if TYPE_CHECKING:
    from bench.config.config import Config
    from bench.estimate.profiling import Part


def profile_command(config: Config, *, images: int, accelerator: str) -> None:
    """Measures, then prints one table."""
    from bench.estimate.profiling import machine_peak, profile

    machine = Machine(accelerator=accelerator)
    dataset = config.dataset.load()
    peak = machine_peak(machine.device)
    parts = list(profile(config, dataset.train.images, machine, images))
    out.print(profile_table(parts, peak), soft_wrap=True)
    out.print(f"Peak: {peak / 1e9:,.0f} GFLOP/s, a float32 matrix product on {machine.device}.", highlight=False)


def profile_table(parts: list[Part], peak: float) -> Table:
    """Seconds, images a second, share of `peak` (operations a second), memory."""
    table = Table("part", box=None, pad_edge=False)
    for title in ("ms", "images/s", "of peak", "peak MB"):
        table.add_column(title, justify="right")
    for part in parts:
        rate = "" if part.rate is None else f"{part.rate:,.0f}"
        share = f"{part.share(peak):.0%}" if part.operations else ""
        table.add_row(escape(part.title), f"{1e3 * part.seconds:,.1f}", rate, share, f"{part.memory:,.0f}")
    return table
