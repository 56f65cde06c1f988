"""The words of the contract kit: a check, what breaks it, its result; and the checks for every plugin."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from bench.api import Plugin
from bench.plugins.options import make, options
from bench.plugins.registry import KINDS, class_problem, in_one_line

T = TypeVar("T")


class Violation(Exception):
    """A plugin breaks its contract: why, and how to mend it where the check knows less."""

    def __init__(self, why: str, fix: str = "") -> None:
        super().__init__(why)
        self.fix = fix


def require(holds: object, why: str) -> None:
    """Raise Violation(why) unless `holds`."""
    if not holds:
        raise Violation(why)


@dataclass(frozen=True)
class CheckResult:
    """One line of the report: `why`: what held or broke; `fix`: what to do about it ('' for nothing)."""

    name: str
    ok: bool
    why: str
    fix: str


@dataclass(frozen=True)
class Check(Generic[T]):
    """One property. Called with a trial, it raises Violation or returns a remark (None: nothing to add)."""

    name: str
    property: str
    fix: str
    test: Callable[[T], str | None]

    def __call__(self, trial: T) -> str | None:
        return self.test(trial)


def check(fix: str) -> Callable[[Callable[[T], str | None]], Check[T]]:
    """Make a Check of a function `check_NAME` whose docstring is the property in one sentence."""

    def wrap(function: Callable[[T], str | None]) -> Check[T]:
        name = function.__name__.removeprefix("check_")
        return Check(name, (function.__doc__ or "").strip(), fix, function)

    return wrap


class Trial(Generic[T]):
    """A plugin on the toy data. What it does is done once and kept, failures too."""

    kind: str

    def __init__(self, plugin: T) -> None:
        self.plugin = plugin
        self.disturbed: dict[str, set[str]] = {}
        self._kept: dict[Any, Any] = {}

    def once(self, key: Any, call: Callable[[], Any], what: str) -> Any:
        """`call()`, the first time; then what it gave or the Violation it ended in. `what` names the call."""
        if key not in self._kept:
            before = world()
            self._kept[key] = _caught(call, what)
            after = world()
            changed = {name for name in before if before[name] != after[name]}
            self.disturbed[what] = self.disturbed.get(what, set()) | changed
        kept = self._kept[key]
        if isinstance(kept, Violation):
            raise kept
        return kept


def _caught(call: Callable[[], Any], what: str) -> Any:
    try:
        return call()
    except Violation as violation:
        return violation
    except Exception as error:
        return Violation(f"{what} raised {in_one_line(error)}")


def world() -> dict[str, object]:
    """The state of the process that a plugin must leave as it is, by name, comparable."""
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    key = numpy_state["state"]["key"].tobytes()
    return {
        "torch's global generator": torch.get_rng_state().numpy().tobytes(),
        "NumPy's global generator": (key, numpy_state["state"]["pos"], numpy_state["has_gauss"]),
        "Python's global generator": random.getstate(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "torch's number of threads": torch.get_num_threads(),
    }


@check("subclass bench.Attack, bench.Defense or the like, with @dataclass(frozen=True, kw_only=True) and a `name`")
def check_class(trial: Trial[Plugin]) -> None:
    """It is a frozen dataclass of the right base, with a name."""
    problem = class_problem(type(trial.plugin), KINDS[trial.kind].bases)
    require(problem is None, str(problem))


@check("write a docstring: what it is, the paper it comes from, every deviation from it")
def check_docstring(trial: Trial[Plugin]) -> None:
    """It has a docstring of its own."""
    cls = type(trial.plugin)
    text = vars(cls).get("__doc__") or ""
    # @dataclass writes the signature where there is no docstring.
    require(text and not text.startswith(f"{cls.__name__}("), "the class has no docstring")


@check("annotate every option with a type that is imported at run time (not under TYPE_CHECKING), keyword-only")
def check_options(trial: Trial[Plugin]) -> None:
    """Its options can be checked against their types, and give the same plugin again."""
    values = {option.name: getattr(trial.plugin, option.name) for option in options(type(trial.plugin))}
    again = make(type(trial.plugin), values, type(trial.plugin).__name__)
    require(again == trial.plugin, f"made from its own options it is {again!r}, expected {trial.plugin!r}")


@check("return only None, bool, int, float, str, lists and dicts from identity(), the same each time")
def check_identity(trial: Trial[Plugin]) -> None:
    """Its identity is JSON and does not change."""
    first, second = (json.dumps(trial.plugin.identity(), sort_keys=True) for _ in range(2))
    require(first == second, f"identity() gave {first}, then {second}")


@check("draw from the seeds that are handed over, and set nothing for the whole process")
def check_global_state(trial: Trial[Plugin]) -> None:
    """It leaves global generators and settings as they are."""
    for what, names in trial.disturbed.items():
        require(not names, f"{what} changed {', '.join(sorted(names))}")


COMMON: tuple[Check[Any], ...] = (check_class, check_docstring, check_options, check_identity)
