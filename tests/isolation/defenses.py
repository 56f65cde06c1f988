"""Defenses for test_process.py, in a file of their own: each does what its `act` names."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench import Defense, Grouping, Verdict

ANSWERS: dict[str, Any] = {
    "nothing": None,
    "a tuple": (np.ones(12, bool),),
    "a list as keep": Verdict(keep=[True] * 12),
    "numbers as keep": Verdict(keep=np.ones(12)),
    "text as score": Verdict(keep=np.ones(12, bool), score=np.array(["high"] * 12)),
    "objects as boxes": Verdict(keep=np.ones(12, bool), boxes=np.array([None] * 12)),
    "facts in a list": Verdict(keep=np.ones(12, bool), facts=[1]),
    "facts with number keys": Verdict(keep=np.ones(12, bool), facts={1: 2}),
    "facts that are not finite": Verdict(keep=np.ones(12, bool), facts={"x": float("nan")}),
    "facts of NumPy": Verdict(keep=np.ones(12, bool), facts={"x": np.int64(1)}),
    "too few": Verdict(keep=np.ones(11, bool)),
}


def _raise():
    raise ValueError("mine")


@dataclass(frozen=True, kw_only=True)
class Acting(Defense):
    """Keeps the images whose first pixel is under 128; `act` says what it does before."""

    name: ClassVar[str] = "acting"
    act: str = ""
    file: str = ""

    def clean(self, view):
        if self.act in ANSWERS:
            return ANSWERS[self.act]
        first = view.batch(range(len(view)))[:, 0, 0, 0].numpy()
        facts = {"first": first.tolist(), "seed": view.seeds("a").value}
        facts |= getattr(self, f"_{self.act or 'plain'}")(view) or {}
        return Verdict(keep=first < 128, score=first / 255, facts=facts)

    def _plain(self, view):
        print("from inside")  # noqa: T201
        view.progress("rows", 1, 2)
        return {"pid": os.getpid(), "bench": [name for name in os.environ if name.startswith("BENCH")]}

    def _read(self, view):
        return {"read": Path(self.file).read_text()}

    def _write(self, view):
        Path("mine.txt").write_text("temporary")
        Path(self.file).write_text("x")

    def _raise(self, view):
        _raise()

    def _exit(self, view):
        sys.exit(3)

    def _encoder(self, view):
        return {"dim": view.encoder.dim}

    def _die(self, view):
        kept = view.step("a", lambda: {"pid": np.array(os.getpid())})["pid"]
        if kept == os.getpid():
            os.kill(os.getpid(), signal.SIGKILL)
        return {"kept": int(kept)}

    def _wait(self, view):
        view.progress("waiting", os.getpid(), 1 << 30)
        time.sleep(60)

    def _lie(self, view):
        for number in range(3, 20):
            try:
                os.write(number, b'{"answer": {}, "bytes": "all"}\n')
            except OSError:
                continue

    def attention(self, view, indices):
        images = view.batch(indices)
        maps = images[:, 0].float().numpy() if self.act != "small maps" else np.zeros((1, 2, 2))
        return maps, np.zeros((len(indices), 4), np.int64)

    def grouping(self, view, verdict):
        labels = (~verdict.keep).astype(np.int64) if self.act != "no such group" else np.full(len(view), 7)
        return Grouping(labels, np.array([0.0, 1.0]), "by its verdict")
