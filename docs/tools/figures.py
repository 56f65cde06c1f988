"""Draws the figures of the pages from the committed records: docs/figures/NAME.svg.

    python docs/tools/figures.py            # draws all
    python docs/tools/figures.py --check    # draws nothing; names those whose numbers have changed, exit code 1

A figure carries a hash of its numbers, and is checked by them, not by how a version of matplotlib draws.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.boards.statistics import mean_interval
from bench.records.record import measured

ROOT = Path(__file__).parents[2]
RECORDS, FIGURES = ROOT / "leaderboards" / "records", ROOT / "docs" / "figures"
PRESETS = {
    "laptop": "drawn (laptop)",
    "vivid": "drawn, colourful (vivid)",
    "cifar10-cpu": "photographs",
    "cifar10-stickers": "photographs, stickers",
    "desk": "drawn, rare poison (desk)",
}
SMALL = 5000
"""Training images: of one seed of a larger set no spread could be drawn."""
ATTACKS = (
    *("htba", "htba-muted", "htba-varied", "two targets", "three targets"),
    *("two targets, muted", "three targets, muted"),
    *("corrupt-encoder", "corrupt-encoder, muted", "noisy-alignment", "sig", "blend", "fiba", "ctrl"),
)
SEARCHES = {"poisoncam": "PoisonCAM", "patchsearch": "PatchSearch"}
BASELINES = ("colour-count", "palette", "colour", "compactness", "spectral")
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
AFTER = (
    *("none", "recur", "poisoncam", "patchsearch", "palette", "colour-count", "spectral"),
    *("icutmix", "recur+icutmix", "poisoncam+icutmix", "patchsearch+icutmix"),
    *("distill", "recur+distill", "finetune", "recur+finetune", "oracle", "random", "clean-set"),
)
"""Lines of whole runs, in their order in the figure."""
MEASURES = {
    "detection.precision": "precision",
    "detection.recall": "recall",
    "detection.average_precision": "average precision",
    "localisation.10.cr": "catch rate, top 10",
    "localisation.100.cr": "catch rate, top 100",
}
Record = Mapping[str, Any]
Mark = list[float]
"""Middle, lower and upper end."""
Panel = dict[str, dict[str, Mark]]
"""Row -> series -> mark."""


@dataclass(frozen=True)
class Figure:
    """Panels beside each other that share their rows."""

    label: str
    rows: Sequence[str]
    series: Sequence[str]
    panels: Mapping[str, Panel]
    span: tuple[float, float] = (0, 100)


def attack_of(record: Record) -> str:
    """The attack in words: several targets are counted."""
    name, options = record["run"]["attack"], record["config"]["attack"]
    if name.startswith("multi-target"):
        many = {2: "two targets", 3: "three targets"}[len(options["target_classes"])]
        return f"{many}, muted" if name.endswith("-muted") else many
    return "corrupt-encoder, muted" if name == "corrupt-encoder" and options["saturation"] < 1 else str(name)


def at(record: Record, path: str) -> float | None:
    """The number at a dotted path of the metrics, where there is one."""
    found: Any = record["metrics"]
    for name in path.split("."):
        found = found.get(name) if found else None
    return None if found is None else float(found)


def spread(values: Iterable[float]) -> Mark:
    """The mean, and the least and the largest."""
    every = list(values)
    return [round(value, 1) for value in (statistics.fmean(every), min(every), max(every))]


Cells = Mapping[tuple[str, str, str], Mapping[int, Record]]
"""Preset, attack, defense -> seed -> its record, of those that end with the verdict."""


def verdicts(records: Iterable[Record]) -> Cells:
    """The records that end with the verdict of a filter. Raises ValueError where two are of one run."""
    found: dict[tuple[str, str, str], dict[int, Record]] = defaultdict(dict)
    for record in records:
        run = record["run"]
        if run["until"] == "detection":
            cell = run["preset"], attack_of(record), run["defense"]
            if run["seed"] in found[cell]:
                raise ValueError(f"two records of {cell}, seed {run['seed']}")
            found[cell][run["seed"]] = record
    return found


Marks = Callable[[str, str], Mark | None]
"""The mark of a series by preset and attack."""


def precision_of(cells: Cells, defense: str, preset: str, attack: str) -> Mark | None:
    """The average precision over the seeds; None where it was not measured, or where nothing is poisoned."""
    found = [at(each, "detection.average_precision") for each in cells.get((preset, attack, defense), {}).values()]
    values = [value for value in found if value is not None]
    return spread(values) if values else None


def precisions(shown: Mapping[str, Marks]) -> Figure:
    """A panel for each of four presets, a row for each attack."""
    panels = {
        PRESETS[preset]: {
            row: {name: mark for name, marks in shown.items() if (mark := marks(preset, row)) is not None}
            for row in ATTACKS
        }
        for preset in ("laptop", "vivid", "cifar10-cpu", "cifar10-stickers")
    }
    return Figure("average precision, percent: mean, least and largest of five seeds", ATTACKS, [*shown], panels)


def searches(cells: Cells) -> Figure:
    """Average precision of the two searches."""
    return precisions({title: partial(precision_of, cells, name) for name, title in SEARCHES.items()})


def baselines(cells: Cells) -> Figure:
    """The same of baselines."""
    return precisions({name: partial(precision_of, cells, name) for name in BASELINES})


def recur(cells: Cells) -> Figure:
    """The same of recur, and of whatever other line has the best mean."""

    def best(names: Iterable[str]) -> Marks:
        def mark(preset: str, attack: str) -> Mark | None:
            found = (precision_of(cells, name, preset, attack) for name in names)
            return max(filter(None, found), default=None)

        return mark

    others = sorted({defense for _, _, defense in cells} - {"recur", *SEARCHES})
    own = partial(precision_of, cells, "recur")
    return precisions({"recur": own, "the better search": best(SEARCHES), "the best baseline": best(others)})


def lead(cells: Cells) -> Figure:
    """PoisonCAM less PatchSearch, seed by seed: means and 95 % intervals, a panel for each measure."""
    rows = {
        f"{attack}, {about}": (preset, attack)
        for preset, about in PRESETS.items()
        for attack in ATTACKS[:5]
        if (preset, attack, "poisoncam") in cells
    }
    panels: dict[str, Panel] = {}
    for path, title in MEASURES.items():
        panel: Panel = {}
        for row, place in rows.items():
            one, other = cells[*place, "poisoncam"], cells[*place, "patchsearch"]
            pairs = [(at(one[seed], path), at(other[seed], path)) for seed in one if seed in other]
            known = [a - b for a, b in pairs if a is not None and b is not None]
            if len(known) > 1:
                mean, half = mean_interval(known)
                panel[row] = {"": [round(value, 1) for value in (mean, mean - half, mean + half)]}
        panels[title] = panel
    label = (
        "PoisonCAM less PatchSearch, points: mean and 95 % interval of five seeds; right of the line PoisonCAM leads"
    )
    return Figure(label, [*rows], [""], panels, (-60, 60))


def after(records: Sequence[Record], presets: Collection[str], seeds: str) -> Figure:
    """ACC and ASR after whole runs, a panel for each attack of one of the presets that has runs with `oracle`."""
    whole = [each for each in records if "defended" in each["metrics"] and each["run"]["preset"] in presets]
    values: dict[str, dict[str, dict[str, dict[int, float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for record in whole:
        run, metrics = record["run"], record["metrics"]
        panel = values[f"{attack_of(record)}\n{run['preset']}"]
        for line, found in (("none", metrics["none"]), (run["defense"], metrics["defended"])):
            panel[line]["ASR"][run["seed"]] = found["poisoned"]["asr"]
            panel[line]["ACC"][run["seed"]] = found["clean"]["acc"]
    panels = {
        title: {line: {name: spread(found.values()) for name, found in of.items()} for line, of in panel.items()}
        for title, panel in sorted(values.items())
        if "oracle" in panel
    }
    known = {line for panel in panels.values() for line in panel}
    label = f"after the defense, percent: mean, least and largest of {seeds} seeds"
    return Figure(label, [line for line in AFTER if line in known], ["ASR", "ACC"], panels)


def strengths(records: Iterable[Record]) -> Figure:
    """The ASR before any defense, of "no-attack" the natural one: a panel for each preset."""
    found: dict[str, dict[str, dict[int, float]]] = {about: defaultdict(dict) for about in PRESETS.values()}
    for record in records:
        about, run = PRESETS[record["run"]["preset"]], record["run"]
        found[about][attack_of(record)][run["seed"]] = record["metrics"]["none"]["poisoned"]["asr"]
    panels = {
        about: {row: {"": spread(seeds.values())} for row, seeds in part.items()} for about, part in found.items()
    }
    rows = ("no-attack", *ATTACKS)
    return Figure("ASR without a defense, percent: mean, least and largest of five seeds", rows, [""], panels)


def drawn(figure: Figure, path: Path) -> None:
    """A line from end to end with a dot in the middle for each mark."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    style = {
        "svg.hashsalt": path.stem,
        "svg.fonttype": "none",
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    rows, several = figure.rows, len(figure.series)
    left = 0.3 + 0.062 * max(map(len, rows))
    width = left + 0.2 + len(figure.panels) * min(2.4, 7.5 / len(figure.panels))
    head = 0.7 + 0.14 * max(title.count("\n") for title in figure.panels)
    height = head + 0.25 + len(rows) * (0.15 + 0.05 * several)
    low, high = figure.span
    with plt.rc_context(style):
        canvas, axes = plt.subplots(1, len(figure.panels), sharex=True, sharey=True, squeeze=False)
        canvas.set_size_inches(width, height)
        canvas.subplots_adjust(left=left / width, right=1 - 0.15 / width, wspace=0.12)
        canvas.subplots_adjust(bottom=0.25 / height, top=1 - head / height)
        for axis, (title, panel) in zip(axes[0], figure.panels.items(), strict=True):
            axis.set_title(title, fontsize=8, loc="left")
            margin = 0.04 * (high - low)
            axis.set(yticks=range(len(rows)), yticklabels=rows, xlim=(low - margin, high + margin))
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.grid(axis="x", linewidth=0.4, alpha=0.4)
            for row in range(1, len(rows), 2):
                axis.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", zorder=0)
            if low < 0:
                axis.axvline(0, color="#444444", linewidth=0.8)
            for place, name in enumerate(figure.series):
                marks = [(row, panel[each][name]) for row, each in enumerate(rows) if name in panel.get(each, {})]
                where = [row + 0.72 * ((place + 0.5) / several - 0.5) for row, _ in marks]
                colour = COLOURS[place]
                middle, least, most = zip(*(mark for _, mark in marks), strict=True) if marks else ((), (), ())
                axis.hlines(where, least, most, color=colour, linewidth=1.2, alpha=0.55)
                axis.plot(middle, where, "o", markersize=3.6, color=colour, label=name, clip_on=False)
        canvas.suptitle(figure.label, fontsize=8, x=0.08 / width, ha="left", y=1 - 0.05 / height)
        if several > 1:
            handles, names = axes[0][0].get_legend_handles_labels()
            place = (0.05 / width, 1 - 0.2 / height)
            canvas.legend(handles, names, loc="upper left", bbox_to_anchor=place, ncol=several, frameon=False)
        path.parent.mkdir(exist_ok=True)
        canvas.savefig(path, metadata={"Date": None, "Description": stamp(figure)})
        plt.close(canvas)


def stamp(figure: Figure) -> str:
    """What a figure carries of its numbers."""
    return f"numbers {hashlib.sha256(json.dumps(asdict(figure), sort_keys=True).encode()).hexdigest()}"


def shown(records: Iterable[Record]) -> list[Record]:
    """Those that were measured here, of the first SSL method and no larger set."""
    return [
        record
        for record in records
        if record["config"]["ssl"]["name"] == "moco_v3"
        and record["dataset"]["counts"]["train"] <= SMALL
        and measured(record)
    ]


def figures() -> dict[str, Figure]:
    """All, by the names of their files."""
    every = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(RECORDS.glob("*.json"))]
    records = shown(every)
    cells = verdicts(records)
    return {
        "searches": searches(cells),
        "lead": lead(cells),
        "baselines": baselines(cells),
        "recur": recur(cells),
        "after": after(records, ("laptop", "vivid"), "five"),
        "after-photographs": after(records, ("cifar10-cpu", "cifar10-stickers"), "three"),
        "attacks": strengths(records),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw the figures of the pages.")
    parser.add_argument("--check", action="store_true", help="draw nothing; exit code 1 if a figure is stale")
    check = parser.parse_args(arguments).check
    stale = []
    for name, figure in figures().items():
        path = FIGURES / f"{name}.svg"
        if check:
            stale += [] if path.is_file() and stamp(figure) in path.read_text(encoding="utf-8") else [path.name]
        else:
            drawn(figure, path)
    for name in stale:
        print(f"docs/figures/{name} does not show the records: run python docs/tools/figures.py")  # noqa: T201
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
