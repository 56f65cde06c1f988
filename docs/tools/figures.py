"""Draws the figures of the pages from the committed records: docs/figures/NAME.svg.

    python docs/tools/figures.py            # draws all
    python docs/tools/figures.py --check    # draws nothing; names those whose numbers have changed, exit code 1

A figure carries a hash of its numbers, and is checked by them, not by how a version of matplotlib draws.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RECORDS, FIGURES = ROOT / "leaderboards" / "records", ROOT / "docs" / "figures"
PRESETS = {
    "laptop": "drawn, 32 px",
    "vivid": "drawn, colourful things",
    "desk": "drawn, 64 px",
    "cifar10-cpu": "CIFAR-10, 32 px",
}
SMALL = 5000
"""Training images: of one seed of a larger set no spread could be drawn."""
PATCHES = ("htba", "htba-muted", "htba-varied", "two targets", "three targets")
WHOLE = ("corrupt-encoder", "the same, muted", "noisy-alignment", "sig", "blend", "fiba", "ctrl")
ATTACKS = {"": PATCHES, ", layouts and triggers over the whole image": WHOLE}
"""What is said of a row of panels behind its preset -> its attacks."""
FILTERS = (
    *("recur", "poisoncam", "patchsearch", "cognitive-distillation", "compactness", "knn-density", "spectral"),
    *("activation-clustering", "isolation-forest", "colour"),
)
Numbers = dict[str, dict[str, dict[str, list[float]]]]
"""A row of panels -> panel -> line -> a percentage for each seed."""


def attack_of(record: Mapping[str, Any]) -> str:
    """The attack in words: several targets are counted."""
    name, options = record["run"]["attack"], record["config"]["attack"]
    if name == "multi-target":
        return {2: "two targets", 3: "three targets"}[len(options["target_classes"])]
    return "the same, muted" if name == "corrupt-encoder" and options["saturation"] < 1 else str(name)


def detection(records: list[dict[str, Any]]) -> Numbers:
    """The average precision of every filter: a row for each preset, a panel for each attack."""
    found: Numbers = {
        about + more: {attack: {} for attack in every} for about in PRESETS.values() for more, every in ATTACKS.items()
    }
    rows = {attack: more for more, every in ATTACKS.items() for attack in every}
    for record in records:
        run, attack = record["run"], attack_of(record)
        if run["until"] == "detection" and attack in rows and run["defense"] in FILTERS:
            value = round(record["metrics"]["detection"]["average_precision"], 1)
            panels = found[PRESETS[run["preset"]] + rows[attack]]
            panels[attack].setdefault(run["defense"], []).append(value)
    panels = {about: {name: part for name, part in panels.items() if part} for about, panels in found.items()}
    return {about: part for about, part in panels.items() if part}


def attacks(records: list[dict[str, Any]]) -> Numbers:
    """The ASR before any defense, of "no-attack" the natural one: a panel for each preset."""
    found: dict[str, dict[str, dict[int, float]]] = {about: {} for about in PRESETS.values()}
    for record in records:
        value = round(record["metrics"]["none"]["poisoned"]["asr"], 1)
        seeds = found[PRESETS[record["run"]["preset"]]].setdefault(attack_of(record), {})
        seeds[record["run"]["seed"]] = value
    lists = {about: {attack: [*seeds.values()] for attack, seeds in part.items()} for about, part in found.items()}
    return {"": {about: part for about, part in lists.items() if part}}


def drawn(numbers: Numbers, rows: tuple[str, ...], label: str, path: Path) -> None:
    """The panels, a line for each of `rows`, a dot for each seed; baselines in grey."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    across = max(len(part) for part in numbers.values())
    style = {
        "svg.hashsalt": path.stem,
        "svg.fonttype": "none",
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with plt.rc_context(style):
        width, height = 1.5 + 1.45 * across, 0.55 + (0.17 * len(rows) + 0.5) * len(numbers)
        figure, axes = plt.subplots(
            len(numbers), across, sharex=True, sharey=True, squeeze=False, figsize=(width, height)
        )
        figure.subplots_adjust(left=1.4 / width, right=1 - 0.1 / width, bottom=0.2 / height, top=1 - 0.65 / height)
        figure.subplots_adjust(wspace=0.15, hspace=0.5 / (0.17 * len(rows)))
        for line, (about, part) in zip(axes, numbers.items(), strict=True):
            for place, axis in enumerate(line):
                if place >= len(part):
                    axis.set_axis_off()
                    continue
                name = list(part)[place]
                axis.set_title(f"{about}\n{name}" if about and place == 0 else name, fontsize=8, loc="left")
                axis.set(yticks=range(len(rows)), yticklabels=rows, xlim=(-4, 104), ylim=(len(rows) - 0.4, -0.6))
                axis.grid(axis="y", linewidth=0.4, alpha=0.4)
                for row, shown in enumerate(rows):
                    values = part[name].get(shown, [])
                    colour = "#6e6e6e" if shown in FILTERS[3:] else "#0072b2"
                    axis.plot(values, [row] * len(values), "o", markersize=3.5, alpha=0.6, color=colour, clip_on=False)
        figure.suptitle(label, fontsize=8, x=0.01, ha="left")
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, metadata={"Date": None, "Description": stamp(numbers)})
        plt.close(figure)


def stamp(numbers: Numbers) -> str:
    """What a figure carries of its numbers."""
    return f"numbers {hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw the figures of the pages.")
    parser.add_argument("--check", action="store_true", help="draw nothing; exit code 1 if a figure is stale")
    check = parser.parse_args(arguments).check
    every = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(RECORDS.glob("*.json"))]
    records = [
        record
        for record in every
        if record["config"]["ssl"]["name"] == "moco_v3" and record["dataset"]["counts"]["train"] <= SMALL
    ]
    kinds = ("no-attack", *PATCHES, *WHOLE)
    figures = {
        "detection": (detection(records), FILTERS, "average precision, percent; a dot for each seed"),
        "attacks": (attacks(records), kinds, "ASR without a defense, percent; a dot for each seed"),
    }
    stale = []
    for name, (numbers, rows, label) in figures.items():
        path = FIGURES / f"{name}.svg"
        if check:
            stale += [] if path.is_file() and stamp(numbers) in path.read_text(encoding="utf-8") else [path.name]
        else:
            drawn(numbers, rows, label, path)
    for name in stale:
        print(f"docs/figures/{name} does not show the records: run python docs/tools/figures.py")  # noqa: T201
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
