"""The values that a study goes through: by rule from the preset's own, since the paper's fit only the paper's sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from bench.errors import BenchError


class Step(NamedTuple):
    """One place on the x axis: its value (a number, or a name), what it is called, and its --set settings."""

    x: float | str
    label: str
    settings: tuple[str, ...] = ()


class Base(NamedTuple):
    """What a step may start from. values: {"defense.masks": 256, ...}, every option's value in force, rules applied.

    steps: optimisation steps of a whole training; epochs: how many epochs these are.
    """

    values: Mapping[str, Any]
    steps: int
    epochs: float


class Steps(Protocol):
    """Makes the steps for one preset."""

    def of(self, base: Base) -> list[Step]: ...


@dataclass(frozen=True)
class Once:
    """A single step that changes nothing."""

    def of(self, base: Base) -> list[Step]:
        """The one."""
        return [Step("", "")]


@dataclass(frozen=True, kw_only=True)
class Multiples:
    """An option at multiples of its value in force; multiples below `least` or above `most` are left out.

    hold: other options of the defense that would follow this one by rule, kept at their values in force, so that one
    thing changes at a time. At the value in force nothing is set: that run is the preset's own. label: with {} for the
    value.
    """

    option: str
    by: Sequence[float]
    least: float = 1
    most: float | None = None
    hold: Sequence[str] = ()
    label: str = "{}"

    def of(self, base: Base) -> list[Step]:
        """One for each different value, rising. Raises BenchError where there is no such option."""
        now = _value(base, self.option)
        whole = isinstance(now, int)
        values = {round(now * factor) if whole else now * factor for factor in self.by}
        kept = sorted(v for v in values if v >= self.least and (self.most is None or v <= self.most))
        return [Step(v, self.label.format(f"{v:g}"), () if v == now else self._settings(v, base)) for v in kept]

    def _settings(self, value: float, base: Base) -> tuple[str, ...]:
        held = (setting(name, _value(base, name)) for name in self.hold)
        return (setting(self.option, value), *held)


@dataclass(frozen=True, kw_only=True)
class Values:
    """An option at fixed values."""

    option: str
    values: Sequence[int]

    def of(self, base: Base) -> list[Step]:
        """One for each."""
        now = _value(base, self.option)
        return [Step(v, str(v), () if v == now else (setting(self.option, v),)) for v in self.values]


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """The training stopped after shares of its steps: its learning rate is that of the whole training, so each is what
    a checkpoint of the one training holds. x: epochs."""

    shares: Sequence[float]

    def of(self, base: Base) -> list[Step]:
        """One for each share; the whole training is the preset's own."""
        found = {}
        for share in self.shares:
            steps = max(1, round(share * base.steps))
            epochs = round(base.epochs * steps / base.steps, 2)
            found[steps] = Step(
                epochs, f"{epochs:g}", () if steps == base.steps else (setting("train.max_steps", steps),)
            )
        return [found[steps] for steps in sorted(found)]


def setting(name: str, value: object) -> str:
    """As for --set. JSON's numbers, texts and lists are TOML's too."""
    return f"{name}={json.dumps(value)}"


def _value(base: Base, name: str) -> Any:
    value = base.values.get(name)
    if value is None:
        raise BenchError(f"this study changes {name}, which has no value here: set it with --set {name}=VALUE")
    return value
