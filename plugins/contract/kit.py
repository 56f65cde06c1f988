"""The engine of the contract kit: a check, what breaks it, its result; a trial of a plugin, with what all must hold."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from bench.api import Plugin
from bench.errors import in_one_line
from bench.plugins.options import make, options
from bench.plugins.registry import KINDS, class_problem

T = TypeVar("T", bound=Plugin)
R = TypeVar("R")


class Violation(Exception):
    """A plugin breaks its contract: why, and how to mend it where the check knows less."""

    def __init__(self, why: str, fix: str = "") -> None:
        super().__init__(why)
        self.fix = fix


def require(holds: object, why: str) -> None:
    """Raise Violation(why) unless `holds`."""
    if not holds:
        raise Violation(why)


def require_array(name: str, value: object, dtype: str, shape: tuple[int, ...]) -> None:
    """Raise Violation unless `value` is a NumPy array of this shape and of this dtype, or kind of dtype ("float")."""
    right = isinstance(value, np.ndarray) and value.dtype.name.startswith(dtype) and value.shape == shape
    got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
    require(right, f"{name}: expected {dtype} {shape}, got {got}")


def alike(one: Any, other: Any) -> bool:
    """Whether two results are the same, bit by bit where they hold arrays and tensors."""
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return bool(one == other)


@dataclass(frozen=True)
class CheckResult:
    """One line of the report: `why`: what held or broke; `fix`: what to do about it ('' for nothing)."""

    name: str
    ok: bool
    why: str
    fix: str


@dataclass(frozen=True)
class Check:
    """One property. Its test, called with a trial, raises Violation or returns a remark (None: nothing to add)."""

    name: str
    property: str
    fix: str
    test: Callable[[Any], str | None]


def check(fix: str) -> Callable[[Callable[[Any], str | None]], Check]:
    """Make a Check of a trial's method `check_NAME` whose docstring is the property in one sentence."""

    def wrap(method: Callable[[Any], str | None]) -> Check:
        return Check(method.__name__.removeprefix("check_"), (method.__doc__ or "").strip(), fix, method)

    return wrap


class Trial(Generic[T]):
    """A plugin on the toy data, and the checks of its kind. What it does is done once and kept, failures too."""

    kind: str

    def __init__(self, plugin: T) -> None:
        self.plugin = plugin
        self.disturbed: dict[str, set[str]] = {}
        self._kept: dict[Any, Any] = {}

    @classmethod
    def checks(cls) -> list[Check]:
        """In their order: those of every plugin, those of this kind, and last what only shows after the others."""
        found = [each for base in reversed(cls.__mro__) for each in vars(base).values() if isinstance(each, Check)]
        return sorted(found, key=lambda each: each.name == "global_state")

    def once(self, what: str, call: Callable[[], R], *key: Any) -> R:
        """`call()`, the first time; then what it gave or the Violation it ended in. `what` names the call."""
        if (what, *key) not in self._kept:
            before = world()
            self._kept[what, *key] = _caught(call, what)
            after = world()
            changed = {name for name in before if before[name] != after[name]}
            self.disturbed[what] = self.disturbed.get(what, set()) | changed
        kept: R | Violation = self._kept[what, *key]
        if isinstance(kept, Violation):
            raise kept
        return kept

    @check("subclass bench.Attack, bench.Defense or the like, with @dataclass(frozen=True, kw_only=True) and a `name`")
    def check_class(self) -> None:
        """It is a frozen dataclass of the right base, with a name."""
        problem = class_problem(type(self.plugin), KINDS[self.kind].bases)
        require(problem is None, str(problem))

    @check("write a docstring: what it is, the paper it comes from, every deviation from it")
    def check_docstring(self) -> None:
        """It has a docstring of its own."""
        cls = type(self.plugin)
        text = vars(cls).get("__doc__") or ""
        # @dataclass writes the signature where there is no docstring.
        require(text and not text.startswith(f"{cls.__name__}("), "the class has no docstring")

    @check("annotate every option with a type that is imported at run time (not under TYPE_CHECKING), keyword-only")
    def check_options(self) -> None:
        """Its options can be checked against their types, and give the same plugin again."""
        cls = type(self.plugin)
        again = make(cls, {option.name: getattr(self.plugin, option.name) for option in options(cls)}, cls.__name__)
        require(again == self.plugin, f"made from its own options it is {again!r}, expected {self.plugin!r}")

    @check("return only None, bool, int, float, str, lists and dicts from identity(), the same each time")
    def check_identity(self) -> None:
        """Its identity is JSON and does not change."""
        first, second = (json.dumps(self.plugin.identity(), sort_keys=True) for _ in range(2))
        require(first == second, f"identity() gave {first}, then {second}")

    @check("draw from the seeds that are handed over, and set nothing for the whole process")
    def check_global_state(self) -> None:
        """It leaves global generators and settings as they are."""
        for what, names in self.disturbed.items():
            require(not names, f"{what} changed {', '.join(sorted(names))}")


def _caught(call: Callable[[], Any], what: str) -> Any:
    try:
        return call()
    except Violation as violation:
        return violation
    except (Exception, SystemExit) as error:
        return Violation(f"{what} raised {in_one_line(error)}")


def world() -> dict[str, object]:
    """The state of the process that a plugin must leave as it is, by name, comparable."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch's global generator": torch.get_rng_state().numpy().tobytes(),
        "NumPy's global generator": (kind, np.asarray(keys).tobytes(), *rest),
        "Python's global generator": random.getstate(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "torch's number of threads": torch.get_num_threads(),
    }
