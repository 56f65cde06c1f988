"""Options: what a class takes, and that every bad value is named with the mend."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from bench import BenchError, Plugin
from bench.plugins.options import REQUIRED, Option, make, options


@dataclass(frozen=True, kw_only=True)
class Sample(Plugin):
    """A sample.

    masks: how many masks
    """

    name: ClassVar[str] = "sample"
    root: str
    masks: int = 256
    share: float = field(default=0.5, metadata={"help": "a share in (0, 1]"})
    span: tuple[float, float] = (0.25, 0.75)
    target: str | int = 0
    mode: Literal["full", "random"] = "full"
    names: list[str] = field(default_factory=list)
    derived: int = field(init=False, default=7)

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, expected (0, 1]")


@dataclass(frozen=True, kw_only=True)
class Loose(Sample):
    """A class whose annotation names nothing."""

    thing: "NowhereToBeFound" = None  # noqa: F821


def test_options_are_the_fields():
    root, masks, share, span, target, mode, names = options(Sample)
    assert root == Option("root", "str", REQUIRED, "")
    assert masks == Option("masks", "int", 256, "how many masks")
    assert share == Option("share", "float", 0.5, "a share in (0, 1]")
    assert [option.name for option in (span, target, mode, names)] == ["span", "target", "mode", "names"]
    assert (names.default, target.type) == ([], "str | int")


def test_values_are_converted_where_nothing_is_lost():
    made = make(Sample, {"root": "x", "masks": "128", "span": ["0.1", 1], "target": "3"}, "sample")
    assert made == Sample(root="x", masks=128, span=(0.1, 1.0), target="3")
    assert type(make(Sample, {"root": "x", "target": 3}, "sample").target) is int


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"maks": 3}, ["unknown option 'maks'. Did you mean 'masks'?"]),
        ({"qqq": 1}, ["unknown option 'qqq'. Known: masks, mode"]),
        ({"masks": "many"}, ["option 'masks': expected int, got 'many'"]),
        ({"masks": 1.5}, ["option 'masks': expected int, got 1.5"]),
        ({"span": [1]}, ["option 'span': expected tuple[float, float]"]),
        ({"target": [1]}, ["option 'target': expected str | int, got [1]"]),
        ({"mode": "ful"}, ["option 'mode': expected Literal['full', 'random'], got 'ful'"]),
        ({"share": 2}, ["share is 2.0, expected (0, 1]"]),
        (
            {"root": None, "masks": "x", "span": "y", "nonsense": 1},
            ["unknown option 'nonsense'", "option 'root'", "option 'masks'", "option 'span'"],
        ),
    ],
)
def test_every_bad_value_is_named_each_in_one_line(values, said):
    with pytest.raises(BenchError) as caught:
        make(Sample, {"root": "x", **values}, "plugin 'sample'")
    heading, *lines = str(caught.value).splitlines()
    assert heading == "bad options for plugin 'sample':"
    for line, each in zip(lines, said, strict=True):
        assert line.startswith(f"- {each}")


@pytest.mark.parametrize(
    ("cls", "said"), [(Sample, "option 'root' must be given: str"), (Loose, "types of its options cannot be checked")]
)
def test_an_option_that_is_missing_and_a_type_that_names_nothing(cls, said):
    with pytest.raises(BenchError, match=said):
        make(cls, {}, "sample")
