"""The process that a defense works in: `python -m bench.isolation.worker`, started by process.py.

It reads from its standard input one line of JSON (what the fence lets through), then a pickled Job; it writes to its
standard output lines of JSON and, after the last one, the arrays of the answer. What the defense prints goes to the
standard error, and it reads nothing. When the input ends, the harness has: so does this process.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from .fence import close_fence


def main() -> None:
    """Answer one job, and end."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked = os.fdopen(os.dup(0), "rb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)  # a defense that reads its input would wait for ever
    os.close(nowhere)
    lock = threading.Lock()

    def tell(message: dict[str, Any], data: bytes = b"") -> None:
        with lock:
            out.write(json.dumps(message).encode() + b"\n" + data)
            out.flush()

    given = json.loads(asked.readline())
    for name in given["packages"]:  # Python remembers which folder of its path holds them: not all may be listed later
        importlib.machinery.PathFinder.find_spec(name)
    tell({"fenced": close_fence(given["read"], given["write"], several=given["several"])})
    pickled = asked.read(given["bytes"])
    threading.Thread(target=_end_with_the_harness, args=[asked.fileno()], daemon=True).start()
    _answer(pickled, tell)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # whatever threads the defense has left


def _end_with_the_harness(asked: int) -> None:
    """Wait for the end of this pipe, then end all processes of this one's group."""
    while os.read(asked, 1):
        pass
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _answer(pickled: bytes, tell: Callable[..., None]) -> None:
    import io
    import pickle

    import numpy as np

    module = ""
    try:
        job = pickle.loads(pickled)  # imports the defense: only here, behind the fence
        from bench.store import highest_mb

        module = type(job.defense).__module__
        arrays, words = job.answer(
            lambda what, done, total: tell({"what": str(what), "done": int(done), "total": int(total)})
        )
        data = io.BytesIO()
        if arrays:
            np.savez(data, **arrays)
        tell({"answer": words, "bytes": data.tell(), "peak_memory_mb": highest_mb()}, data.getvalue())
    except BaseException as error:
        tell(_failure(error, module))


def _failure(error: BaseException, module: str) -> dict[str, Any]:
    """What went wrong, with the lines of the traceback that are the defense's, a class of `module`."""
    from bench.errors import BenchError, UndeclaredNeed, in_one_line
    from bench.plugins.trace import own_lines

    undeclared = isinstance(error, UndeclaredNeed)
    if isinstance(error, BenchError):
        return {"failed": str(error), "undeclared": undeclared}
    if isinstance(error, SystemExit):
        return {"failed": f"called sys.exit({error.code!r}); expected it to return, or to raise an error", "trace": ""}
    return {"failed": f"failed: {in_one_line(error)}", "trace": own_lines(error, [module])}


if __name__ == "__main__":
    main()
