"""A million names, held compactly."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_CODE = ("utf-8", "surrogatepass")  # a file name may hold what is no Unicode


class Names(Sequence[str]):
    """Strings by index in one block of bytes, with 8 bytes more each; equal to any sequence of the same strings.

    As objects of their own 1.3 million file names take twice the memory, and a forked reader of images would copy them
    page by page: to look at a Python string is to write its count of references.
    """

    def __init__(self, names: Iterable[str]) -> None:
        text, ends = bytearray(), array("q", [0])
        for name in names:
            text += name.encode(*_CODE)
            ends.append(len(text))
        self._text, self._ends = text, ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self._at(row) for row in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self._at(int(at) % len(self))

    def _at(self, row: int) -> str:
        return self._text[self._ends[row] : self._ends[row + 1]].decode(*_CODE)

    def __iter__(self) -> Iterator[str]:
        return map(self._at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Names):
            return self._ends == other._ends and self._text == other._text
        if isinstance(other, str) or not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))  # as the tuple that it equals

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"Names([{shown}{', ...' if len(self) > 3 else ''}])"
