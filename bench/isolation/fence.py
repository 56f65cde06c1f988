"""A fence around a process: on Linux with Landlock (kernel 5.13 and later) it opens, lists and starts only what it was
given. No privileges are needed, and nothing takes the fence down again, not even in programs that the process starts.

Only the standard library is imported here: the fence must stand before any other thread does, which it would not hold.
Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from .calls import refuse_calls

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on all processors that torch runs on
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_MAKE_DEVICE, _MAKE_LINK = 1 << 6 | 1 << 11, 1 << 12  # never granted: a link might lead another process astray
_REFER = 1 << 13  # rename from folder to folder
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; signals to other processes, abstract sockets
_NO_NEW_PRIVILEGES = 38

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/sys", "/nix/store")
_PROC = ("self", "cpuinfo", "meminfo", "stat", "version", "filesystems", "sys", "driver", "devices", "modules")
_DEVICES = ("null", "zero", "full", "random", "urandom", "dri", "kfd", "nvidia*")


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Rule(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def close_fence(read: Iterable[str], write: Iterable[str], *, several: bool = False) -> bool:
    """From here on this process and all that it starts touch only `read`, `write`, Python and the system's libraries
    and devices; they reach no network, no other process, and no shared memory unless they are `several` processes for
    one job. False where the kernel has no Landlock: nothing is fenced."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    handled = (1 << 13) - 1 | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    ruleset = _Ruleset(handled, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    handle = library.syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)
    if handle < 0:
        return False
    everything = handled & ~_MAKE_DEVICE & ~_MAKE_LINK
    names = (*_DEVICES, "shm") if several else _DEVICES
    proc, devices = (f"/proc/{name}" for name in _PROC), (str(path) for each in names for path in _glob(each))
    for paths, rights in (((*read, *_python(), *_SYSTEM, *proc), _READ), ((*write, *devices), everything)):
        for path in dict.fromkeys(paths):
            _allow(library, handle, path, rights & handled)
    library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    closed = bool(library.syscall(_RESTRICT_SELF, handle, 0) == 0)
    os.close(handle)
    refuse_calls(library, several=several)
    return closed


def _allow(library: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    """Let the fence pass what lies at or below `path`, if it exists."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):  # noqa: PTH112 - the standard library's pathlib would be slower to import
        rights &= _ON_FILES
    library.syscall(_ADD_RULE, ruleset, 1, ctypes.byref(_Rule(rights, handle)), 0)
    os.close(handle)


def _glob(name: str) -> Iterable[Path]:
    return Path("/dev").glob(name)


def _python() -> Iterable[str]:
    """Where the interpreter and what is installed for it lie."""
    yield from sysconfig.get_paths().values()
    yield str(Path(sys.executable).parent)
    yield str(Path(sys.executable).resolve().parent)
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        yield from (str(Path(prefix) / name) for name in ("bin", "lib", "lib64", "share", "pyvenv.cfg"))
