"""A study's table: one line a run in a CSV file, from which the markdown page and the curves of the plot are made."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.config.config import preset_names
from bench.errors import BenchError
from bench.leaderboard import escape
from bench.leaderboard.rows import UNDEFINED

from .study import Panel, Study, find

if TYPE_CHECKING:
    import pandas as pd

    from bench.matrix.cell import RunContext

    from .runs import StudyPlan, StudyRun

HEAD = ("study", "preset", "dataset", "attack", "defense", "line", "step", "x", "seed", "settings", "status")
KEYS = ("threat_model_key", "search_key", "retraining_key")
PLANNED = ("k", "changed")
"""How many top images the panels look at, and the user's settings; tables written before these columns lack them."""
DEFAULT_K = 10


class Curve(NamedTuple):
    """One curve of a panel. points: columns "mean" and "spread" (the standard deviation over the seeds, NaN for one
    seed), indexed by x."""

    name: str
    points: pd.DataFrame


# --- CSV ------------------------------------------------------------------------------------------


def to_csv(plan: StudyPlan, context: RunContext, failures: Mapping[Any, str]) -> str:
    """One line for each run that is skipped, failed or finished: what it is, then every measure; empty = undefined.

    failures: cell -> why it could not be finished.
    """
    import pandas as pd

    from .runs import measure, stage_keys

    lines, names = [], set()
    for run in plan.runs:
        status = f"skipped: {run.skipped}" if run.skipped else ""
        if not status and run.cell in failures:
            status = f"failed: {failures[run.cell]}"
        line = {**_facts(plan, run), "status": status}
        if not status:
            pipeline = context.pipeline(run.cell)
            if not all(pipeline.found(stage) for stage in plan.study.needed(pipeline)):
                continue
            values = measure(pipeline, plan.study)
            names.update(values)
            line |= {f"{name}_key": key for name, key in stage_keys(pipeline, plan.study).items()} | values
        lines.append(line)
    columns = [*HEAD, *PLANNED, *KEYS, *sorted(names, key=_by_number)]
    return pd.DataFrame(lines, columns=columns, dtype=object).to_csv(index=False, lineterminator="\n")


def _facts(plan: StudyPlan, run: StudyRun) -> dict[str, Any]:
    what = (plan.study.name, plan.preset, plan.dataset.name, run.attack, run.line.defense, run.line.label)
    settings = " ".join(run.cell.settings)
    facts = dict(zip(HEAD, (*what, run.step.label, run.step.x, run.cell.seed, settings), strict=False))
    return {**facts, "k": plan.k, "changed": " ".join(plan.settings)}


def _by_number(name: str) -> list[tuple[int, int, str]]:
    """localisation.5 before localisation.10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split(".")]


def read_csv(text: str) -> pd.DataFrame:
    """The table that `to_csv` wrote: measures, x and k as float64 (NaN: undefined), all else as text.

    Raises BenchError for another file.
    """
    import pandas as pd

    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        missing = [name for name in HEAD if name not in table.columns]
    except (pd.errors.ParserError, pd.errors.EmptyDataError):
        missing = list(HEAD)
    if missing or not len(table):
        raise BenchError(f"this is no study's CSV: expected the columns {', '.join(HEAD)}, measures, and a line a run")
    if "k" not in table.columns:
        table = table.assign(k=str(DEFAULT_K), changed="")
    for name in table.columns:
        if name not in (*HEAD, *KEYS, "changed") or name == "x":
            try:
                table[name] = table[name].replace("", "nan").astype(float)
            except ValueError as error:
                raise BenchError(f"column {name}: a measure is no number: {error}") from error
    return table


# --- mean and spread ------------------------------------------------------------------------------


def panels(study: Study, table: pd.DataFrame) -> list[Panel]:
    """The study's panels, with the number of top images that the table is about."""
    return [panel.at(int(table["k"].iloc[0])) for panel in study.panels]


def curves(study: Study, panel: Panel, table: pd.DataFrame) -> list[Curve]:
    """The curves of one panel that have a point. x: k, the steps, or the lines' labels, as the study says."""
    done = table[table["status"] == ""]
    series, x = ("line", "x") if study.across == "steps" or panel.over_k else ("step", "line")
    found = []
    for name, path in panel.curves.items():
        for label, own in done.groupby(series, sort=False):
            points = _over_k(own, path) if panel.over_k else _spread(own.reindex(columns=[x, path]), x, path)
            if len(points):
                found.append(Curve(", ".join(part for part in (str(label), name) if part), points))
    return found


def _over_k(own: pd.DataFrame, path: str) -> pd.DataFrame:
    """A search gives all k at once, so one run of each seed says it all: its first."""
    import pandas as pd

    pattern = re.compile(re.escape(path).replace(r"\*", r"(\d+)"))
    first = own.groupby("seed", sort=False).head(1)
    named = {name: int(match[1]) for name in own.columns if (match := pattern.fullmatch(name))}
    parts = [
        pd.DataFrame({"k": k, "value": first[name]}) for name, k in sorted(named.items(), key=lambda each: each[1])
    ]
    return _spread(pd.concat(parts), "k", "value") if parts else pd.DataFrame()


def _spread(own: pd.DataFrame, x: str, path: str) -> pd.DataFrame:
    """Mean and sample standard deviation of what is defined, in the order of the runs."""
    found = own.groupby(x, sort=False)[path].agg(mean="mean", spread="std")
    return found[found["mean"].notna()]


# --- words ----------------------------------------------------------------------------------------


def seeds_of(table: pd.DataFrame) -> list[str]:
    """The seeds in their order."""
    return list(dict.fromkeys(table["seed"]))


def setting_words(table: pd.DataFrame) -> str:
    """Preset, dataset, attack, seeds: what all runs share."""
    first, seeds = table.iloc[0], seeds_of(table)
    many = "seeds" if len(seeds) > 1 else "seed"
    return f"preset {first['preset']}, {first['dataset']}, attack {first['attack']}, {many} {', '.join(seeds)}"


def caveat(table: pd.DataFrame) -> str:
    """'' for the paper's own settings as they ship, unchanged."""
    preset, changed = table["preset"].iloc[0], table["changed"].iloc[0]
    if preset.startswith("paper-") and preset in preset_names() and not changed:
        return ""
    return "not the paper's setting: compare the shape, not the numbers"


def not_run(table: pd.DataFrame) -> list[str]:
    """What was not run, a line for each reason."""
    found: dict[str, list[str]] = {}
    for row in table[table["status"] != ""].to_dict("records"):
        title = ", ".join(part for part in (row["line"], row["step"]) if part)
        found.setdefault(row["status"], []).append(title or "the run")
    return [f"{'; '.join(dict.fromkeys(titles))}: {reason}" for reason, titles in found.items()]


# --- markdown -------------------------------------------------------------------------------------


def markdown_of(path: Path) -> str:
    """The tables of a study's CSV file in markdown, with what they are about but no heading. Raises BenchError."""
    table = read_csv(path.read_text(encoding="utf-8"))
    return _body(find(table["study"].iloc[0]), table)


def to_markdown(study: Study, table: pd.DataFrame, left: int = 0) -> str:
    """A page of its own. left: how many runs are still to come."""
    unfinished = f"**Unfinished: {left} of {left + len(table)} runs are still to come.**\n\n" if left else ""
    return f"# {study.title}\n\n{unfinished}{_body(study, table)}"


def _body(study: Study, table: pd.DataFrame) -> str:
    """What was set, a table of the study's measures, and one for each measure over k."""
    changed, warning = table["changed"].iloc[0], caveat(table)
    about = [
        f"{study.about} After {study.figure} of the PoisonCAM paper.",
        "",
        f"- Here: {escape(setting_words(table))}",
    ]
    about += [f"- Changed by --set: {escape(changed)}"] if changed else []
    about += [f"- **This is {warning}.**"] if warning else []
    drawn = panels(study, table)
    parts = ["\n".join(about), _table(study, [panel for panel in drawn if not panel.over_k], table)]
    for panel in drawn:
        if panel.over_k:
            parts.append(f"## {escape(panel.axis)} by search number\n\n{_k_table(study, panel, table)}")
    parts.append("\n".join(f"- Not run: {escape(line)}" for line in not_run(table)))
    count = len(seeds_of(table))
    spread = f"Mean ± standard deviation over {count} seeds; without ±, only one of them has a value."
    parts += [study.note, spread if count > 1 else "One seed: no spread can be given."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(study: Study, drawn: Sequence[Panel], table: pd.DataFrame) -> str:
    columns = {
        escape(f"{panel.axis}: {name}" if name else panel.axis): path
        for panel in drawn
        for name, path in panel.curves.items()
    }
    if not columns:
        return ""
    lines = []
    for (label, step), own in table.groupby(["line", "step"], sort=False):
        values = own.reindex(columns=list(columns.values()))
        cells = [cell_text(mean, spread) for mean, spread in zip(values.mean(), values.std(), strict=True)]
        status = "" if (own["status"] == "").any() else own["status"].iloc[0].partition(":")[0]
        lines.append([escape(label) if label else "", escape(step) if step else "", *cells, status])
    return _pipes(["", escape(study.x or "setting"), *columns, "remark"], lines)


def _k_table(study: Study, panel: Panel, table: pd.DataFrame) -> str:
    found = curves(study, panel, table)
    ks = sorted({k for curve in found for k in curve.points.index})
    lines = [
        [escape(curve.name), *(cell_text(*row) for row in curve.points.reindex(ks).itertuples(index=False))]
        for curve in found
    ]
    return _pipes(["", *(f"top {k}" for k in ks)], lines) if lines else "No values."


def cell_text(mean: float, spread: float) -> str:
    """'12.3 ± 0.4', three digits of what is small, a dash for NaN."""
    if mean != mean:
        return UNDEFINED
    digits = 1 if abs(mean) >= 1 or mean == 0 else 3
    return f"{mean:.{digits}f}" if spread != spread else f"{mean:.{digits}f} ± {spread:.{digits}f}"


def _pipes(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A markdown table without its empty columns."""
    from tabulate import tabulate

    used = [i for i in range(len(head)) if any(line[i] for line in lines)]
    kept = [[line[i] for i in used] for line in lines]
    align = ["left" if head[i] in ("", "remark") else "right" for i in used]
    return tabulate(kept, [head[i] for i in used], tablefmt="pipe", disable_numparse=True, colalign=align)


def difference(page: str, text: str) -> str:
    """The first line in which a study's page is not `text`; "" for none."""
    for number, (old, new) in enumerate(zip_longest(page.splitlines(), text.splitlines()), start=1):
        if old != new:
            ends = "it should end" if new is None else f"it should be {new!r}"
            return f"line {number}: {old!r}: {ends}" if old is not None else f"line {number} is not there: {ends}"
    return ""
