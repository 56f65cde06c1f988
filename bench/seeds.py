"""One tree of seeds: a root, and a named child for every use. Nothing here touches a global generator."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class Seeds:
    """A node of the seed tree; the same path of names under the same root gives the same numbers everywhere."""

    def __init__(self, root: int, *path: str | int) -> None:
        self._path: tuple[str | int, ...] = (int(root), *path)

    def child(self, *names: str | int) -> Seeds:
        """The node reached by `names` from here."""
        return Seeds(int(self._path[0]), *self._path[1:], *names)

    @property
    def value(self) -> int:
        """This node's seed: an int in [0, 2**63)."""
        digest = hashlib.sha256("/".join(map(_text, self._path)).encode()).digest()
        return int.from_bytes(digest[:8], "little") >> 1

    def numpy(self) -> np.random.Generator:
        """A fresh NumPy generator (PCG64, the same stream on every platform)."""
        return np.random.Generator(np.random.PCG64(self.value))

    def torch(self, device: torch.device | str = "cpu") -> torch.Generator:
        """A fresh torch generator on `device`."""
        import torch

        return torch.Generator(device=device).manual_seed(self.value)

    def sealed(self) -> Seeds:
        """A tree of its own that grows from this node's seed: who holds it sees neither names nor root (a small root
        can be guessed)."""
        return Seeds(self.value)


def _text(name: str | int) -> str:
    return f"{type(name).__name__}:{name}"
