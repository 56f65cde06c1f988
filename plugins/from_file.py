"""Plugins that are one file, given by its path (`--plugin mine.py`) instead of being installed."""

from __future__ import annotations

import copyreg
import hashlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.api import Images, Plugin
from bench.errors import BenchError, in_one_line, nearest
from bench.store import read_bytes

from .identity import LOADED
from .manager import Plugins, Source

PREFIX = "bench_file_"


def load_plugins(files: Sequence[Path] = ()) -> Plugins:
    """The installed plugins, and those in `files`. Raises BenchError for a file that cannot be used as a plugin;
    unlike an installed one it was requested by name."""
    shown: dict[Path, str] = {}
    for path in files:
        shown.setdefault(path.expanduser().resolve(), str(path))
    return Plugins.load(list(map(_source, shown, shown.values())))


def _source(path: Path, shown: str) -> Source:
    """The plugin in `path`, tried by itself so that its faults are reported as its own."""
    module = load_file(path, shown)
    source = Source(path.stem, shown, lambda: module)
    broken = Plugins([source]).broken
    if broken:
        raise BenchError("\n- ".join([f"--plugin {shown} cannot be used:", *(f"{b.name}: {b.error}" for b in broken)]))
    return source


def load_file(path: Path, shown: str = "") -> ModuleType:
    """The module in the file `path`, run once for each content. Raises BenchError, naming the line that failed."""
    shown = shown or str(path)
    data = _read(path, shown)
    digest = hashlib.sha256(data).hexdigest()
    name = _module_name(path, digest)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # .py files have a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look a class's module up
    try:
        exec(compile(data, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise BenchError(f"--plugin {shown} cannot be imported: {in_one_line(error)}{_line(error, path)}") from error
    LOADED[name] = digest
    _make_portable(module, path)
    return module


def _module_name(path: Path, digest: str) -> str:
    """A name of its own for each file and content, that no installed module has."""
    place = hashlib.sha256(str(path).encode() + digest.encode()).hexdigest()[:8]
    return f"{PREFIX}{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{place}"


def _read(path: Path, shown: str) -> bytes:
    if path.is_dir():
        raise BenchError(f"--plugin {shown} is a folder, expected a .py file. To install it: pip install -e {shown}")
    if not path.exists():
        beside = [each.name for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise BenchError(f"--plugin {shown}: there is no such file.{nearest(path.name, beside)}")
    if path.suffix != ".py":
        raise BenchError(f"--plugin {shown}: expected a Python file, its name ending in .py")
    try:
        return read_bytes(path)
    except OSError as error:
        raise BenchError(f"--plugin {shown} cannot be read: {error.strerror or error}") from error


def _line(error: BaseException, path: Path) -> str:
    """' (line 3)' for the last line of the file that the error passed; a SyntaxError says its line itself."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" (line {lines[-1]})" if lines else ""


def _make_portable(module: ModuleType, path: Path) -> None:
    """Lets the file's plugins and images go to other processes (a training on several devices), where nothing can
    import the module by its name."""
    for cls in vars(module).values():
        if inspect.isclass(cls) and issubclass(cls, Plugin | Images) and cls.__module__ == module.__name__:
            copyreg.pickle(cls, lambda it: (_remake, (str(path), module.__name__, type(it).__qualname__), vars(it)))


def _remake(path: str, name: str, cls: str) -> Any:
    """An empty object of the class `cls` of the file, in another process. Raises BenchError if the file has changed."""
    module = load_file(Path(path))
    if module.__name__ != name:
        raise BenchError(f"{path} has changed since the run began: start it again")
    made = getattr(module, cls)
    return made.__new__(made)
