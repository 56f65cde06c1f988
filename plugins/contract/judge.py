"""The contracts of a test-time detector and of an encoder test, property by property, on toy data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.api import Detector, EncoderTest, EncoderVerdict

from .kit import alike, check, require, require_array
from .toys import Toy, ToyView
from .view import Notebook, ViewTrial, require_json

CLOSE = 1e-5
"""How far the scores of one image may differ between two calls, as a share of the spread of all scores: floating-point
sums depend on what a batch holds."""


class DetectorTrial(ViewTrial[Detector]):
    """A detector on forty other toy images, two of which bear the patch that the known images bear."""

    def __init__(self, plugin: Detector) -> None:
        super().__init__(plugin)
        self.tested = Toy(count=40, seed=1).planted()

    def answer(self) -> NDArray[np.float64]:
        """The scores of its first run."""
        return self.scores()

    def scores(
        self, run: str = "first", tested: Tensor | None = None, known: Tensor | None = None, notebooks: Any = None
    ) -> NDArray[np.float64]:
        """The scores of the run of that name, of the test images unless others are given; made once."""
        kept: dict[str, Notebook] = {"view": {}, "known": {}} if notebooks is None else notebooks

        def score() -> NDArray[np.float64]:
            given = {
                "view": self.tested if tested is None else tested,
                "known": self.planted if known is None else known,
            }
            for name, images in given.items():
                self.views[f"{run} {name}"] = ToyView(
                    images, needs=self.plugin.needs, encoder=self.encoder, seed=len(name), notebook=kept[name]
                )
            found = self.plugin.score(self.views[f"{run} view"], self.views[f"{run} known"])
            right = isinstance(found, np.ndarray) and found.shape == (len(given["view"]),)
            require(right, f"score() gave {type(found).__name__}, expected a NumPy array, a score for each image")
            return found

        return self.once(f"score() ({run} run)", score)

    @check("return a NumPy array of float, one finite score for each image of `view`, in its order")
    def check_test_scores(self) -> None:
        """It returns a finite score for each test image, float (N,)."""
        found = self.scores()
        require_array("score()", found, "float", (len(self.tested),))
        require(np.isfinite(found).all(), "score() holds values that are not finite")

    @check("score each image by itself: take means, ranks, neighbours and clusters from `known`, never from `view`")
    def check_by_itself(self) -> None:
        """The scores of a part of the images are that part of the scores, in whatever order they are judged."""
        found = self.scores()
        rows = np.arange(len(found))[::-3].copy()
        part = self.scores("part", self.tested[rows])
        apart = np.abs(part - found[rows]) > CLOSE * max(float(np.ptp(found)), 1e-6)
        require(
            not apart.any(), f"{int(apart.sum())} of {len(rows)} images have another score where others are left out"
        )

    @check("handle the case that nothing is suspicious")
    def check_clean_data(self) -> None:
        """It runs where no known image bears a trigger."""
        self.scores("clean", known=self.toy.split().images.batch(range(self.toy.count)))

    @check("draw from view.seeds(...) only; no time, no set order, no unseeded generator")
    def check_same_seed(self) -> None:
        """The same seed gives the same scores."""
        require(alike(self.scores(), self.scores("second")), "a second run gave other scores")

    @check("draw random numbers inside each step from seeds of its own, and use only what step() returns")
    def check_resume(self) -> str | None:
        """A run that continues from saved steps ends in the same scores."""
        first = self.scores()
        kept = {name: dict(self.views[f"first {name}"].notebook) for name in ("view", "known")}
        if not any(kept.values()):
            return "it saves no steps"
        resumed = self.scores("resumed", notebooks=kept)
        require(alike(first, resumed), "with all steps saved it gave other scores")
        return None


class EncoderTestTrial(ViewTrial[EncoderTest]):
    """An encoder test on toy images, a twentieth of which bear a patch."""

    def answer(self) -> EncoderVerdict:
        """The verdict of its first run."""
        return self.verdict()

    def verdict(
        self, run: str = "first", images: Tensor | None = None, notebook: Notebook | None = None
    ) -> EncoderVerdict:
        """The verdict of the run of that name; made once."""

        def judge() -> EncoderVerdict:
            found = self.judged(self.plugin.verdict, run, images, notebook)
            require(isinstance(found, EncoderVerdict), f"verdict() gave {type(found).__name__}")
            return found

        return self.once(f"verdict() ({run} run)", judge)

    @check("return bench.EncoderVerdict(score=...) with a finite number")
    def check_encoder_score(self) -> None:
        """Its score is a finite number."""
        score = self.verdict().score
        number = isinstance(score, int | float | np.floating) and math.isfinite(score)
        require(number, f"the score is {score!r}, expected a finite number")

    @check("convert NumPy numbers in facts with int() or float(), arrays with .tolist(), and name its parts by texts")
    def check_facts(self) -> None:
        """`facts` is JSON."""
        require_json(self.verdict().facts)

    @check("handle the case that nothing is suspicious")
    def check_clean_data(self) -> None:
        """It runs on images without any trigger."""
        self.verdict("clean", self.toy.split().images.batch(range(self.toy.count)))

    @check("draw from view.seeds(...) only; no time, no set order, no unseeded generator in the score or in facts")
    def check_same_seed(self) -> None:
        """The same seed gives the same verdict."""
        _require_same(self.verdict(), self.verdict("second"), "a second run gave")

    @check("draw random numbers inside each step from seeds of its own, and use only what view.step() returns")
    def check_resume(self) -> str | None:
        """A run that continues from saved steps ends in the same verdict."""
        first = self.verdict()
        steps = self.views["first"].notebook
        if not steps:
            return "it saves no steps"
        _require_same(first, self.verdict("resumed", notebook=dict(steps)), "with all steps saved it gave")
        return None


def _require_same(one: EncoderVerdict, other: EncoderVerdict, what: str) -> None:
    require(one.score == other.score, f"{what} another score: {one.score} and {other.score}")
    require(dict(one.facts) == dict(other.facts), f"{what} other facts: {dict(one.facts)} and {dict(other.facts)}")
