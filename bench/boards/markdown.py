"""Tables as GitHub-flavoured markdown, made to fit a page: two narrow tables instead of a wide one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from bench.records.metrics import METRICS

from .escaping import escape, url
from .rows import LOST, SECONDS
from .tables import BoardLine, BoardPart, Leaderboard, SeedResult

WORDS = {
    **{metric.title.format(k="k"): metric.help for metric in METRICS if metric.board},
    "triggered": "the same with the trigger in each image.",
    LOST: "how far the triggered ASR is above that of the oracle (which removes exactly the poisoned images), plus how "
    "far the ACC is below the oracle's, in percentage points, seed by seed on the same threat model; what is better "
    "than the oracle counts nothing, so that deleting a whole class cannot win. Without an oracle there is none.",
    SECONDS: "of all stages that the line depends on; of runs to the end.",
    "±": "half the width of the 95 % interval of the mean over the seeds (Student's t); one seed has none. Each seed "
    "links to its record.",
    "rank": "1 + the number of lines of the same kind and status that are better and told apart; lines that cannot be "
    "told apart share a rank. Detection is ranked by AP and, where that does not tell two lines apart, by R@1%; full "
    "runs by points lost.",
    "told apart": "the paired t interval of the difference, over the seeds that both lines have on the same threat "
    "models, leaves out zero. The intervals of all pairs of lines of one table and metric hold together with 95 % "
    "(Bonferroni). Fewer than two common seeds are not compared. `bench compare` prints them.",
    "detection": "of every run with a verdict, also those that end there; lines that neither score nor remove an image "
    "are left out. Full runs have a second training.",
    "baseline": "a plain score with one rule for its threshold, to compare defenses with.",
    "control": "sees the truth and is no defense; none: no defense at all.",
    "status": "measured: the run was made by the maintainers; submitted: sent in, each metric computed again from its "
    "predictions and masks; paper-reported: as a paper prints it.",
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
    """Its parts, each under a line that says what it is. A status that all lines have is said in the note."""
    statuses = {line.status for line in table.lines}
    note = f"{table.note} Every line is {min(statuses)}." if len(statuses) == 1 else table.note
    found = [f"## {escape(table.title)}", escape(note)]
    for part in table.parts():
        found += [f"**{part.title}.**{f' {escape(part.note)}' if part.note else ''}"]
        found += [_pipes(part, links, status=len(statuses) > 1)]
    return "\n\n".join(found)


def _pipes(part: BoardPart, links: Mapping[str, str], *, status: bool) -> str:
    """Its lines; a row with nothing but a name stands before the baselines and before the controls."""
    first = ["rank"] if part.ranks else []
    headings = [*first, "defense", *(["status"] if status else []), "seeds", *part.columns]
    body: list[list[str]] = []
    for lines in part.kinds():
        if body:
            body.append([*("" for _ in first), f"*{lines[0].kind}s*", *[""] * (len(headings) - len(first) - 1)])
        body += [_cells(line, part, links, status=status) for line in lines]
    align = (*("right" for _ in first), "left", *(["left"] if status else []), "left", *["right"] * len(part.columns))
    return str(tabulate(body, headings, tablefmt="pipe", disable_numparse=True, colalign=align))


def _cells(line: BoardLine, part: BoardPart, links: Mapping[str, str], *, status: bool) -> list[str]:
    first = [part.rank(line)] if part.ranks else []
    named = [*first, escape(line.label), *([line.status] if status else [])]
    return [*named, _seeds(part.results(line), links), *map(line.cell, part.columns.values())]


def _seeds(results: Sequence[SeedResult], links: Mapping[str, str]) -> str:
    """The number of seeds, then each of them with a link to its record, where there is one."""
    count = str(len({result.seed for result in results} - {None}) or "not known")
    linked = [_link(result.seed, links[result.source]) for result in results if result.source in links]
    return f"{count} ({', '.join(linked)})" if linked else count


def _link(seed: int | None, name: str) -> str:
    return f"[{'source' if seed is None else seed}][{name}]"
