"""A tracker built in: the run's curves, metrics and configuration for TensorBoard (`bench run --tensorboard DIR`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.errors import BenchError

from . import hookimpl


class TensorBoard:
    """Writes event files below `folder`/`name`: loss and learning rate of each training by its step, the share done of
    every stage, seconds, the record's metrics (those that are numbers), the configuration as text.

    Raises BenchError without the package tensorboard.
    """

    def __init__(self, folder: Path, name: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise BenchError(
                "--tensorboard needs the package tensorboard: pip install 'ssl-backdoor-bench[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(str(folder / name))  # type: ignore[no-untyped-call]
        self._told: dict[str, int] = {}

    @hookimpl
    def bench_run_started(self, config: dict[str, Any]) -> None:
        """The configuration, as an indented block of markdown."""
        text = json.dumps(config, indent=2, sort_keys=True)
        self._writer.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()))

    @hookimpl
    def bench_stage_measured(self, title: str, step: int, numbers: dict[str, float]) -> None:
        """One point of each curve."""
        for name, value in numbers.items():
            self._writer.add_scalar(f"{title}/{name}", value, step)

    @hookimpl
    def bench_stage_progress(self, title: str, what: str, done: int, total: int) -> None:
        """Per cent done, each once: a stage may report thousands of times."""
        percent = 100 * done // max(total, 1)
        if self._told.get(f"{title}/{what}") != percent:
            self._told[f"{title}/{what}"] = percent
            self._writer.add_scalar(f"{title}/per cent of {what}", percent, done)

    @hookimpl
    def bench_stage_finished(self, title: str, seconds: float) -> None:
        """How long it took."""
        self._writer.add_scalar(f"{title}/seconds", seconds)
        self._writer.flush()

    @hookimpl
    def bench_run_finished(self, record: dict[str, Any]) -> None:
        """The metrics; nothing comes after them."""
        for name, value in numbers_of(record["metrics"], "metrics"):
            self._writer.add_scalar(name, value)
        self._writer.close()


def numbers_of(value: Any, name: str) -> list[tuple[str, float]]:
    """("metrics/defended/acc", 0.9), ... for every number in nested dictionaries; lists and texts are left out."""
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in numbers_of(inner, f"{name}/{key}")]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [(name, float(value))]
    return []
