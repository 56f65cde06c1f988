"""Watches a defense while it works: by Python's audit events, what it opens, lists, starts and asks the interpreter.

An audit hook cannot be taken out again, so one is installed for the process, once, and does nothing while nobody is
watched. What this can and cannot stop: docs/no-peeking.md.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import sysconfig
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import Peeking

_INTERPRETER = {
    "gc.get_objects": "every object of the process",
    "gc.get_referrers": "who holds an object",
    "gc.get_referents": "what an object holds",
    "sys._current_frames": "the frames of other threads",
    "sys._current_exceptions": "the exceptions of other threads",
}
_FILES = {
    *("open", "os.listdir", "os.scandir", "os.link", "os.symlink", "os.rename", "os.remove", "os.rmdir"),
    *("os.truncate", "os.utime", "os.chmod", "os.chown", "sqlite3.connect"),
}
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"}
_EVENTS = _FILES | _PROGRAMS | set(_INTERPRETER)

_CODE = (".py", ".pyc", ".so", ".pyd", ".dll")
"""What an import opens: wherever it lies, it is no data."""
_PROCESS = re.compile(r"/proc/\d+/(task/\d+/)?(mem|fd|fdinfo|map_files)(/|$)")
"""Where Linux shows a process's memory and open files."""
_STDLIB = os.path.realpath(sysconfig.get_path("stdlib"))


class Watch:
    """What one defense must leave alone, and what it was caught at.

    closed: files and folders it may not touch. allowed: files that its options name, which it may although they lie
    there. code: source files that are its own; only they may not start programs, since libraries do (to ask for the
    processor's name, to compile a kernel).
    """

    def __init__(
        self, name: str, closed: Iterable[Path], *, allowed: Iterable[Path] = (), code: Iterable[Path] = ()
    ) -> None:
        self.name = name
        self.caught: list[str] = []
        self._closed, self._allowed, self._code = (tuple(map(_real, paths)) for paths in (closed, allowed, code))

    def path_fault(self, path: str) -> str | None:
        """Why `path` may not be touched, or None."""
        real = _real(path)
        if _PROCESS.match(real):
            return f"{path}, which shows what the process holds"
        if any(_within(real, root) for root in self._allowed) or real.endswith(_CODE):
            return None
        root = next((root for root in self._closed if _within(real, root)), None)
        return None if root is None else f"{path}, which lies in {root}" if real != root else path

    def program_fault(self, frame: Any) -> bool:
        """Whether it is the defense's own code, perhaps by the standard library, that starts a program."""
        while frame is not None and _is_stdlib(frame.f_code.co_filename):
            frame = frame.f_back
        return frame is not None and any(_within(_real(frame.f_code.co_filename), code) for code in self._code)

    def refuse(self, what: str) -> None:
        """Note it and raise Peeking."""
        self.caught.append(what)
        raise Peeking(self.message(what))

    def message(self, what: str) -> str:
        return (
            f"defense {self.name!r} reached past its view: it {what}. A defense sees the images of its view and what "
            "it declares in `needs`, nothing else (docs/no-peeking.md)"
        )

    def conclude(self) -> None:
        """Raise Peeking where it was caught, also where it hushed up the refusal."""
        if self.caught:
            raise Peeking(self.message(self.caught[0]))


_watch: Watch | None = None
_ours: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_own = threading.local()
_installed = False


def trust() -> None:
    """Leave this thread alone: the harness starts it while a defense works."""
    _own.trusted = True


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Hold every thread that is started from now on to `watch`, but those of the harness, which say so (`trust`).

    Not only those that a watched thread starts: Python 3.11 does not tell who started one. One defense at a time is
    watched in a process.
    """
    global _watch
    _install()
    if _watch is not None:
        raise RuntimeError(f"{_watch.name} is being watched; one defense at a time")
    _ours.update(threading.enumerate())
    _watch = watch
    try:
        yield
    finally:
        _watch = None
        _ours.clear()


def _install() -> None:
    global _installed
    if not _installed:
        sys.addaudithook(_hear)
        _installed = True


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """The hook: every event of the process passes here, so the usual way out comes first."""
    watch = _watch
    if watch is None or event not in _EVENTS:
        return
    thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined] # current_thread() makes one
    if thread in _ours or getattr(_own, "trusted", False):
        return
    if event in _FILES:
        _check_files(watch, event, arguments)
    elif event in _INTERPRETER:
        watch.refuse(f"asked for {_INTERPRETER[event]} ({event})")
    elif watch.program_fault(sys._getframe(1)):
        watch.refuse(f"started a program ({event} {arguments[0]!r})")


def _check_files(watch: Watch, event: str, arguments: tuple[Any, ...]) -> None:
    for argument in arguments[:2]:
        if event == "open" and argument is not arguments[0]:
            return  # the rest is the mode
        path = os.getcwd() if argument is None and event != "open" else argument  # noqa: PTH109
        if isinstance(path, str | bytes | os.PathLike):
            fault = watch.path_fault(os.fsdecode(path))
            if fault is not None:
                watch.refuse(f"touched {fault} ({event})")


def _real(path: str | Path) -> str:
    return os.path.realpath(path)


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _is_stdlib(file: str) -> bool:
    return file.startswith(("<frozen", __file__)) or (_within(_real(file), _STDLIB) and "site-packages" not in file)


def closed_paths(store: Path, options: Mapping[str, Any]) -> list[Path]:
    """What holds truth on this machine: the store, what is known of checked files, and whatever files and folders the
    data set's `options` name."""
    from bench.store.cache import user_cache

    found = [store, *filter(None, [user_cache()])]
    found += [Path(os.environ[name]) for name in ("BENCH_STORE", "BENCH_CACHE") if os.environ.get(name)]
    return found + existing(options)


def allowed_paths(store: Path, options: Mapping[str, Any]) -> list[Path]:
    """The files that a defense's `options` name, but none of the store."""
    inside = _real(store)
    return [path for path in existing(options) if path.is_file() and not _within(_real(path), inside)]


def existing(options: Mapping[str, Any]) -> list[Path]:
    """The files and folders that are there among the values."""
    named = [Path(value).expanduser() for value in options.values() if isinstance(value, str | Path) and str(value)]
    return [path for path in named if path.exists()]


def code_of(plugin: object) -> list[Path]:
    """The file of a built-in plugin, of another one the file or folder that holds its module."""
    module = type(plugin).__module__
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return []
    package = "." in module and module.partition(".")[0] != "bench"
    return [Path(file).parent if package else Path(file)]
