"""The campaign of malformed inputs: `python tests/campaign/malformed.py --inputs 2000 --seed 0`.

Each input is one call in a process that serves many (torch is loaded once). A fault is a traceback, an exit code that
is none of 0, 1 and 2, more than `--limit` seconds, or more than MOST_MB of memory; it is printed as a line of JSON with
the number by which it is made again: `--only NUMBER`.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

MOST_MB = 4096
CODES = (0, 1, 2)
HERE = Path(__file__)


def serve(numbers: Sequence[int], seed: int, store: Path, limit: float) -> None:
    """Make the inputs of these numbers, one after the other, and print what came of each as a line of JSON."""
    import inputs

    from bench.cli import common, main as cli
    from bench.estimate import estimate
    from bench.estimate.pace import Pace

    estimate.measure_pace = lambda *_, **__: Pace(0.01, 0.01, "the campaign")  # a trial is a training
    common.show_log = lambda: None
    names, out = list(inputs.KINDS), os.fdopen(os.dup(1), "w")
    resource.setrlimit(resource.RLIMIT_DATA, (2 * MOST_MB << 20,) * 2)
    for number in numbers:
        rng, name = random.Random(f"{seed}/{number}"), names[number % len(names)]
        print(json.dumps({"number": number, "kind": name}), file=out, flush=True)
        said: dict[str, Any] = {"number": number, "kind": name}
        with tempfile.TemporaryDirectory() as folder:
            call = inputs.KINDS[name](rng, Path(folder), store)
            said["call"] = repr(call)[:300]
            errors = io.StringIO()
            faulthandler.dump_traceback_later(limit, exit=True)
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
                    said["code"] = cli.guarded(call)
            except BaseException:
                said["trace"] = traceback.format_exc()[-1500:]
            said["error"] = errors.getvalue()[-300:]
            faulthandler.cancel_dump_traceback_later()
        said["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(said), file=out, flush=True)


def campaign(numbers: Sequence[int], seed: int, store: Path, limit: float = 60) -> Iterator[dict[str, Any]]:
    """What came of each input; a process that ended in the middle of one is started again after it."""
    left = list(numbers)
    while left:
        numbers = json.dumps(left)
        command = [sys.executable, HERE, "--serve", numbers, "--seed", seed, "--store", store, "--limit", limit]
        with tempfile.TemporaryFile("w+") as errors:
            words = [str(each) for each in command]
            with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    if "mb" in (said := json.loads(line)):
                        left.pop(0)
                        yield said
            errors.seek(0)
            last = errors.read()[-1500:]
        if left:  # it has ended in the middle of the first of these, or before it
            yield {"number": left.pop(0), "ended": process.returncode, "trace": last}


def fault(said: dict[str, Any]) -> bool:
    """Whether this is what must not be."""
    return "trace" in said or said["code"] not in CODES or said["mb"] > MOST_MB


def make_store(store: Path) -> None:
    """A finished run of the preset `smoke` and its submission."""
    bench = [sys.executable, "-m", "bench"]
    if not (store / "submission.zip").exists():
        subprocess.run([*bench, "run", "--preset", "smoke", "--store", store], check=True, stdout=subprocess.DEVNULL)
        record = next((store / "records").glob("*poisoncam*.json"))
        submit = [*bench, "submit", record, "--store", store, "--output", store / "submission.zip"]
        subprocess.run(submit, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*")
    parser.add_argument("--store", type=Path, required=True, help="kept, and used again by the next campaign")
    parser.add_argument("--limit", type=float, default=60, help="seconds for each input")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(json.loads(given.serve), given.seed, given.store, given.limit)
        return
    make_store(given.store)
    counts: Counter[str] = Counter()
    for said in campaign(given.only or range(given.inputs), given.seed, given.store, given.limit):
        counts["faults" if fault(said) else f"exit code {said['code']}"] += 1
        if fault(said) or given.only:
            print(json.dumps(said), flush=True)  # noqa: T201
    print(dict(counts))  # noqa: T201


if __name__ == "__main__":
    main()
