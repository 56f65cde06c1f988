"""The row without a defense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench import Defense, Verdict, View


@dataclass(frozen=True, kw_only=True)
class NoDefense(Defense):
    """Keeps every image: the row that every defense is compared with."""

    name = "none"

    def clean(self, view: View) -> Verdict:
        """Looks at nothing."""
        return Verdict(keep=np.ones(len(view), dtype=np.bool_))
