"""The contract kit: does a plugin keep its promises? For our tests, a third party's, and `bench check NAME`.

    from bench.plugins.contract import contract

    @contract(MyDefense())
    def test_contract() -> None: ...

becomes one test for each property. A dataset is checked as it loads, an SSL method around a toy network, everything
else on toy data. Two class attributes of a plugin speak to the kit, both ClassVar:

- toy_options: options under which it is quick on 240 images of 24 px, where its defaults are not.
- expected_failures: {check name: reason} for properties that it cannot have. Strict: such a check that holds
  is an error, as is one that does not exist and one without a reason.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from bench.api import Control, Detector, EncoderTest, Plugin, Repair, TrainingDefense
from bench.errors import BenchError, in_one_line, nearest
from bench.plugins.options import make
from bench.plugins.registry import KINDS

from .attack import AttackTrial
from .change import ChangeTrial, ControlTrial
from .dataset import DatasetTrial
from .defense import DefenseTrial
from .judge import DetectorTrial, EncoderTestTrial
from .kit import Check, CheckResult, Trial, Violation
from .repair import RepairTrial
from .ssl import SSLTrial

__all__ = ["CheckResult", "assert_contract", "checks_of", "contract", "kind_of", "run_checks", "toy_instance"]

P = TypeVar("P", bound=Plugin)

TRIALS: dict[str, type[Trial[Any]]] = {
    "attack": AttackTrial,
    "defense": DefenseTrial,
    "dataset": DatasetTrial,
    "ssl": SSLTrial,
}


OF_BASE: dict[type[Plugin], type[Trial[Any]]] = {
    TrainingDefense: ChangeTrial,
    Repair: RepairTrial,
    Control: ControlTrial,
    Detector: DetectorTrial,
    EncoderTest: EncoderTestTrial,
}
"""Of the kind "defense" those that are no Defense."""


def kind_of(plugin: Plugin) -> str:
    """One of "attack", "defense", "dataset" or "ssl", by the base of its class."""
    return next(kind for kind, found in KINDS.items() if isinstance(plugin, found.bases))


def checks_of(kind: str, instance: Plugin) -> list[Check]:
    """The checks that `instance` must hold. Raises BenchError for an unknown kind."""
    return _trial(kind, instance).checks()


def _trial(kind: str, instance: Plugin) -> type[Trial[Any]]:
    if kind not in TRIALS:
        raise BenchError(f"unknown kind of plugin {kind!r}.{nearest(kind, TRIALS)}")
    return next((trial for base, trial in OF_BASE.items() if isinstance(instance, base)), TRIALS[kind])


def toy_instance(cls: type[P]) -> P:
    """An instance with the options that its class names in `toy_options`, the others at their defaults."""
    return make(cls, getattr(cls, "toy_options", {}), cls.__name__)


def run_checks(kind: str, instance: Plugin, expected: Mapping[str, str] | None = None) -> list[CheckResult]:
    """Every property of `kind` on toy data. `expected` (name: reason) adds to `expected_failures`.

    Raises BenchError for an unknown kind, and for an expectation without a reason or of an unknown check.
    """
    checks = checks_of(kind, instance)
    reasons = {**getattr(type(instance), "expected_failures", {}), **(expected or {})}
    _refuse_bad(reasons, [check.name for check in checks])
    trial = _trial(kind, instance)(instance)
    reported: dict[Violation, str] = {}
    return [_expected(_result(check, trial, reported), reasons.get(check.name)) for check in checks]


def _refuse_bad(reasons: Mapping[str, str], names: list[str]) -> None:
    for name, reason in reasons.items():
        if name not in names:
            raise BenchError(f"expected_failures names the check {name!r}, which does not exist.{nearest(name, names)}")
        if not (isinstance(reason, str) and reason.strip()):
            raise BenchError(f"expected_failures gives no reason for {name!r}: say why it cannot hold.")


def _result(check: Check, trial: Trial[Any], reported: dict[Violation, str]) -> CheckResult:
    """The outcome of one check; a failure that another check has reported already is not reported again."""
    try:
        remark = check.test(trial)
    except Violation as violation:
        first = reported.setdefault(violation, check.name)
        if first != check.name:
            return CheckResult(check.name, False, f"not reached: see {first}", "")
        return CheckResult(check.name, False, str(violation), violation.fix or check.fix)
    except (Exception, SystemExit) as error:
        return CheckResult(check.name, False, f"the check ended in {in_one_line(error)}", check.fix)
    return CheckResult(check.name, True, remark or check.property, "")


def _expected(result: CheckResult, reason: str | None) -> CheckResult:
    """The result in the light of an expected failure."""
    if reason is None:
        return result
    if result.ok:
        why = f"it was expected to fail ({reason}), but holds"
        return CheckResult(result.name, False, why, "take it out of expected_failures")
    return CheckResult(result.name, True, f"does not hold, as declared: {reason} ({result.why})", "")


def assert_contract(instance: Plugin, expected: Mapping[str, str] | None = None) -> None:
    """All checks in one call. Raises AssertionError that lists every broken property with its fix."""
    results = run_checks(kind_of(instance), instance, expected)
    broken = [f"{r.name}: {r.why}. To mend: {r.fix}" for r in results if not r.ok]
    if broken:
        raise AssertionError("\n".join([f"{instance!r} breaks its contract:", *broken]))


def contract(
    *instances: Plugin, expected: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator for pytest: the empty test under it becomes one test for each property of each instance."""
    import pytest

    @functools.cache
    def results(number: int) -> dict[str, CheckResult]:
        one = instances[number]
        return {result.name: result for result in run_checks(kind_of(one), one, expected)}

    cases = [(number, each.name) for number, one in enumerate(instances) for each in checks_of(kind_of(one), one)]
    names = [f"{instances[number].name}-{name}" for number, name in cases]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def test(number: int, name: str) -> None:
            result = results(number)[name]
            assert result.ok, f"{result.why}. To mend: {result.fix}"

        del test.__wrapped__  # pytest would look there for the arguments
        tests: Callable[..., None] = pytest.mark.parametrize(("number", "name"), cases, ids=names)(test)
        return tests

    return decorate
