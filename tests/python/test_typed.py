"""What names a plugin that was typed into a notebook: its code, and what that uses."""

from __future__ import annotations

import linecache
import sys
import types

import pytest

from bench.errors import BenchError
from bench.plugins.identity import DIGEST, identity
from bench.plugins.typed import typed_digest

CELL = """
from dataclasses import dataclass
from typing import ClassVar
from bench import Defense

LIMIT = {limit}

def helper(view):
    return {helper}

@dataclass(frozen=True, kw_only=True)
class Typed(Defense):
    \"\"\"{about}\"\"\"
    name: ClassVar[str] = "typed"
    paper: ClassVar[str] = "{about}"
    power: ClassVar[int] = {power}
    share: float = {share}

    def clean(self, view):
        return [helper(view) for _ in range(LIMIT)]
"""
PLAIN = {"limit": 3, "helper": "1", "about": "A.", "power": 2, "share": 0.5}


@pytest.fixture
def typed(monkeypatch):
    """typed(readable, change) -> the class of the cell, in a module without a file as a notebook's is."""

    def make(readable=True, **change):
        module = types.ModuleType("typed_session")
        monkeypatch.setitem(sys.modules, "typed_session", module)
        text, name = CELL.format(**PLAIN | change), "<cell>"
        if readable:
            linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        else:
            linecache.cache.pop(name, None)
        exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)
        return module.Typed

    return make


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"about": "B."}, True),  # no code
        ({"share": 0.25}, True),  # an option: identity() has it
        ({"limit": 4}, False),
        ({"helper": "2"}, False),
        ({"power": 3}, False),
    ],
)
def test_it_changes_with_the_code_and_what_that_uses(typed, change, same):
    first = typed_digest(typed())
    assert (typed_digest(typed(**change)) == first) is same
    assert identity(typed(**change)())[DIGEST] == typed_digest(typed(**change))


def test_code_that_cannot_be_read_is_refused(typed):
    with pytest.raises(BenchError, match=r"the code of Typed.clean cannot be read.*write it in a notebook's cell, or"):
        identity(typed(readable=False)())


def test_data_that_cannot_be_stored_is_refused(typed):
    cls = typed()
    sys.modules[cls.__module__].LIMIT = iter(lambda: 1, 2)
    with pytest.raises(BenchError, match=r"Typed uses 'LIMIT', a callable_iterator that cannot be stored"):
        typed_digest(cls)
