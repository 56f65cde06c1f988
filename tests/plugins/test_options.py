"""Options: what a class takes, and that every bad value is told with the mend."""

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
    bare: bool = False
    derived: int = field(init=False, default=7)

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, expected (0, 1]")


@dataclass(frozen=True, kw_only=True)
class Loose(Plugin):
    """A class whose annotation names nothing."""

    name: ClassVar[str] = "loose"
    thing: "NowhereToBeFound" = None  # noqa: F821


def test_options_are_the_fields():
    found = {option.name: option for option in options(Sample)}
    assert list(found) == ["root", "masks", "share", "span", "target", "mode", "names", "bare"]
    assert found["masks"] == Option("masks", "int", 256, "how many masks")
    assert found["share"].doc == "a share in (0, 1]"
    assert found["root"].default is REQUIRED
    assert found["names"].default == []
    assert found["bare"].doc == ""
    assert found["target"].type == "str | int"


def test_values_are_converted_where_nothing_is_lost():
    made = make(Sample, {"root": "x", "masks": "128", "span": ["0.1", 1]}, "sample")
    assert made == Sample(root="x", masks=128, span=(0.1, 1.0))
    assert isinstance(made, Sample)
    assert made.derived == 7


@pytest.mark.parametrize(("value", "kind"), [("3", str), (3, int), ("dog", str)])
def test_a_union_keeps_the_type_that_was_given(value, kind):
    assert type(make(Sample, {"root": "x", "target": value}, "sample").target) is kind


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"maks": 3}, "unknown option 'maks'. Did you mean 'masks'?"),
        ({"qqq": 1}, "unknown option 'qqq'. Known: bare, masks"),
        ({"masks": "many"}, "option 'masks': expected int, got 'many'"),
        ({"masks": 1.5}, "option 'masks': expected int, got 1.5"),
        ({"span": [1]}, "option 'span': expected tuple[float, float]"),
        ({"target": [1]}, "option 'target': expected str | int, got [1]"),
        ({"mode": "ful"}, "option 'mode': expected Literal['full', 'random'], got 'ful'"),
        ({"share": 2}, "share is 2.0, expected (0, 1]"),
    ],
)
def test_a_bad_value_is_told(values, told):
    with pytest.raises(BenchError) as caught:
        make(Sample, {"root": "x", **values}, "plugin 'sample'")
    assert str(caught.value).startswith("bad options for plugin 'sample':\n- ")
    assert told in str(caught.value)


def test_all_bad_values_are_told_at_once_each_in_one_line():
    with pytest.raises(BenchError) as caught:
        make(Sample, {"masks": "x", "span": "y", "nonsense": 1}, "sample")
    lines = str(caught.value).splitlines()
    assert len(lines) == 5  # the heading, the unknown one, and root, masks, span
    assert any("'root' must be given" in line for line in lines)


def test_a_type_that_cannot_be_resolved_is_told():
    with pytest.raises(BenchError, match="types of its options cannot be checked"):
        make(Loose, {}, "loose")
