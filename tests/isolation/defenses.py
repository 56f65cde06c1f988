"""Defenses for test_process.py, in a file of their own: each does what its `act` names."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench import Defense, Grouping, Verdict


def tried(act):
    try:
        return act() and "done"
    except PermissionError:
        return "refused"


def _raise():
    raise ValueError("mine")


@dataclass(frozen=True, kw_only=True)
class Acting(Defense):
    """Keeps the images whose first pixel is under 128; `act` says what it does before."""

    name: ClassVar[str] = "acting"
    act: str = ""
    file: str = ""

    def clean(self, view):
        first = view.batch(range(len(view)))[:, 0, 0, 0].numpy()
        facts = {"first": first.tolist(), "seed": view.seeds("a").value}
        facts |= getattr(self, f"_{self.act or 'plain'}")(view) or {}
        return Verdict(keep=first < 128, score=first / 255, facts=facts)

    def _plain(self, view):
        print("from inside")  # noqa: T201
        view.progress("rows", 1, 2)
        return {"pid": os.getpid(), "bench": [name for name in os.environ if name.startswith("BENCH")]}

    def _count_threads(self, view):
        import faiss
        import torch

        return {"threads": [torch.get_num_threads(), faiss.omp_get_max_threads(), int(os.environ["OMP_NUM_THREADS"])]}

    def _touch(self, view):
        Path("mine.txt").write_text("temporary")
        given = Path(self.file)
        images = Path("../images/images.npy")
        acts = given.read_text, given.with_name("other").read_text, images.read_bytes, lambda: images.write_text("x")
        return {"touched": [tried(act) for act in acts]}

    def _say(self, view):
        view.progress(self.file, 1, 2)
        raise ValueError(self.file)

    def _calls(self, view):
        """What would leave a note for another run, hear one beside it, or hinder the harness."""
        import ctypes
        import fcntl
        import mmap
        import resource
        import socket

        own, parent = Path("own"), os.getppid()
        own.write_text("x")
        before = own.stat()
        os.utime(own, (1, 1))
        own.chmod(0o700)
        after = own.stat()
        with own.open() as one, own.open() as other:
            fcntl.flock(one, fcntl.LOCK_EX)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # would raise if there were a lock
        library = ctypes.CDLL(None, use_errno=True)

        def called(name, *arguments):
            if getattr(library, name)(*arguments) == -1:
                raise OSError(ctypes.get_errno(), name)
            return True

        page = mmap.mmap(-1, mmap.PAGESIZE)
        place = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        acts = {
            "an attribute": lambda: os.setxattr(own, "user.a", b"1") is None,
            "limits of the harness": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
            "its priority": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19) is None,
            "its processors": lambda: os.sched_setaffinity(parent, {0}) is None,
            "what others open": lambda: called("inotify_init1", 0),
            "what is in memory": lambda: called("mincore", place, ctypes.c_size_t(1), ctypes.create_string_buffer(1)),
            "a pair of datagrams": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
            "its own limits": lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
            "its own priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0)) is None,
            "a pair of streams": socket.socketpair,
            "interfaces": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        }
        same = {True: "unchanged", False: "changed"}
        told = {"times": same[after.st_mtime == before.st_mtime], "rights": same[after.st_mode == before.st_mode]}
        return {"calls": {**told, **{name: tried(act) for name, act in acts.items()}}}

    def _raise(self, view):
        _raise()

    def _look(self, view):
        """What it holds open, which program it is, and what an earlier one may have left."""
        import bench

        environment = dict(os.environ)  # before what torch adds
        handles = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.exists()]
        left, bench.left = getattr(bench, "left", "nothing"), "something"
        program = "forked" if "bench.isolation.forks" in sys.orig_argv else "started"
        return {
            "open": sorted(re.sub(r"\d+", "", each) for each in handles),
            "program": program,
            "left": left,
            "drawn": float(np.random.random()),  # noqa: NPY002
            "environment": environment,
            "leads": os.getsid(0) == os.getpid() == os.getpgid(0),
            "folder": str(Path.cwd()) == os.environ["TMPDIR"] == tempfile.gettempdir(),
        }

    def _die(self, view):
        kept = view.step("a", lambda: {"pid": np.array(os.getpid())})["pid"]
        if kept == os.getpid():
            os.kill(os.getpid(), signal.SIGKILL)
        return {"kept": int(kept)}

    def _wait(self, view):
        with subprocess.Popen(["/bin/sleep", "60"]):
            view.progress("waiting", os.getpid(), 1 << 30)

    def _lie(self, view):
        for number in range(3, 20):
            try:
                os.write(number, b'{"answer": {}, "bytes": "all"}\n')
            except OSError:
                continue

    def attention(self, view, indices):
        return view.batch(indices)[:, 0].float().numpy(), np.zeros((len(indices), 4), np.int64)

    def grouping(self, view, verdict):
        return Grouping((~verdict.keep).astype(np.int64), np.array([0.0, 1.0]), "by its verdict")


@dataclass(frozen=True, kw_only=True)
class Reading(Acting):
    """Tells all that it can read of where its files lie; with the encoder."""

    name: ClassVar[str] = "reading"
    needs: ClassVar[frozenset[str]] = frozenset({"encoder"})

    def _plain(self, view):
        view.encoder(view.batch([0]))
        frame, said = sys._getframe(), [repr(dict(os.environ)), repr(sys.orig_argv), str(Path.cwd())]
        while frame is not None:
            said += [repr(value) for value in frame.f_locals.values()]
            frame = frame.f_back
        said += [Path("/proc/self", each).read_text() for each in ("maps", "mountinfo", "environ", "cmdline")]
        said += [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.exists()]
        return {"keys": sorted(set(re.findall("[0-9a-f]{64}", " ".join(said)))), "cwd": str(Path.cwd())}
