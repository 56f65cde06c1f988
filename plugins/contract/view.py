"""What the contracts of all share that look at images through a view: defenses, detectors, encoder tests."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from bench.api import Arrays, Judge
from bench.errors import BenchError
from bench.store import check_json

from .kit import Trial, Violation, check, require
from .toys import Toy, ToyEncoder, ToyView

J = TypeVar("J", bound=Judge)
R = TypeVar("R")
Notebook = dict[str, Arrays]
"""The steps that a view has kept, by their names."""


class ViewTrial(Trial[J]):
    """Toy images, a twentieth of which bear a patch, and an encoder for them. views: those that were handed out, by the
    names of their runs."""

    kind = "defense"
    method: str

    def __init__(self, plugin: J) -> None:
        super().__init__(plugin)
        self.toy = Toy()
        self.encoder = ToyEncoder()
        self.planted = self.toy.planted()
        self.views: dict[str, ToyView] = {}

    def answer(self) -> Any:
        """What it says in its first run."""
        raise NotImplementedError

    def judged(self, call: Callable[[ToyView], R], run: str, images: Tensor | None, notebook: Notebook | None) -> R:
        """`call` of the view of this run: of the toy images with patches, unless others are given."""
        given = self.planted if images is None else images
        self.views[run] = ToyView(given, needs=self.plugin.needs, encoder=self.encoder, notebook=notebook)
        return call(self.views[run])

    @check("make it work with what it is given alone, on any number of square images")
    def check_runs(self) -> None:
        """It judges images of which some bear a patch."""
        self.answer()

    @check('list "encoder" in `needs` if the encoder is used; ask the view for nothing that is not listed')
    def check_needs(self) -> None:
        """It asks its view for nothing that it does not declare."""
        needs = self.plugin.needs
        listed = isinstance(needs, frozenset)
        require(listed, f"`needs` is {needs!r}, expected frozenset({{'encoder'}}) or frozenset()")
        with contextlib.suppress(Violation):  # whether the run ends well or not
            self.answer()
        undeclared = sorted(set().union(*(view.touched for view in self.views.values())) - needs)
        require(not undeclared, f"it asked for {', '.join(undeclared)}, and `needs` is {sorted(needs)}")

    @check("return about how many images it encodes (forwards()) and trains on (trained_on()), 0 if none; seconds()")
    def check_forwards(self) -> None:
        """It says about how many images it encodes, if it declares the encoder, and trains networks on."""
        passes = self.plugin.forwards(self.toy.count, self.toy.size)
        trained = self.plugin.trained_on(self.toy.count, self.toy.size)
        for name, count in (("forwards", passes), ("trained_on", trained)):
            whole = isinstance(count, int) and count >= 0
            require(whole, f"{name}() gave {count!r}, expected a whole number, 0 or more")
        seconds = self.plugin.seconds(self.toy.count, self.toy.size)
        require(
            isinstance(seconds, int | float) and 0 <= seconds < math.inf,
            f"seconds() gave {seconds!r}, expected 0 or more",
        )
        uses = "encoder" in self.plugin.needs
        require(uses or passes == 0, f'forwards() gave {passes} without the need "encoder"')

    @check("copy the encoder before changing anything of it, and take your hooks off again")
    def check_encoder_kept(self) -> None:
        """The encoder is as it was: weights, mode, gradients, hooks."""
        self.answer()
        require(_facts_of(self.encoder) == _facts_of(ToyEncoder()), "the encoder that it was lent has changed")

    @check("write to copies only")
    def check_images_kept(self) -> None:
        """The images are as they were."""
        self.answer()
        require(torch.equal(self.planted, self.toy.planted()), "the images of the view have changed")


def require_json(facts: Mapping[str, Any]) -> None:
    """Raise Violation unless `facts` can be written as JSON."""
    try:
        check_json(dict(facts), "facts")
    except (BenchError, RecursionError) as error:
        raise Violation(f"facts is not JSON: {error}") from None


def _facts_of(encoder: ToyEncoder) -> list[object]:
    weights = [(p.detach().numpy().tobytes(), p.requires_grad, p.grad is None) for p in encoder.module.parameters()]
    parts = list(encoder.module.modules())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in parts]
    return [weights, [m.training for m in parts], hooks, [type(m) for m in parts]]
