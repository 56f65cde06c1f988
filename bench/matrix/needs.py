"""What each stage takes of a machine on a cluster: CPUs and GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.errors import BenchError, nearest
from bench.pipeline.stage import VERSIONS, Machine

_LIGHT = ("poison", "control", "import")  # no work for an accelerator
_OPTIONS = ("cpus", "gpus")


@dataclass(frozen=True)
class Needs:
    """CPUs and GPUs of one stage. A share (gpus=0.5) lets two of them use one at a time."""

    cpus: float = 1.0
    gpus: float = 0.0

    @property
    def threads(self) -> int:
        """Threads that it computes with."""
        return max(1, int(self.cpus))

    def fits(self, room: Mapping[str, float]) -> int:
        """How many at a time have room in these resources, by Ray's names (CPU, GPU)."""
        wanted = (("CPU", self.cpus), ("GPU", self.gpus))
        return min((int(room.get(name, 0.0) / need) for name, need in wanted if need), default=1)

    def __str__(self) -> str:
        return f"{self.cpus:g} CPUs and {self.gpus:g} GPUs"


def stage_needs(machine: Machine, gpus: bool, changes: Sequence[str] = ()) -> dict[str, Needs]:
    """The needs of every kind of stage: one CPU each, and where `gpus` are used one GPU for what computes; a training
    takes as many as it has devices. `changes`: texts like "pretrain.cpus=4".

    Raises BenchError for a text that cannot be used.
    """
    found = {}
    for stage in VERSIONS:
        devices = machine.devices if stage == "pretrain" else 1
        found[stage] = Needs(devices, devices if gpus and stage not in _LIGHT else 0)
    for text in changes:
        stage, option, value = _parse(text)
        found[stage] = replace(found[stage], **{option: value})
    return found


def largest(needs: Iterable[Needs]) -> Needs:
    """What has room for any of them."""
    every = list(needs)
    return Needs(max(each.cpus for each in every), max(each.gpus for each in every))


def _parse(text: str) -> tuple[str, str, float]:
    name, _, number = text.partition("=")
    stage, _, option = name.strip().partition(".")
    if stage not in VERSIONS:
        raise BenchError(f"--resources {text}: there is no stage {stage!r}.{nearest(stage, list(VERSIONS))}")
    if option not in _OPTIONS:
        raise BenchError(f"--resources {text}: expected {stage}.cpus=NUMBER or {stage}.gpus=NUMBER")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf") or (value > 1 and value % 1):
        raise BenchError(f"--resources {text}: expected a whole number, or a share between 0 and 1")
    return stage, option, value
