"""Holds the times of a benchmark session against baseline.json: `python compare.py times.json [--update]`.

A time is the least of a benchmark's rounds, divided by that of the reference (a matrix product) in the same session, so
that another machine, or a busy one, gives about the same number. Exit code 1 where one is over `bound` times its
baseline, or is not in the baseline.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

BASELINE = Path(__file__).with_name("baseline.json")
REFERENCE = "test_reference"
BOUND = 3.0
"""Generous: machines differ in more than the speed of a matrix product, memory and disks above all."""


def ratios(report):
    """{benchmark: least time over that of the reference} of pytest-benchmark's JSON report."""
    times = {one["name"]: one["stats"]["min"] for one in report["benchmarks"]}
    if REFERENCE not in times:
        raise SystemExit(f"the report has no {REFERENCE}: run all of tests/benchmarks in one session")
    return {name: time / times[REFERENCE] for name, time in times.items() if name != REFERENCE}


def complaints(found, baseline):
    """A sentence for each benchmark that is too slow, new, or was not run."""
    known, bound = baseline["ratios"], baseline["bound"]
    for name in sorted(found.keys() | known.keys()):
        if name not in known:
            yield f"{name} is not in the baseline: add it with --update"
        elif name not in found:
            yield f"{name} was not run"
        elif found[name] > bound * known[name]:
            times = f"over {bound:g} times the baseline's {known[name]:.4g}"
            yield f"{name} takes {found[name]:.4g} matrix products, {times}"


def table(found, known):
    """One line for each benchmark: matrix products now, in the baseline, and now over then."""
    for name, ratio in sorted(found.items()):
        then = known.get(name)
        yield f"{name:<60} {ratio:>10.4g}" + (f" {then:>10.4g} {ratio / then:>6.2f}" if then else "")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--update", action="store_true", help="make this session the baseline")
    given = parser.parse_args(arguments)
    found = ratios(json.loads(given.report.read_text(encoding="utf-8")))
    if given.update:
        rounded = {name: float(f"{ratio:.3g}") for name, ratio in sorted(found.items())}
        given.baseline.write_text(json.dumps({"bound": BOUND, "ratios": rounded}, indent=2) + "\n", encoding="utf-8")
        return 0
    if not given.baseline.exists():
        raise SystemExit(f"there is no {given.baseline}: make this session the baseline with --update")
    baseline = json.loads(given.baseline.read_text(encoding="utf-8"))
    wrong = list(complaints(found, baseline))
    sys.stdout.write("\n".join([*table(found, baseline["ratios"]), *wrong]) + "\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
