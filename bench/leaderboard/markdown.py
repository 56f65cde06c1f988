"""Tables as GitHub-flavoured markdown, made to fit a page: two narrow tables instead of a wide one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from .escaping import escape, url
from .rows import RATES, UNDEFINED
from .tables import Line, Table, filled

WORDS = {
    "ACC, ASR": "percent of clean validation images classified rightly, and of those of other classes taken for the "
    "target; triggered: the same with the trigger in each image.",
    "gap closed": "of what removing exactly the poisoned images (the oracle) takes off the triggered ASR, the percent "
    "that this row takes off.",
    "seconds": "of all stages that the row rests on.",
    "removed": "number of training images; precision, recall, F1: percent, of the removal.",
    "top-k, IoU@k, CR@k": "percent of the k most suspicious images that are poisoned, and how well their triggers are "
    "located: overlap, and share of the trigger inside the window (catch rate).",
    "control": "sees the truth and is no defense.",
    "status": "measured: the run was made by the maintainers; submitted: sent in, each metric computed again from its "
    "predictions and masks; paper-reported: as a paper prints it.",
    "± ": "sample standard deviation over the seeds. Each seed links to its record.",
}
"""What the columns mean."""
LEGEND = "## How to read it"


def markdown(tables: Sequence[Table]) -> str:
    """All tables, each under its heading, then what the columns mean, then the links."""
    if not tables:
        return "No records.\n"
    sources = sorted({result.source for table in tables for line in table.lines for result in line.results} - {""})
    links = {source: f"r{number}" for number, source in enumerate(sources, 1)}
    targets = [f"[{name}]: {url(source)}" for source, name in links.items()]
    words = [f"- **{word.strip()}**: {meaning}" for word, meaning in WORDS.items()]
    parts = [*(_table(table, links) for table in tables), "\n".join([LEGEND, "", *words])]
    return "\n\n".join([*parts, *(["\n".join(targets)] if targets else [])]) + "\n"


def _table(table: Table, links: Mapping[str, str]) -> str:
    always = {name: name for name in RATES}
    shown = always | filled(table.lines, table.rates)
    rates = _pipes(table.lines, {name: shown[name] for name in table.rates if name in shown}, links)
    parts = [f"## {escape(table.title)}", escape(table.note), rates]
    found = filled(table.lines, table.found)
    searching = [line for line in table.lines if any(line.cell(name) != UNDEFINED for name in found.values())]
    if searching:
        parts.append(_pipes(searching, found, None))
    return "\n\n".join(parts)


def _pipes(lines: Sequence[Line], columns: Mapping[str, str], links: Mapping[str, str] | None) -> str:
    """With `links`, a column of seeds, each linked to its record."""
    seeds = [] if links is None else ["seeds"]
    body = [
        [
            escape(line.label),
            line.status,
            *(_seeds(line, links or {}) for _ in seeds),
            *map(line.cell, columns.values()),
        ]
        for line in lines
    ]
    headings = ["defense", "status", *seeds, *columns]
    align = ("left", "left", *["left"] * len(seeds), *["right"] * len(columns))
    return str(tabulate(body, headings, tablefmt="pipe", disable_numparse=True, colalign=align))


def _seeds(line: Line, links: Mapping[str, str]) -> str:
    """The number of seeds, then each of them with a link to its record, where there is one."""
    count = str(line.seeds or "not told")
    linked = [_link(result.seed, links[result.source]) for result in line.results if result.source in links]
    return f"{count} ({', '.join(linked)})" if linked else count


def _link(seed: int | None, name: str) -> str:
    return f"[{'source' if seed is None else seed}][{name}]"
