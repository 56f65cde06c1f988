"""The values behind a number that a page quotes, and the forms in which it can show them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.errors import BenchError, nearest

from .rows import UNDEFINED
from .tables import BoardLine, digits_of


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Values of one measure by seed (None: one that has none), or, several of a file, by their keys.

    spread: sample standard deviation, NaN for one value. digits, mean_digits: behind the point, of one value and of
    what is computed from several.
    """

    values: Mapping[Any, float]
    mean: float
    spread: float
    digits: int
    mean_digits: int


def of_line(line: BoardLine, column: str) -> Sample:
    """What a leaderboard's line has in a column (a name of `BoardLine.mean`). Without seeds: the mean alone."""
    mean, single = line.mean[column], not line.seeds or math.isnan(line.spread[column])
    values: Mapping[Any, float] = {seed: row[column] for seed, row in line.by_seed.items()} or {None: mean}
    return Sample(
        values=values,
        mean=mean,
        spread=line.spread.get(column, math.nan),
        digits=digits_of(column, single=True),
        mean_digits=digits_of(column, single),
    )


def of_values(values: Mapping[Any, float], digits: int | None = None) -> Sample:
    """Values from elsewhere; digits: None takes none of whole numbers (int), else one."""
    each = list(values.values())
    whole = all(isinstance(value, int) for value in each)
    digits = digits if digits is not None else 0 if whole else 1
    return Sample(
        values=values,
        mean=statistics.fmean(each),
        spread=statistics.stdev(each) if len(each) > 1 else math.nan,
        digits=digits,
        mean_digits=digits if len(each) == 1 else max(1, digits),
    )


# --- forms ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a sample is shown. name: of FORMS, "" for mean ± spread; digits: None as the leaderboard shows it."""

    name: str = ""
    digits: int | None = None


def form_of(parts: Iterable[str]) -> Form:
    """From the last parts of an expression: "mean", "2 digits". Raises BenchError."""
    name, digits = "", None
    for part in parts:
        count, _, unit = part.partition(" ")
        if unit.strip() in ("digit", "digits") and count.isdecimal() and int(count) <= 9:
            digits = int(count)
        elif part in FORMS and not name:
            name = part
        else:
            raise BenchError(f"{part!r} is no form of a number.{nearest(part, [*FORMS, '0 digits', '2 digits'])}")
    return Form(name=name, digits=digits)


def shown(sample: Sample, form: Form) -> str:
    """The sample in that form."""
    one = sample.digits if form.digits is None else form.digits
    several = sample.mean_digits if form.digits is None else form.digits
    if form.name == "each":
        return ", ".join(_number(value, one) for value in sample.values.values())
    if form.name:
        return _number(SINGLE[form.name](sample), one if form.name in ("min", "max") else several)
    mean = _number(sample.mean, several)
    return mean if math.isnan(sample.spread) else f"{mean} ± {_number(sample.spread, several)}"


def difference(left: Sample, left_form: Form, right: Sample, right_form: Form) -> str:
    """left - right, value by value (mean ± spread) where neither has a form; else of the two single numbers.

    Raises BenchError where the values cannot be paired: they have other seeds.
    """
    digits = left_form.digits if right_form.digits is None else right_form.digits
    if left_form.name or right_form.name:
        apart = of_values({None: _single(left, left_form) - _single(right, right_form)})
        return shown(replace(apart, mean_digits=max(left.mean_digits, right.mean_digits)), Form(digits=digits))
    ours, theirs = _there(left), _there(right)
    if set(ours) != set(theirs):
        raise BenchError(
            f"values of {_keys(ours)} and of {_keys(theirs)} cannot be paired; put '; mean' behind both for the "
            "difference of the means"
        )
    paired = of_values({key: value - theirs[key] for key, value in ours.items()})
    return shown(replace(paired, mean_digits=left.mean_digits), Form(digits=digits))


def _single(sample: Sample, form: Form) -> float:
    if form.name == "each" or (not form.name and len(sample.values) > 1):
        raise BenchError(f"a difference is of two numbers: put one of {', '.join(SINGLE)} behind both, or nothing")
    return SINGLE[form.name or "mean"](sample)


def _keys(values: Mapping[Any, float]) -> str:
    return f"({', '.join('no seed' if key is None else str(key) for key in values)})"


def _number(value: float, digits: int) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.{digits}f}"


def _spread(sample: Sample) -> float:
    if math.isnan(sample.spread):
        raise BenchError("one value has no spread")
    return sample.spread


def _there(sample: Sample) -> dict[Any, float]:
    """The defined values."""
    return {key: value for key, value in sample.values.items() if not math.isnan(value)}


SINGLE: dict[str, Callable[[Sample], float]] = {
    "mean": lambda sample: sample.mean,
    "spread": _spread,
    "min": lambda sample: min(_there(sample).values()),
    "max": lambda sample: max(_there(sample).values()),
}
FORMS = (*SINGLE, "each")
"""How a sample can be shown, but for the default, mean ± spread."""
