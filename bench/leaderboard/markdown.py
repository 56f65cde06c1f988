"""Tables as GitHub-flavoured markdown, made to fit a page: two narrow tables instead of a wide one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from bench.records.metrics import METRICS

from .escaping import escape, url
from .rows import GAP, SECONDS
from .tables import BoardLine, Leaderboard

WORDS = {
    **{metric.title.format(k="k"): metric.help for metric in METRICS if metric.board},
    "triggered": "the same with the trigger in each image.",
    GAP: "the triggered ASR that the line takes away, in percent of what removing exactly the poisoned images (the "
    "oracle) takes away.",
    SECONDS: "of all stages that the line depends on.",
    "control": "sees the truth and is no defense.",
    "status": "measured: the run was made by the maintainers; submitted: sent in, each metric computed again from its "
    "predictions and masks; paper-reported: as a paper prints it.",
    "±": "sample standard deviation over the seeds. Each seed links to its record.",
}
"""What the columns mean. Shares are percent."""
LEGEND = "## How to read it"
BEGIN, END = (f"<!-- leaderboard: {which} -->" for which in ("begin", "end"))
"""The lines of a page between which the tables lie."""


def in_page(page: str, text: str) -> str | None:
    """The page with `text` between its lines BEGIN and END; None where it does not have them."""
    before, begin, rest = page.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    return f"{before}{begin}\n{text.strip()}\n\n{end}{after}" if end else None


def markdown(tables: Sequence[Leaderboard]) -> str:
    """All tables, each under its heading, then what the columns mean, then the links."""
    if not tables:
        return "No records.\n"
    sources = sorted({result.source for table in tables for line in table.lines for result in line.results} - {""})
    links = {source: f"r{number}" for number, source in enumerate(sources, 1)}
    targets = [f"[{name}]: {url(source)}" for source, name in links.items()]
    words = [f"- **{word}**: {meaning}" for word, meaning in WORDS.items()]
    parts = [*(_table(table, links) for table in tables), "\n".join([LEGEND, "", "Shares are percent.", "", *words])]
    return "\n\n".join([*parts, *(["\n".join(targets)] if targets else [])]) + "\n"


def _table(table: Leaderboard, links: Mapping[str, str]) -> str:
    first, *others = table.parts()
    rates = _pipes(first.lines, first.columns, links)
    found = [_pipes(part.lines, part.columns, None) for part in others]
    return "\n\n".join([f"## {escape(table.title)}", escape(table.note), rates, *found])


def _pipes(lines: Sequence[BoardLine], columns: Mapping[str, str], links: Mapping[str, str] | None) -> str:
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


def _seeds(line: BoardLine, links: Mapping[str, str]) -> str:
    """The number of seeds, then each of them with a link to its record, where there is one."""
    count = str(line.seeds or "not known")
    linked = [_link(result.seed, links[result.source]) for result in line.results if result.source in links]
    return f"{count} ({', '.join(linked)})" if linked else count


def _link(seed: int | None, name: str) -> str:
    return f"[{'source' if seed is None else seed}][{name}]"
