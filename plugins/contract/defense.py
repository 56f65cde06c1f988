"""The contract of a defense, property by property, on toy data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from bench.api import Defense, Verdict

from .kit import alike, check, require, require_array
from .view import Notebook, ViewTrial, require_json

PARTS = ("keep", "score", "trigger_score", "boxes")


class DefenseTrial(ViewTrial[Defense]):
    """A defense on toy images, a twentieth of which bear a patch."""

    def answer(self) -> Verdict:
        """The verdict of its first run."""
        return self.verdict()

    def verdict(self, run: str = "first", images: Tensor | None = None, notebook: Notebook | None = None) -> Verdict:
        """The verdict of the run of that name, on the toy images with patches unless others are given; made once."""

        def clean() -> Verdict:
            found = self.judged(self.plugin.clean, run, images, notebook)
            require(isinstance(found, Verdict), f"clean() gave {type(found).__name__}, expected bench.Verdict")
            require(isinstance(found.facts, Mapping), f"facts is {type(found.facts).__name__}, expected a dict")
            return found

        return self.once(f"clean() ({run} run)", clean)

    @check("return keep as a NumPy array of bool, one for each image, and keep some")
    def check_keep(self) -> None:
        """`keep` is bool (N,) and not all False."""
        keep = self.verdict().keep
        require_array("keep", keep, "bool", (self.toy.count,))
        require(keep.any(), "no image is kept: nothing is left to train on")

    @check("return score as float (N,), trigger_score as float (N,), or None for either")
    def check_scores(self) -> str | None:
        """`score` and `trigger_score` are float (N,), `score` without NaN."""
        found = self.verdict()
        if found.score is not None:
            require_array("score", found.score, "float", (self.toy.count,))
            require(not np.isnan(found.score).any(), "score holds NaN: every image needs a suspicion")
        if found.trigger_score is not None:
            require_array("trigger_score", found.trigger_score, "float", (self.toy.count,))
        return "it gives no scores" if found.score is None and found.trigger_score is None else None

    @check("return boxes as int (N, 4): (top, left, height, width) inside the image, -1 four times where not scored")
    def check_boxes(self) -> str | None:
        """Boxes lie inside the image, and are there exactly where there is a trigger score."""
        scores, boxes = self.verdict().trigger_score, self.verdict().boxes
        require((scores is None) == (boxes is None), "give trigger_score and boxes, or neither")
        if scores is None or boxes is None:
            return "it locates nothing"
        require_array("boxes", boxes, "int", (self.toy.count, 4))
        scored = ~np.isnan(scores)
        require((boxes[~scored] == -1).all(), "an image with trigger_score NaN has a box other than -1")
        corner, extent = boxes[scored, :2], boxes[scored, 2:]
        inside = (corner >= 0).all() and (extent > 0).all() and (corner + extent <= self.toy.size).all()
        require(inside, f"a box is not inside the {self.toy.size} px image")
        return None

    @check("convert NumPy numbers in facts with int() or float(), arrays with .tolist(), and name its parts by texts")
    def check_facts(self) -> None:
        """`facts` is JSON."""
        require_json(self.verdict().facts)

    @check("handle the case that nothing is suspicious")
    def check_clean_data(self) -> None:
        """It runs on images without any trigger, and keeps some."""
        keep = self.verdict("clean", self.toy.split().images.batch(range(self.toy.count))).keep
        require_array("keep", keep, "bool", (self.toy.count,))
        require(keep.any(), "no clean image is kept")

    @check("draw from view.seeds(...) only; no time, no set order, no unseeded generator in the result or in facts")
    def check_same_seed(self) -> None:
        """The same seed gives the same verdict."""
        _require_same(self.verdict(), self.verdict("second"), "a second run gave another")

    @check("draw random numbers inside each step from seeds of its own, and use only what view.step() returns")
    def check_resume(self) -> str | None:
        """A run that continues from saved steps ends in the same verdict."""
        first = self.verdict()
        steps = self.views["first"].notebook
        if not steps:
            return "it saves no steps"
        half, whole = dict(list(steps.items())[: len(steps) // 2]), dict(steps)
        resumed = self.verdict("resumed at half", notebook=half), self.verdict("resumed at the end", notebook=whole)
        _require_same(first, resumed[0], f"resumed after {len(steps) // 2} of its steps it gave another")
        _require_same(first, resumed[1], "with all steps saved it gave another")
        return None


def _require_same(one: Verdict, other: Verdict, what: str) -> None:
    for part in PARTS:
        require(alike(getattr(one, part), getattr(other, part)), f"{what} {part}")
    require(dict(one.facts) == dict(other.facts), f"{what} facts: {dict(one.facts)} and {dict(other.facts)}")
