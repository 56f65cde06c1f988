"""What a study leaves to read: a CSV with every value of every run, and markdown with mean and spread."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from bench import __version__
from bench.config.config import preset_names
from bench.errors import BenchError
from bench.leaderboard import escape
from bench.leaderboard.rows import UNDEFINED
from bench.records.metrics import METRIC_VERSION

from .engine import Row
from .plan import Cell, Plan
from .study import Panel

X = float | str
_HEAD = ("study", "preset", "dataset", "attack", "defense", "line", "step", "x", "seed", "settings", "status")
_PRINT = "- Dataset fingerprint "
_KEYS = ("threat_model", "search", "retraining")


class Stat(NamedTuple):
    """Of one measure over the seeds: the mean, the sample standard deviation (None of a single seed)."""

    mean: float
    spread: float | None


class Curve(NamedTuple):
    """One curve of a panel: its points by x, in order."""

    name: str
    points: dict[X, Stat]


# --- CSV ------------------------------------------------------------------------------------------


def to_csv(plan: Plan, rows: Sequence[Row]) -> str:
    """One row for each cell and seed: what it is, the keys of its artifacts, then every measure; empty = undefined."""
    names = sorted({name for row in rows for name in row.values}, key=_by_number)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_HEAD, *(f"{name}_key" for name in _KEYS), *names])
    for row in rows:
        keys = [row.keys.get(name, "") for name in _KEYS]
        values = [row.values.get(name) for name in names]
        writer.writerow([*_facts(plan, row), *keys, *("" if value is None else repr(value) for value in values)])
    return text.getvalue()


def from_csv(plan: Plan, text: str) -> list[Row]:
    """The rows that `to_csv` wrote of this plan. Raises BenchError for a text that is of another one."""
    cells = {(cell.line.label, cell.step.label, str(cell.seed)): cell for cell in plan.cells}
    return [_row_of(plan, cells, line, number) for number, line in enumerate(_lines(text), start=2)]


def seeds_of(text: str) -> tuple[int, ...]:
    """The seeds of the rows that `to_csv` wrote, in their order. Raises BenchError where there are none."""
    seeds = dict.fromkeys(line["seed"] for line in _lines(text))
    if not seeds or not all(seed.isdecimal() for seed in seeds):
        raise BenchError(f"its seeds are {', '.join(map(repr, seeds)) or 'nowhere'}; expected a row for each run")
    return tuple(map(int, seeds))


def _lines(text: str) -> list[dict[str, str]]:
    lines = list(csv.DictReader(io.StringIO(text), restval=""))
    missing = [name for name in _HEAD if lines and name not in lines[0]]
    if missing or any(None in line for line in lines):
        raise BenchError(f"this is no study's CSV: expected the columns {', '.join(_HEAD)}, then keys and measures")
    return lines


def _row_of(plan: Plan, cells: Mapping[tuple[str, str, str], Cell], line: Mapping[str, str], number: int) -> Row:
    cell = cells.get((line["line"], line["step"], line["seed"]))
    title = _title(line["line"], line["step"], f"seed {line['seed']}")
    if cell is None:
        raise BenchError(f"line {number} ({title}) is none of this study's runs: expected {'; '.join(_titles(plan))}")
    names = [name for name in line if name not in _HEAD]
    keys = {name: line[f"{name}_key"] for name in _KEYS if line.get(f"{name}_key")}
    try:
        values = {name: _value(line[name]) for name in names if not name.endswith("_key")}
    except ValueError as error:
        raise BenchError(f"line {number} ({title}): a measure is no number: {error}") from error
    row = Row(cell=cell, values=values, keys=keys, status=line["status"])
    for name, fact in zip(_HEAD, map(str, _facts(plan, row)), strict=True):
        if line[name] != fact:
            raise BenchError(f"line {number} ({title}): its {name} is {line[name]!r}, that of this study is {fact!r}")
    return row


def _titles(plan: Plan) -> list[str]:
    return list(dict.fromkeys(_title(cell.line.label, cell.step.label) for cell in plan.cells))


def _title(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _value(text: str) -> float | None:
    if not text:
        return None
    return int(text) if text.lstrip("-").isdecimal() else float(text)


def _by_number(name: str) -> list[tuple[int, int, str]]:
    """localisation.5 before localisation.10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split(".")]


def _facts(plan: Plan, row: Row) -> list[object]:
    cell, first = row.cell, plan.config
    config = cell.pipeline.config if cell.pipeline else None
    attack = config.attack.name if config else cell.line.attack or first.attack.name
    what = [plan.study.name, first.preset, plan.dataset.name, attack, cell.line.defense]
    changes = " ".join([*plan.settings, *cell.settings])
    return [*what, cell.line.label, cell.step.label, cell.step.x, cell.seed, changes, row.status]


# --- mean and spread ------------------------------------------------------------------------------


def stat(values: Iterable[float | None]) -> Stat | None:
    """Over those that are defined; None where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Stat(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)


def curves(plan: Plan, panel: Panel, rows: Sequence[Row]) -> list[Curve]:
    """The curves of one panel that have a point. x: k, the steps, or the lines' labels, as the study says."""
    done = [row for row in rows if not row.status]
    found = []
    for name, path in panel.curves.items():
        for label, own in _groups(done, lambda row: _series(plan, panel, row)).items():
            points = _over_k(own, path) if panel.over_k else _over_x(plan, own, path)
            if points:
                found.append(Curve(_title(str(label), name), points))
    return found


def _series(plan: Plan, panel: Panel, row: Row) -> X:
    return row.cell.line.label if plan.study.across == "steps" or panel.over_k else row.cell.step.label


def _over_x(plan: Plan, rows: Sequence[Row], path: str) -> dict[X, Stat]:
    groups = _groups(rows, lambda row: row.cell.step.x if plan.study.across == "steps" else row.cell.line.label)
    return _defined({x: stat(row.values.get(path) for row in own) for x, own in groups.items()})


def _over_k(rows: Sequence[Row], path: str) -> dict[X, Stat]:
    """A search gives all k at once, so one row for each seed says it all: its first."""
    first = [own[0] for own in _groups(rows, lambda row: row.cell.seed).values()]
    before, after = path.split("*")
    names = {name for row in first for name in row.values if name.startswith(before) and name.endswith(after)}
    ks = sorted(int(name[len(before) : len(name) - len(after)]) for name in names)
    return _defined({k: stat(row.values.get(f"{before}{k}{after}") for row in first) for k in ks})


def _defined(points: dict[X, Stat | None]) -> dict[X, Stat]:
    return {x: point for x, point in points.items() if point is not None}


def _groups(rows: Iterable[Row], key: Callable[[Row], X]) -> dict[X, list[Row]]:
    found: dict[X, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


# --- words ----------------------------------------------------------------------------------------


def setting_words(plan: Plan) -> str:
    """Preset, dataset, attack, seeds: what all cells share."""
    attack = plan.study.lines[0].attack or plan.config.attack.name
    seeds = ", ".join(map(str, plan.seeds))
    many = "seeds" if len(plan.seeds) > 1 else "seed"
    return f"preset {plan.config.preset}, {plan.dataset.name}, attack {attack}, {many} {seeds}"


def caveat(plan: Plan) -> str:
    """'' for the paper's own settings as they ship, unchanged."""
    preset = plan.config.preset
    if preset.startswith("paper-") and preset in preset_names() and not plan.settings:
        return ""
    return "not the paper's setting: compare the shape, not the numbers"


def missing(rows: Sequence[Row]) -> list[str]:
    """What was not run, a line for each reason."""
    told: dict[str, list[str]] = {}
    for row in rows:
        if row.status:
            parts = (row.cell.line.label, row.cell.step.label)
            told.setdefault(row.status, []).append(_title(*parts) or "the run")
    return [f"{'; '.join(dict.fromkeys(names))}: {reason}" for reason, names in told.items()]


# --- markdown -------------------------------------------------------------------------------------


def to_markdown(plan: Plan, rows: Sequence[Row]) -> str:
    """Heading, what was set, a table of the study's measures, and one for each measure over k."""
    study = plan.study
    parts = [f"# {study.title}", _about(plan), _progress(plan, rows)]
    over_x = [panel for panel in plan.panels if not panel.over_k]
    if over_x:
        parts.append(_table(plan, over_x, rows))
    for panel in plan.panels:
        if panel.over_k:
            parts.append(f"## {escape(panel.axis)} by search number\n\n{_k_table(plan, panel, rows)}")
    parts.append("\n".join(f"- Not run: {escape(line)}" for line in missing(rows)))
    parts += [each for each in (study.note, _spread(plan)) if each]
    return "\n\n".join(part for part in parts if part) + "\n"


def difference(page: str, text: str) -> str:
    """The first line in which a study's page is not `text`; "" for none. Versions and fingerprints, which say what the
    runs had, may differ."""
    for number, (old, new) in enumerate(zip_longest(page.splitlines(), text.splitlines()), start=1):
        dated = all((line or "").startswith(_PRINT) for line in (old, new))
        if old != new and not dated:
            ends = "it should end" if new is None else f"it should be {new!r}"
            return f"line {number}: {old!r}: {ends}" if old is not None else f"line {number} is not there: {ends}"
    return ""


def _about(plan: Plan) -> str:
    lines = [
        f"{plan.study.about} After {plan.study.figure} of the PoisonCAM paper.",
        "",
        f"- Here: {escape(setting_words(plan))}",
        f"{_PRINT}{plan.dataset.fingerprint[:12]}, metric version {METRIC_VERSION}, ssl-backdoor-bench {__version__}",
    ]
    lines += [f"- Changed by --set: {escape(' '.join(plan.settings))}"] if plan.settings else []
    warning = caveat(plan)
    lines += [f"- **This is {warning}.**"] if warning else []
    return "\n".join(lines)


def _progress(plan: Plan, rows: Sequence[Row]) -> str:
    left = len(plan.cells) - len(rows)
    return f"**Unfinished: {left} of {len(plan.cells)} runs are still to come.**" if left else ""


def _spread(plan: Plan) -> str:
    if len(plan.seeds) > 1:
        return f"Mean ± standard deviation over {len(plan.seeds)} seeds; without ±, only one of them has a value."
    return "One seed: no spread can be told."


def _table(plan: Plan, panels: Sequence[Panel], rows: Sequence[Row]) -> str:
    columns = [(_column(panel, name), path) for panel in panels for name, path in panel.curves.items()]
    first = plan.study.x or "setting"
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.cell.line.label, row.cell.step.label), []).append(row)
    lines = []
    for (label, step), own in groups.items():
        cells = [cell_text(stat(row.values.get(path) for row in own)) for _, path in columns]
        status = "" if any(not row.status for row in own) else own[0].status.partition(":")[0]
        lines.append([escape(label) if label else "", escape(step) if step else "", *cells, status])
    return _pipes(["", escape(first), *(name for name, _ in columns), "remark"], lines)


def _column(panel: Panel, name: str) -> str:
    return escape(f"{panel.axis}: {name}" if name else panel.axis)


def _k_table(plan: Plan, panel: Panel, rows: Sequence[Row]) -> str:
    found = curves(plan, panel, rows)
    ks = sorted({int(x) for curve in found for x in curve.points})
    lines = [[escape(curve.name), *(cell_text(curve.points.get(k)) for k in ks)] for curve in found]
    return _pipes(["", *(f"top {k}" for k in ks)], lines) if lines else "No values."


def cell_text(found: Stat | None) -> str:
    """'12.3 ± 0.4', three digits of what is small, a dash for nothing."""
    if found is None:
        return UNDEFINED
    digits = 1 if abs(found.mean) >= 1 or found.mean == 0 else 3
    text = f"{found.mean:.{digits}f}"
    return text if found.spread is None else f"{text} ± {found.spread:.{digits}f}"


def _pipes(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A markdown table without its empty columns."""
    from tabulate import tabulate

    used = [i for i in range(len(head)) if any(line[i] for line in lines)]
    kept = [[line[i] for i in used] for line in lines]
    align = ["left" if head[i] in ("", "remark") else "right" for i in used]
    return tabulate(kept, [head[i] for i in used], tablefmt="pipe", disable_numparse=True, colalign=align)
