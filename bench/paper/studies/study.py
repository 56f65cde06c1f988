"""What a study is made of: the words of catalogue.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from .steps import Once, Steps


class Depth(IntEnum):
    """Which stages a study needs of each of its runs."""

    THREAT = 1  # poison, train, measure the encoder
    SEARCH = 2  # poison, train, find the poison: nothing is measured with a linear classifier
    RETRAIN = 3  # the whole run


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that a study compares: a defense with settings, under a label. attack None: the preset's.

    targets: how many pairs the multi-target attack has here; None leaves it alone.
    """

    label: str
    defense: str
    attack: str | None = None
    settings: tuple[str, ...] = ()
    targets: int | None = None


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One drawing of a study's figure. Texts may hold {k}: the number of top images that the study looks at.

    curves: what each curve is called -> its measure, a path in the values of a row ("detection.recall"); one curve is
    just called "". "*" in a path stands for k, which is then the x axis: "localisation.*.iou".
    unit: "%" (an axis from 0 to 100), or any other.
    """

    label: str
    curves: Mapping[str, str]
    unit: str = "%"

    @property
    def over_k(self) -> bool:
        """Whether k is the x axis."""
        return any("*" in path for path in self.curves.values())

    @property
    def axis(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True, kw_only=True)
class Study:
    """One study. Its runs are all of `lines` times all of `steps`.

    figure: what it follows in the PoisonCAM paper. x: label of the x axis, with its unit. across: what lies along the
    x axis, the steps (curves) or the lines (bars). note: what a reader must know of it.
    """

    name: str
    title: str
    figure: str
    about: str
    lines: tuple[Line, ...]
    panels: tuple[Panel, ...]
    depth: Depth
    steps: Steps = field(default_factory=Once)
    x: str = ""
    log: bool = False
    across: Literal["steps", "lines"] = "steps"
    note: str = ""
