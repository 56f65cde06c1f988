"""System calls that a defense's process does without: on Linux a filter (seccomp) refuses them with PermissionError.

Landlock closes files. What is refused here are other ways to the memory and the files of other processes, to a network,
and to what outlives the process or is seen by one beside it: a defense that knows the images of another run, under
another attack, knows which ones are poisoned. Nobody can leave the process's group, so that all it has started ends
with it.
Source: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterator

_CALLS: dict[str, tuple[int | None, int | None]] = {
    # Into other processes, or out of the group.
    **{
        "ptrace": (101, 117),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "pidfd_getfd": (438, 438),
    },
    **{"setsid": (112, 157), "setpgid": (109, 154), "perf_event_open": (298, 241), "bpf": (321, 280)},
    # What outlives the process.
    **{"shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180)},
    **{"add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219)},
    # Notes on a file that may only be read.
    **{"setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463)},
    **{"removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466)},
    "file_setattr": (469, 469),
    # What others read meanwhile, or have read.
    **{"inotify_init": (253, None), "inotify_init1": (294, 26), "fanotify_init": (300, 262)},
    **{"mincore": (27, 232), "cachestat": (451, 451), "preadv2": (327, 286)},
    # Slows others down; does other calls unseen by a filter.
    **{"ioprio_set": (251, 30), "io_uring_setup": (425, 425)},
}
"""Refused: their numbers on x86-64 and on ARM64."""
_EMPTY: dict[str, tuple[int | None, int | None]] = {
    **{"chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452)},
    **{"chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54)},
    **{"utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88)},
    **{"flock": (73, 32), "fadvise64": (221, 223)},
}
"""Succeed and do nothing, since libraries call them on files of their own: rights, times and locks of a file that two
processes may open carry messages, too."""
_ON_ITSELF = {"prlimit64": (302, 261), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119)}
_ON_ITSELF |= {"sched_setaffinity": (203, 122), "sched_setattr": (314, 274)}
"""Refused on another process: their first argument has to be 0."""
_SOCKET, _SOCKETPAIR, _FCNTL, _IOCTL, _SETPRIORITY = (41, 198), (53, 199), (72, 25), (16, 29), (141, 140)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Of each processor: which of the two numbers is its own, and its name in a filter (AUDIT_ARCH)."""
_X32 = 0x40000000  # x86_64 has a second set of numbers from here on
_UNIX, _NETLINK, _STREAM, _SEQPACKET, _TYPES = 1, 16, 1, 5, 0xF
_LOCKS = (5, 6, 7, 36, 37, 38)  # F_GETLK, F_SETLK, F_SETLKW, and those of open files
_REQUESTS = (0x40086602, 0x40046602, 0x401C5820, 0x5412, 0x541C)  # flags of a file; what a terminal is to have read
_ALLOW, _REFUSE, _NOTHING = 0x7FFF0000, 0x00050001, 0x00050000  # with EPERM; with 0, which is success
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # where they lie in what a filter is shown
_SET_SECCOMP, _FILTER = 22, 2
Step = tuple[int, int, int, int]
"""Operation, how many steps to skip if it holds, if it does not, operand."""


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


def _steps(own: int, architecture: int, several: bool) -> Iterator[Step]:
    """Those of the filter, which ends at a return."""
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 1, 0, architecture
    yield _RETURN, 0, 0, _REFUSE
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, 0, 1, _X32
    yield _RETURN, 0, 0, _REFUSE
    for calls, answer in ((_CALLS, _REFUSE), (_EMPTY, _NOTHING)):
        for numbers in calls.values():
            yield from _call(numbers[own], [(_RETURN, 0, 0, answer)])
    for numbers in _ON_ITSELF.values():
        yield from _call(numbers[own], _argument(0, (0,), _ALLOW, _REFUSE))
    yield from _call(_SETPRIORITY[own], [*_other_than(0, 0, _REFUSE), *_argument(1, (0,), _ALLOW, _REFUSE)])
    yield from _call(_FCNTL[own], _argument(1, _LOCKS, _NOTHING, _ALLOW))
    yield from _call(_IOCTL[own], _argument(1, _REQUESTS, _REFUSE, _ALLOW))
    unix = [(_EQUAL, 0, 1, _UNIX), (_RETURN, 0, 0, _ALLOW)] if several else []
    # Netlink's first protocol tells of this machine's interfaces; by others processes talk to each other.
    netlink = [(_EQUAL, 1, 0, _NETLINK), (_RETURN, 0, 0, _REFUSE), *_argument(2, (0,), _ALLOW, _REFUSE)]
    yield from _call(_SOCKET[own], [(_LOAD, 0, 0, _ARGUMENTS), *unix, *netlink])
    if not several:  # a datagram of a pair may go to any other socket
        yield from _call(_SOCKETPAIR[own], _argument(1, (_STREAM, _SEQPACKET), _ALLOW, _REFUSE, mask=_TYPES))
    yield _RETURN, 0, 0, _ALLOW


def _call(number: int | None, then: list[Step]) -> Iterator[Step]:
    """Steps for one call, which end at a return; the number stays loaded for the others. None: there is no such one."""
    if number is not None:
        yield _EQUAL, 0, len(then), number
        yield from then


def _argument(place: int, values: tuple[int, ...], one: int, other: int, mask: int = 0) -> list[Step]:
    """Return `one` if the lower half of the argument, of these bits, is among the values, else `other`."""
    loaded = [(_LOAD, 0, 0, _ARGUMENTS + 8 * place), *([(_AND, 0, 0, mask)] if mask else [])]
    tried = [step for value in values for step in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, one))]
    return [*loaded, *tried, (_RETURN, 0, 0, other)]


def _other_than(place: int, value: int, answer: int) -> list[Step]:
    """Return `answer` unless the argument has the value."""
    return [(_LOAD, 0, 0, _ARGUMENTS + 8 * place), (_EQUAL, 1, 0, value), (_RETURN, 0, 0, answer)]
