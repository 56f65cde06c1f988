"""The kit must catch each kind of bad defense, by the check of that name and by no other."""

import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from bench import BenchError, Defense, Verdict
from bench.plugins.contract.checks import CHECKS, ToyView, assert_contract, contract, kind_of, run_checks
from bench.plugins.contract.kit import COMMON


@dataclass(frozen=True, kw_only=True)
class Far(Defense):
    """Drops the tenth of the images whose features lie farthest out; boxes the lower right corner."""

    name: ClassVar[str] = "far"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})
    drop: float = 0.1

    def clean(self, view):
        features = view.step("features", lambda: {"features": view.encoder(self.images(view)).numpy()})["features"]
        found = view.step("noise", lambda: {"noise": view.seeds("noise").numpy().normal(size=features.shape[1])})
        score = np.abs((features - features.mean(0)) @ found["noise"]).astype(np.float64)
        keep = score <= np.quantile(score, 1 - self.drop)
        trigger = np.where(keep, np.nan, score)
        boxes = np.where(keep[:, None], -1, [[view.size - 5, view.size - 5, 5, 5]]).astype(np.int64)
        return Verdict(keep=keep, score=score, trigger_score=trigger, boxes=boxes, facts={"kept": int(keep.sum())})

    def images(self, view):
        return view.batch(np.arange(len(view)))


MUTANTS = []


def mutant(*broken):
    def decorate(cls):
        made = dataclass(frozen=True, kw_only=True)(cls)
        MUTANTS.append((made, set(broken)))
        return made

    return decorate


class Twist(Far):
    """Base of mutants that change the verdict."""

    def clean(self, view):
        return self.twist(super().clean(view))


@mutant("keep", "clean_data")
class IntKeep(Twist):
    """keep as int."""

    def twist(self, verdict):
        return replace(verdict, keep=verdict.keep.astype(int))


@mutant("keep", "clean_data")
class KeepsNone(Twist):
    """Removes all."""

    def twist(self, verdict):
        return replace(verdict, keep=np.zeros_like(verdict.keep))


@mutant("keep", "clean_data")
class ShortKeep(Twist):
    """keep of the wrong shape."""

    def twist(self, verdict):
        return replace(verdict, keep=verdict.keep[:, None])


@mutant("scores")
class NanScore(Twist):
    """A score of NaN."""

    def twist(self, verdict):
        return replace(verdict, score=verdict.trigger_score)


@mutant("boxes")
class BigBoxes(Twist):
    """Boxes that leave the image."""

    def twist(self, verdict):
        return replace(verdict, boxes=np.where(verdict.boxes > 0, 20, -1))


@mutant("boxes")
class BoxesEverywhere(Twist):
    """A box where nothing was scored."""

    def twist(self, verdict):
        return replace(verdict, boxes=np.full_like(verdict.boxes, 4))


@mutant("boxes")
class NoBoxes(Twist):
    """Trigger scores without boxes."""

    def twist(self, verdict):
        return replace(verdict, boxes=None)


@mutant("facts")
class NumpyFacts(Twist):
    """NumPy in facts."""

    def twist(self, verdict):
        return replace(verdict, facts={"kept": verdict.keep.sum()})


@mutant("same_seed", "resume")
class Clock(Twist):
    """The time in facts."""

    def twist(self, verdict):
        return replace(verdict, facts={"at": time.perf_counter()})


@mutant("needs")
class Hush(Far):
    """Asks for what it does not declare, and hushes up the refusal."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def clean(self, view):
        try:
            return super().clean(view)
        except BenchError:
            return Verdict(keep=np.ones(len(view), dtype=bool))


@mutant("forwards")
class Boast(Far):
    """Gives a float of forwards."""

    def forwards(self, count, size):
        return count / 2


@mutant("forwards")
class Idle(Far):
    """Gives a negative number of images that it trains on."""

    def trained_on(self, count, size):
        return -count


@mutant("encoder_kept")
class Trainer(Far):
    """Leaves the encoder in training mode."""

    def clean(self, view):
        view.encoder.module.train()
        return super().clean(view)


@mutant("encoder_kept")
class Hooker(Far):
    """Leaves a hook on the encoder."""

    def clean(self, view):
        view.encoder.module.register_forward_hook(lambda *_: None)
        return super().clean(view)


@mutant("images_kept")
class Vandal(Far):
    """Writes to the images behind the view."""

    def clean(self, view):
        view._images.pixels[-1] = 0
        return super().clean(view)


@mutant("resume")
class OneStream(Far):
    """Draws in two steps from one generator, which a resumed run has not advanced."""

    def clean(self, view):
        draw = view.seeds("stream").numpy()
        view.step("a", lambda: {"a": draw.normal(size=3)})
        view.step("b", lambda: {"b": np.zeros(1)})
        verdict = super().clean(view)
        view.step("c", lambda: {"c": np.zeros(1)})
        return replace(verdict, facts={"draw": float(view.step("d", lambda: {"d": draw.normal(size=1)})["d"][0])})


@mutant("resume")
class SideEffect(Far):
    """Lets a step write past its result."""

    def clean(self, view):
        seen = []
        view.step("a", lambda: seen.append(1) or {"a": np.zeros(1)})
        return replace(super().clean(view), facts={"seen": len(seen)})


@mutant("global_state")
class Threads(Far):
    """Switches gradients off for everybody."""

    def clean(self, view):
        torch.set_grad_enabled(False)
        return super().clean(view)


@contract(Far(), Far(drop=0.3))
def test_a_good_defense_keeps_its_contract(): ...


@pytest.mark.parametrize(("cls", "wanted"), MUTANTS, ids=[cls.__name__ for cls, _ in MUTANTS])
def test_a_bad_defense_is_caught(cls, wanted):
    try:
        results = run_checks("defense", cls())
    finally:
        torch.set_grad_enabled(True)
    assert {result.name for result in results if not result.ok} == wanted
    assert all(result.why and result.fix for result in results if not result.ok)


def named(results):
    return {result.name: result for result in results}


def test_an_undeclared_need_is_told_by_its_own_check():
    @dataclass(frozen=True, kw_only=True)
    class Curious(Far):
        """Uses the encoder without saying so."""

        needs: ClassVar[frozenset[str]] = frozenset()

    results = named(run_checks("defense", Curious()))
    assert not results["needs"].ok
    assert "UndeclaredNeed" in results["runs"].why
    assert results["keep"].why == "not reached: see runs"


@pytest.mark.parametrize("step", [[np.zeros(1)], {"a": [1]}, {"a": np.array([None])}])
def test_a_step_without_plain_arrays_is_refused(step):
    with pytest.raises(TypeError, match="step 's' gave"):
        ToyView(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).step("s", lambda: step)


def test_a_step_is_computed_once_and_given_as_a_copy():
    view, calls = ToyView(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)), []
    first = view.step("s", lambda: calls.append(1) or {"a": np.arange(3)})
    first["a"][:] = 9
    second = view.step("s", lambda: calls.append(2) or {"a": np.zeros(3)})
    assert calls == [1]
    assert second["a"].tolist() == [0, 1, 2]


def test_progress_beyond_its_total_is_refused():
    with pytest.raises(ValueError, match="3 of 2"):
        ToyView(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).progress("x", 3, 2)


@dataclass(frozen=True, kw_only=True)
class Declared(NumpyFacts):
    """Has facts that are not JSON, and says so."""

    expected_failures: ClassVar[dict[str, str]] = {"facts": "they are for a notebook"}


@contract(Declared())
def test_a_declared_failure_passes(): ...


def test_a_declared_failure_is_reported_with_its_reason():
    result = named(run_checks("defense", Declared()))["facts"]
    assert result.ok
    assert "as declared: they are for a notebook" in result.why


def test_a_declared_failure_that_holds_is_an_error():
    result = named(run_checks("defense", Far(), expected={"facts": "a reason"}))["facts"]
    assert not result.ok
    assert "but holds" in result.why
    assert "expected_failures" in result.fix


@pytest.mark.parametrize(
    ("expected", "told"),
    [({"fact": "x"}, "Did you mean 'facts'"), ({"facts": " "}, "no reason")],
)
def test_a_bad_declaration_is_refused(expected, told):
    with pytest.raises(BenchError, match=told):
        run_checks("defense", Far(), expected=expected)


def test_assert_contract_lists_what_is_broken():
    with pytest.raises(AssertionError, match=r"breaks its contract:\nfacts: facts is not JSON: .* To mend: convert"):
        assert_contract(NumpyFacts())


def test_kinds():
    assert kind_of(Far()) == "defense"
    with pytest.raises(BenchError, match="unknown kind"):
        run_checks("defence", Far())


def test_every_check_catches_something():
    # "runs" and "needs" are shown by Curious above, the common ones by the attacks' tests.
    caught = set().union(*(wanted for _, wanted in MUTANTS), {"runs"}, {check.name for check in COMMON})
    assert caught == {check.name for check in CHECKS["defense"]}
