"""ArtifactBuilder one stage, in whichever process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from bench.errors import BenchError
from bench.matrix.cell import RunContext
from bench.matrix.graph import Fault, Job
from bench.pipeline.runner import make_stage
from bench.pipeline.stage import Machine, Stage
from bench.store import Store

Progress = Callable[[str, int, int], None]


class Relay:
    """A listener that passes progress on; who has a stage made knows of its beginning and end."""

    def __init__(self, report: Progress) -> None:
        self._report = report

    def started(self, stage: Stage, cached: bool) -> None: ...

    def progressed(self, stage: Stage, what: str, done: int, total: int) -> None:
        self._report(what, done, total)

    def measured(self, stage: Stage, step: int, numbers: dict[str, float]) -> None: ...

    def finished(self, stage: Stage, seconds: float) -> None: ...


@functools.cache
def _shop(store: str, machine: Machine) -> RunContext:
    return RunContext(Store(Path(store)), machine)


def perform(job: Job, report: Progress) -> None:
    """Make the job's stage, unless it is in the store. Loads plugins and dataset once for all jobs of this process."""
    pipeline = _shop(job.store, job.machine).pipeline(job.cell)
    stage = next((stage for stage in pipeline.stages() if stage.key == job.key), None)
    if stage is None:
        raise BenchError(
            f"a worker finds no stage {job.name} {job.key[:12]} in {job.cell.title}: does it have another version of "
            "the benchmark, of a plugin or of the data?"
        )
    make_stage(stage, pipeline.store, Relay(report))


def attempt(job: Job, report: Progress) -> Fault | None:
    """As `perform`; what went wrong, as something that can be sent to another process."""
    try:
        perform(job, report)
    except Exception as error:
        return Fault.of(error)
    return None
