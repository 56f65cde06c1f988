"""System calls that a defense's process does without: on Linux a filter (seccomp) refuses them with PermissionError.

Landlock closes files. What is refused here are other ways to the memory and the files of other processes, to a network,
and to what outlives the process: a defense that remembers the images of an earlier run, under another attack, knows
which ones are poisoned. Nobody can leave the process's group, so that all it has started ends with it.
Source: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterator

_NAMES = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"),  # into other processes
    *("setsid", "setpgid"),  # out of the group
    *("shmget", "shmat", "msgget", "semget", "mq_open", "add_key", "request_key", "keyctl"),  # what outlives
    "io_uring_setup",  # does other calls unseen by a filter
)
_MACHINES = {
    "x86_64": (0xC000003E, 41, (101, 310, 311, 438, 112, 109, 29, 30, 68, 64, 240, 248, 249, 250, 425)),
    "aarch64": (0xC00000B7, 198, (117, 270, 271, 438, 157, 154, 194, 196, 186, 190, 180, 217, 218, 219, 425)),
}
"""Of each processor: its name in a filter (AUDIT_ARCH), the number of socket(), those of _NAMES."""
_X32 = 0x40000000  # x86_64 has a second set of numbers from here on
_UNIX, _NETLINK = 1, 16
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the latter with EPERM
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # where they lie in what a filter is shown
_SET_SECCOMP, _FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def refuse_calls(library: ctypes.CDLL, *, several: bool) -> bool:
    """From here on this thread and all that it starts are refused these calls, and sockets but those of `several`
    processes of one job, which talk to each other. False where the system or the processor has no such filter. The
    caller has given up new privileges."""
    if platform.machine() not in _MACHINES:
        return False
    steps = list(_steps(*_MACHINES[platform.machine()], several))
    program = _Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
    return bool(library.prctl(_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(program)) == 0)


def _steps(architecture: int, socket: int, refused: tuple[int, ...], several: bool) -> Iterator[tuple[int, ...]]:
    """(operation, how many steps to skip if it holds, if it does not, operand); it ends at a return."""
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 1, 0, architecture
    yield _RETURN, 0, 0, _REFUSE
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, 0, 1, _X32
    yield _RETURN, 0, 0, _REFUSE
    for number in refused:
        yield _EQUAL, 0, 1, number
        yield _RETURN, 0, 0, _REFUSE
    yield _EQUAL, 1, 0, socket
    yield _RETURN, 0, 0, _ALLOW
    yield _LOAD, 0, 0, _FIRST_ARGUMENT
    for family in (_NETLINK, *([_UNIX] if several else [])):  # the former only tells of this machine's interfaces
        yield _EQUAL, 0, 1, family
        yield _RETURN, 0, 0, _ALLOW
    yield _RETURN, 0, 0, _REFUSE
