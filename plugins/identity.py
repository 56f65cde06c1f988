"""What a plugin is known by: its options, and for one that does not come with the benchmark, its code.

Of a built-in plugin the code is known by its stage's number (bench/pipeline/stage.py: VERSIONS), or where it alone has
changed by one in its own identity (defenses/recur/recur.py: EDITION). Anybody else's
changes without one, so two versions of it with the same options would share one cached result: their code's hash is
part of what names it.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.api import Plugin
from bench.errors import BenchError, in_one_line

from .typed import typed_digest

DIGEST = "code_sha256"
LOADED: dict[str, str] = {}
"""Module made from a file (plugins/from_file.py) -> SHA-256 of the bytes that were run."""


def identity(plugin: Plugin) -> dict[str, Any]:
    """The plugin's own identity(), with the digest of its code unless it is built in. What stages are named by."""
    cls = type(plugin)
    own = _built_in(cls.__module__) and getattr(sys.modules.get(cls.__module__), cls.__name__, None) is cls
    digest = None if own else code_digest(cls.__module__) or typed_digest(cls)
    try:
        said = dict(plugin.identity())
    except Exception as error:
        raise BenchError(f"identity() of {plugin.name!r} gives no names and values: {in_one_line(error)}") from error
    return {**said, **({DIGEST: digest} if digest else {})}


def _built_in(module: str) -> bool:
    return module.partition(".")[0] == "bench"


@functools.cache  # of what is loaded: an edit during a run changes nothing in it
def code_digest(module: str) -> str | None:
    """Hex SHA-256 of the code around `module`: of its file, or of every .py file of the package it lies in.

    None for a module of the benchmark, and for one that has no file, as of a notebook (typed.py).
    """
    if _built_in(module):
        return None
    if module in LOADED:
        return LOADED[module]
    files = list(_files(module))
    if not files:
        return None
    hasher = hashlib.sha256()
    for name, data in files:
        for part in (name.encode(), data):
            hasher.update(len(part).to_bytes(8, "little"))
            hasher.update(part)
    return hasher.hexdigest()


def _files(module: str) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the files, names relative to the outermost package that has a folder of its own."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        found = sys.modules.get(".".join(parts[:count]))
        file = getattr(found, "__file__", None)
        if file is None:  # a namespace package, shared by distributions
            continue
        path = Path(file)
        if path.name == "__init__.py":
            for each in sorted(path.parent.rglob("*.py")):
                yield each.relative_to(path.parent).as_posix(), each.read_bytes()
        elif path.is_file():
            yield path.name, path.read_bytes()
        return
