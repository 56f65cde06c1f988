"""Errors of plugins as their authors need them: the lines of their own code, those of others in a word."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from bench.errors import BenchError


def own_lines(error: BaseException, modules: Iterable[str]) -> str:
    """The lines of the error's traceback that lie in the code of these modules, or in nobody's that is installed.

    What lies between them is one line, "  ... 3 lines of torch". All lines where none is anybody's own.
    """
    homes = [home for module in modules for home in _home(module)]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    owners = [_owner(frame.filename, homes) for frame in frames]
    if all(owners):
        return "".join(traceback.format_list(frames))
    parts = []
    for owner, same in groupby(zip(owners, frames, strict=True), key=lambda each: each[0]):
        lines = [frame for _, frame in same]
        folded = f"  ... {len(lines)} line{'s' * (len(lines) > 1)} of {owner}\n"
        parts.append(folded if owner else "".join(traceback.format_list(lines)))
    while len(parts) > 1 and parts[0].startswith("  ..."):  # how it was called tells nothing
        parts.pop(0)
    return "".join(parts)


def of_exit(stop: SystemExit, doing: str) -> BenchError:
    """The error of a plugin that called sys.exit where it must return."""
    frames = traceback.extract_tb(stop.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    return BenchError(
        f"{doing}: sys.exit({stop.code!r}) was called{place}; expected it to return, or to raise an error"
    )


def _home(module: str) -> Sequence[Path]:
    """The file of a module, or of one in a package the package's folder."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return []
    path = Path(file).resolve()
    return [path.parent if "." in module or path.name == "__init__.py" else path]


def _owner(filename: str, homes: Sequence[Path]) -> str:
    """Who wrote the code of a file: "bench", "Python", an installed package's name; "" for the user."""
    path = Path(filename)
    path = path.resolve() if path.is_file() else path
    if any(path.is_relative_to(home) for home in homes):
        return ""
    for name in ("site-packages", "dist-packages"):
        if name in path.parts[:-1]:
            return path.parts[path.parts.index(name) + 1].removesuffix(".py")
    for name in ("bench", "bench.plugins", "bench.attacks", "bench.defenses"):
        found = getattr(sys.modules.get(name), "__path__", ())
        if any(path.is_relative_to(Path(folder).resolve()) for folder in found):
            return "bench"
    return "Python" if path.is_relative_to(Path(sysconfig.get_paths()["stdlib"]).resolve()) else ""
