"""One tree of seeds: a root, and a named child for every use. Nothing here touches a global generator."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

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
        return _number(hashlib.sha256("/".join(map(_text, self._path)).encode()))

    def numpy(self) -> np.random.Generator:
        """A fresh NumPy generator (PCG64, the same stream on every platform)."""
        return np.random.Generator(np.random.PCG64(self.value))

    def torch(self, device: torch.device | str = "cpu") -> torch.Generator:
        """A fresh torch generator on `device`."""
        import torch

        return torch.Generator(device=device).manual_seed(self.value)

    def sealed(self) -> Seeds:
        """The same node, which does not tell the names above it: who holds it cannot read off the root."""
        return _Sealed(hashlib.sha256("/".join(map(_text, self._path)).encode()))


class _Sealed(Seeds):
    """A node that holds the hash of its path instead of the path. It cannot be pickled."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def child(self, *names: str | int) -> Seeds:
        state = self._state.copy()
        state.update("".join(f"/{_text(name)}" for name in names).encode())
        return _Sealed(state)

    @property
    def value(self) -> int:
        return _number(self._state)

    def sealed(self) -> Seeds:
        return self


def _text(name: str | int) -> str:
    return f"{type(name).__name__}:{name}"


def _number(state: Any) -> int:
    return int.from_bytes(state.digest()[:8], "little") >> 1
