"""The patches that `recur` finds in the training images, looked for in test images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench import Detector, View
from bench.defenses.recur import Recur
from bench.defenses.recur.shared import Shared


@dataclass(frozen=True, kw_only=True)
class RecurTemplates(Detector):
    """Recur's templates: how well does an image match a patch that came back in the training images, and acts?

    Ours (no paper). `recur` with its defaults searches the known images once. The score of a test image is that of the
    defense: the correlation with the best-matching template, over the limit that `recur` found for it, 0 at the limit
    and 1 for a perfect match. Where nothing was found, every image has the score 0: it can say nothing.
    """

    name: ClassVar[str] = "recur-templates"
    needs: ClassVar[frozenset[str]] = Recur.needs
    toy_options: ClassVar[dict[str, int]] = Recur.toy_options

    queries: int | None = field(default=None, metadata={"help": "as of recur; by its rule"})
    rank: int | None = field(default=None, metadata={"help": "as of recur; by its rule"})

    def identity(self) -> dict[str, Any]:
        """With the edition of what it searches by."""
        return {**super().identity(), "edition": self._recur.identity()["edition"]}

    def score(self, view: View, known: View) -> NDArray[np.float64]:
        """See the class."""
        images = Shared(view)
        rows = np.arange(len(view))
        found = [
            (images.match(each.template, rows).score.astype(np.float64) - each.limit) / (1 - each.limit)
            for each in self._recur.triggers(known)
        ]
        return np.max(found, axis=0) if found else np.zeros(len(view))

    def forwards(self, count: int, size: int) -> int:
        """Those of `recur` on twice as many training images as test images."""
        return self._recur.forwards(2 * count, size)

    def seconds(self, count: int, size: int) -> float:
        """As `forwards`."""
        return self._recur.seconds(2 * count, size)

    @property
    def _recur(self) -> Recur:
        return Recur(queries=self.queries, rank=self.rank)
