"""The contract of a defense, property by property, on toy data."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.api import Arrays, Defense, Verdict

from .kit import Check, Trial, Violation, check, check_global_state, require
from .toys import Toy, ToyEncoder, ToyView

PARTS = ("keep", "score", "trigger_score", "boxes")


class DefenseTrial(Trial[Defense]):
    """A defense on toy images, a twentieth of which bear a patch."""

    kind = "defense"

    def __init__(self, plugin: Defense, toy: Toy | None = None) -> None:
        super().__init__(plugin)
        self.toy = toy or Toy()
        self.encoder = ToyEncoder()
        self.planted = self.toy.planted()
        self.views: dict[str, ToyView] = {}

    def verdict(self, run: str, images: Tensor | None = None, notebook: dict[str, Arrays] | None = None) -> Verdict:
        """The verdict of the run of that name; made once."""
        found: Verdict = self.once(run, lambda: self._clean(run, images, notebook), f"clean() ({run} run)")
        return found

    def first(self) -> Verdict:
        """The verdict on the toy images with patches."""
        return self.verdict("first")

    def _clean(self, run: str, images: Tensor | None, notebook: dict[str, Arrays] | None) -> Verdict:
        given = self.planted if images is None else images
        needs = type(self.plugin).needs
        self.views[run] = ToyView(given, needs=needs, encoder=self.encoder, notebook=notebook)
        return self.plugin.clean(self.views[run])


@check('list "encoder" in `needs` if the encoder is used; ask the view for nothing that is not listed')
def check_needs(trial: DefenseTrial) -> None:
    """It asks its view for nothing that it does not declare."""
    needs = type(trial.plugin).needs
    require(
        isinstance(needs, frozenset),
        f"`needs` is {needs!r}, expected frozenset({{'encoder'}}) or frozenset()",
    )
    _try(trial)
    undeclared = sorted(trial.views["first"].touched - needs)
    require(not undeclared, f"it asked for {', '.join(undeclared)}, and `needs` is {sorted(needs)}")


def _try(trial: DefenseTrial) -> Violation | None:
    """The first run, whether it ends well or not."""
    try:
        trial.first()
    except Violation as violation:
        return violation
    return None


@check("make clean() work with the view alone, on any number of square images")
def check_runs(trial: DefenseTrial) -> None:
    """It judges images of which some bear a patch."""
    verdict = trial.first()
    require(isinstance(verdict, Verdict), f"clean() gave {type(verdict).__name__}, expected bench.Verdict")


@check("return keep as a NumPy array of bool, one for each image, and keep some")
def check_keep(trial: DefenseTrial) -> None:
    """`keep` is bool (N,) and not all False."""
    keep = trial.first().keep
    _require_array("keep", keep, (trial.toy.count,), "b")
    require(keep.any(), "no image is kept: nothing is left to train on")


@check("return score as float (N,), trigger_score as float (N,), or None for either")
def check_scores(trial: DefenseTrial) -> str | None:
    """`score` and `trigger_score` are float (N,), `score` without NaN."""
    verdict = trial.first()
    if verdict.score is not None:
        _require_array("score", verdict.score, (trial.toy.count,), "f")
        require(not np.isnan(verdict.score).any(), "score holds NaN: every image needs a suspicion")
    if verdict.trigger_score is not None:
        _require_array("trigger_score", verdict.trigger_score, (trial.toy.count,), "f")
    return "it gives no scores" if verdict.score is None and verdict.trigger_score is None else None


@check("return boxes as int (N, 4): (top, left, height, width) inside the image, -1 four times where not scored")
def check_boxes(trial: DefenseTrial) -> str | None:
    """Boxes lie inside the image, and are there exactly where there is a trigger score."""
    verdict = trial.first()
    scores, boxes = verdict.trigger_score, verdict.boxes
    require((scores is None) == (boxes is None), "give trigger_score and boxes, or neither")
    if scores is None or boxes is None:
        return "it locates nothing"
    _require_array("boxes", boxes, (trial.toy.count, 4), "i")
    scored = ~np.isnan(scores)
    require((boxes[~scored] == -1).all(), "an image with trigger_score NaN has a box other than -1")
    corner, extent = boxes[scored, :2], boxes[scored, 2:]
    inside = (corner >= 0).all() and (extent > 0).all() and (corner + extent <= trial.toy.size).all()
    require(inside, f"a box is not inside the {trial.toy.size} px image")
    return None


def _require_array(name: str, value: object, shape: tuple[int, ...], kind: str) -> None:
    words = {"b": "bool", "f": "float", "i": "int"}
    wanted = f"{name}: expected {words[kind]} {shape}"
    require(isinstance(value, np.ndarray), f"{wanted}, got {type(value).__name__}")
    array: NDArray[Any] = np.asarray(value)
    require(array.dtype.kind == kind and array.shape == shape, f"{wanted}, got {array.dtype} {array.shape}")


@check("convert NumPy numbers in facts with int() or float(), arrays with .tolist()")
def check_facts(trial: DefenseTrial) -> None:
    """`facts` is JSON."""
    try:
        json.dumps(dict(trial.first().facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Violation(f"facts is not JSON: {error}") from None


@check(
    "return from forwards() about how many images clean() encodes, from trained_on() how many it trains on, 0 if none"
)
def check_forwards(trial: DefenseTrial) -> None:
    """It says about how many images it encodes, if it declares the encoder, and trains networks on."""
    passes = trial.plugin.forwards(trial.toy.count, trial.toy.size)
    trained = trial.plugin.trained_on(trial.toy.count, trial.toy.size)
    for name, count in (("forwards", passes), ("trained_on", trained)):
        require(isinstance(count, int) and count >= 0, f"{name}() gave {count!r}, expected a whole number, 0 or more")
    uses = "encoder" in type(trial.plugin).needs
    require(uses or passes == 0, f'forwards() gave {passes} without the need "encoder"')


@check("handle the case that nothing is suspicious")
def check_clean_data(trial: DefenseTrial) -> None:
    """It runs on images without any trigger, and keeps some."""
    verdict = trial.verdict("clean", trial.toy.split().images.batch(range(trial.toy.count)))
    _require_array("keep", verdict.keep, (trial.toy.count,), "b")
    require(verdict.keep.any(), "no clean image is kept")


@check("draw from view.seeds(...) only; no time, no set order, no unseeded generator in the result or in facts")
def check_same_seed(trial: DefenseTrial) -> None:
    """The same seed gives the same verdict."""
    _require_same(trial.first(), trial.verdict("second"), "a second run gave another")


@check("draw random numbers inside each step from seeds of its own, and use only what view.step() returns")
def check_resume(trial: DefenseTrial) -> str | None:
    """A run that continues from saved steps ends in the same verdict."""
    first = trial.first()
    steps = trial.views["first"].notebook
    if not steps:
        return "it saves no steps"
    half = dict(list(steps.items())[: len(steps) // 2])
    _require_same(first, trial.verdict("resumed at half", notebook=half), f"resumed after {list(half)} it gave another")
    _require_same(
        first,
        trial.verdict("resumed at the end", notebook=dict(steps)),
        "with all steps saved it gave another",
    )
    return None


@check("copy the encoder before changing anything of it, and take your hooks off again")
def check_encoder_kept(trial: DefenseTrial) -> None:
    """The encoder is as it was: weights, mode, gradients, hooks."""
    trial.first()
    require(_facts_of(trial.encoder) == _facts_of(ToyEncoder()), "the encoder that it was lent has changed")


@check("write to copies only")
def check_images_kept(trial: DefenseTrial) -> None:
    """The images are as they were."""
    trial.first()
    require(torch.equal(trial.planted, trial.toy.planted()), "the images of the view have changed")


def _facts_of(encoder: ToyEncoder) -> list[object]:
    weights = [(p.detach().numpy().tobytes(), p.requires_grad, p.grad is None) for p in encoder.module.parameters()]
    parts = list(encoder.module.modules())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in parts]
    return [weights, [m.training for m in parts], hooks, [type(m) for m in parts]]


def _require_same(one: Verdict, other: Verdict, what: str) -> None:
    for part in PARTS:
        a, b = getattr(one, part), getattr(other, part)
        same = b is None if a is None else b is not None and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        require(same, f"{what} {part}")
    require(dict(one.facts) == dict(other.facts), f"{what} facts: {dict(one.facts)} and {dict(other.facts)}")


CHECKS: tuple[Check[Any], ...] = (
    check_runs,
    check_needs,
    check_keep,
    check_scores,
    check_boxes,
    check_facts,
    check_forwards,
    check_clean_data,
    check_same_seed,
    check_resume,
    check_encoder_kept,
    check_images_kept,
    check_global_state,
)
