"""What a study is made of, read from catalogue.toml, which explains each word."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bench.errors import BenchError, nearest

if TYPE_CHECKING:
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stage import Stage


class Step(NamedTuple):
    """One value of the varied option: its place on the x axis, its label, and the settings (as for --set) it takes."""

    x: float | str
    label: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Vary:
    """The option that a study varies, and over which values. Or points: {"x": place, "settings": as for --set} each."""

    option: str = ""
    points: Sequence[Mapping[str, Any]] = ()
    values: Sequence[int] = ()
    times: Sequence[float] = ()
    least: float = 1
    most: float = float("inf")
    hold: Sequence[str] = ()
    label: str = "{}"
    in_epochs: bool = False

    def steps(self, in_force: Mapping[str, Any], steps_per_epoch: float) -> list[Step]:
        """One for each value, rising. At the value in force nothing is set: that run is the preset's own.

        in_force: every option's value without this study, as {"defense.masks": 256}. Raises BenchError where the option
        has none.
        """
        if self.points:
            return [Step(point["x"], f"{point['x']:g}", tuple(point["settings"])) for point in self.points]
        now = _value(in_force, self.option)
        whole = isinstance(now, int)
        multiples = {round(now * factor) if whole else now * factor for factor in self.times}
        steps = []
        for value in self.values or sorted(each for each in multiples if self.least <= each <= self.most):
            held = [setting(name, _value(in_force, name)) for name in self.hold]
            changes = () if value == now else (setting(self.option, value), *held)
            x = round(value / steps_per_epoch, 2) if self.in_epochs else value
            steps.append(Step(x, self.label.format(f"{x:g}"), changes))
        return steps


def setting(name: str, value: object) -> str:
    """As for --set. JSON's numbers, texts and lists are TOML's too."""
    return f"{name}={json.dumps(value)}"


def _value(in_force: Mapping[str, Any], name: str) -> Any:
    value = in_force.get(name)
    if value is None:
        raise BenchError(f"this study changes {name}, which has no value here: set it with --set {name}=VALUE")
    return value


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that a study compares: an attack (None: the preset's) and a defense with settings, under a label.

    targets: how many pairs of trigger and class the multi-target attack has; None leaves it alone.
    """

    label: str
    defense: str
    attack: str | None = None
    settings: tuple[str, ...] = ()
    targets: int | None = None


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One drawing of a study's figure. curves: name -> measure, as a path in a record's metrics."""

    label: str
    curves: Mapping[str, str]
    unit: str = "%"

    @property
    def over_k(self) -> bool:
        """Whether the number of top images is the x axis."""
        return any("*" in path for path in self.curves.values())

    @property
    def axis(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})"

    def at(self, k: int) -> Panel:
        """The same with {k} filled in."""
        curves = {name: path.replace("{k}", str(k)) for name, path in self.curves.items()}
        return Panel(label=self.label.replace("{k}", str(k)), curves=curves, unit=self.unit)


@dataclass(frozen=True, kw_only=True)
class Study:
    """One study: its runs are all of `lines` times all values of `vary`, for each seed."""

    name: str
    title: str
    figure: str
    about: str
    lines: tuple[Line, ...]
    panels: tuple[Panel, ...]
    stages: Literal["threat", "search", "detection", "all"]
    vary: Vary | None = None
    x: str = ""
    log: bool = False
    across: Literal["steps", "lines"] = "steps"
    note: str = ""

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Study:
        """From an entry of catalogue.toml. Its lines: attack by attack, in the order of the defenses."""
        lines = [
            Line(
                label=", ".join(each["label"] for each in (defense, attack) if "label" in each),
                defense=defense["name"],
                attack=attack.get("name"),
                settings=(*attack.get("settings", ()), *defense.get("settings", ())),
                targets=attack.get("targets"),
            )
            for attack in entry.get("attacks", [{}])
            for defense in entry["defenses"]
        ]
        return cls(
            **{name: value for name, value in entry.items() if name not in ("attacks", "defenses", "panels", "vary")},
            lines=tuple(lines),
            panels=tuple(Panel(**panel) for panel in entry["panels"]),
            vary=Vary(**entry["vary"]) if "vary" in entry else None,
        )

    def needed(self, pipeline: Pipeline) -> Sequence[Stage]:
        """The stages of a run that the study needs, in order, as far as they are known by now."""
        if self.stages == "all":
            return tuple(pipeline.stages())
        probe = () if self.stages == "search" else (pipeline.threat_probe,)
        search = () if self.stages == "threat" else (pipeline.clean,)
        return (pipeline.poison, pipeline.threat, *probe, *search)


@functools.cache
def studies() -> tuple[Study, ...]:
    """All of catalogue.toml, in its order."""
    text = resources.files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")
    return tuple(Study.read(entry) for entry in tomllib.loads(text)["studies"])


def find(name: str) -> Study:
    """The study of that name. Raises BenchError with the nearest."""
    known = {study.name: study for study in studies()}
    if name not in known:
        raise BenchError(f"unknown study {name!r}.{nearest(name, known)}")
    return known[name]
