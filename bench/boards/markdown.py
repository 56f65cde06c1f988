"""Tables as GitHub-flavoured markdown: all attacks of a setting in one, then for each attack a summary that fits a
page, and folded away all of its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tabulate import tabulate

from . import titles
from .attacks import AttackBoard, attack_boards
from .credits import Credit
from .escaping import escape, url
from .lines import BoardLine
from .overview import Overview, overviews
from .part import BoardPart
from .rows import BASELINE, CONTROL, DEFENSE, OVER
from .tables import Leaderboard, anchors
from .words import MARKED, RULE, words_of

LEGEND = "## How to read it"
BEGIN, END = (f"<!-- leaderboard: {which} -->" for which in ("begin", "end"))
"""The lines of a page between which the tables lie."""
Links = Mapping[str, str]
"""Target of a link -> its name; the targets stand at the end, so that the lines of the text stay short."""


def in_page(page: str, text: str) -> str | None:
    """The page with `text` between its lines BEGIN and END; None where it does not have them."""
    before, begin, rest = page.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    return f"{before}{begin}\n{text.strip()}\n\n{end}{after}" if end else None


def markdown(tables: Sequence[Leaderboard]) -> str:
    """A list of the tables, each under its heading, then what the columns mean, then the targets of the links."""
    if not tables:
        return "No records.\n"
    every = [*overviews(tables), *attack_boards(tables), *tables]
    return _page(every, every)


def short(tables: Sequence[Leaderboard], details: str) -> str:
    """Of each setting only the table of all attacks, or the summary of its only one, with links to `details`: the
    address of the page that `markdown` makes of the same tables. A table of controls alone says nothing more than the
    table of attacks, where there is one."""
    if not tables:
        return "No records.\n"
    found: list[Leaderboard] = [*overviews(tables)]
    settings = {table.group for table in found}
    attacked = attack_boards(tables)
    told = {board.group.setting for board in attacked if board.group}
    found += attacked

    def elsewhere(table: Leaderboard) -> bool:
        if table.group is None or table.several:
            return False
        controls = all(line.kind == CONTROL for line in table.lines)
        return table.group.setting in settings or (controls and table.group.setting._replace(ssl="") in told)

    alone = [table for table in tables if not elsewhere(table)]
    return _page([*found, *alone], [*found, *tables], details)


def _page(tables: Sequence[Leaderboard], every: Sequence[Leaderboard], details: str = "") -> str:
    """Of `tables`, with links to the others of `every`, which are at `details` ("": on this page)."""
    lines = [line for table in tables for line in table.lines]
    sources = [] if details else sorted({result.source for line in lines for result in line.results} - {""})
    found = [credit for line in lines for _, credit in line.plugins()]
    found += [table.attack for table in tables if table.attack]
    papers = {credit.url: credit for credit in sorted(found, key=lambda each: each.name) if credit.url}
    links = {source: f"r{number}" for number, source in enumerate(sources, 1)}
    links |= {target: f"p{number}" for number, target in enumerate(papers, 1)}
    targets = [f"[{links[source]}]: {url(source)}" for source in sources]
    targets += [f"[{links[target]}]: {target}{_title(credit)}" for target, credit in papers.items()]
    words = [f"- **{word}**: {text}" for word, text in words_of(tables).items()]
    addresses = {id(table): anchor for table, anchor in zip(every, anchors(every), strict=True)}
    places = Places(links, details, addresses)
    parts = [
        "\n".join(_entry(table, addresses[id(table)]) for table in tables),
        f"{RULE} [More](#how-to-read-it).\n{MARKED}",
        *(_table(table, places) for table in tables),
        "\n".join([LEGEND, "", "Shares are percent.", "", *words]),
        *(["\n".join(targets)] if targets else []),
    ]
    return "\n\n".join(parts) + "\n"


def _title(credit: Credit) -> str:
    return f' "{escape(credit.paper).replace(chr(34), "&quot;")}"' if credit.paper else ""


def _entry(table: Leaderboard, anchor: str) -> str:
    """The table's line in the list of tables."""
    part = table.summary()
    best = ""
    for kind in (DEFENSE, BASELINE):
        first = [line.label for line, rank in part.ranks.items() if rank == 1 and line.kind == kind]
        best += f"{';' if best else ':'} rank 1 of the {kind}s: {escape(', '.join(first))}" if first else ""
    if isinstance(table, Overview) and table.easy:
        best = ": detection not ranked, for colours alone solve over a third of its attacks"
    return f"- [{escape(table.title)}](#{anchor}){best}"


class Places(NamedTuple):
    """Where links lead: names of targets; the page with the tables of single attacks ("": this one); the anchor of each
    table there, by its id()."""

    links: Links
    details: str
    anchors: Mapping[int, str]

    def of(self, table: Leaderboard) -> str:
        """The address of a table."""
        return f"{url(self.details)}#{self.anchors[id(table)]}"


def _table(table: Leaderboard, places: Places) -> str:
    """Its summary, and all the rest of it: folded away, or where a link leads. A status that all lines have is said in
    the note."""
    links, anchor = places.links, places.anchors[id(table)]
    several = len({line.status for line in table.lines}) > 1
    note = table.note if several else f"{table.note} Every line is {table.lines[0].status}."
    attack = []
    if table.group:
        named = f"attack {_linked(table.group.attack, table.attack, links)}; {escape(table.about)}."
        named = f"{escape(table.about)}." if table.several else named
        attack = [named[:1].upper() + named[1:]]
    summary = table.summary()
    found = [f'<a id="{anchor}"></a>', f"## {escape(table.title)}", "\n".join([*attack, escape(note)])]
    if isinstance(table, Overview):
        each = ",\n".join(f"[{escape(one.short)}]({places.of(one)})" for one in table.tables)
        found += [text for part in table.parts() for text in _shown(part, links, status=several)]
        return "\n\n".join([*found, f"All numbers, records and settings, attack by attack:\n{each}"])
    found += [_pipes(summary, links, status=several)]
    if isinstance(table, AttackBoard):
        return "\n\n".join(found)
    if places.details:
        return "\n\n".join([*found, f"[All numbers, records and settings]({places.of(table)})"])
    found += ["<details><summary>All numbers, records and settings</summary>"]
    rest = [part for part in table.parts() if part.title != summary.title]
    found += [text for part in rest for text in _shown(part, links, status=several)]
    return "\n\n".join([*found, "\n".join(_small_print(table, links)), "</details>"])


def _shown(part: BoardPart, links: Links, *, status: bool) -> list[str]:
    """Its title and note, then its lines."""
    return [f"**{part.title}.**{f' {escape(part.note)}' if part.note else ''}", _pipes(part, links, status=status)]


def _pipes(part: BoardPart, links: Links, *, status: bool) -> str:
    """Its lines; a row with nothing but a name stands before the baselines and before the controls."""
    first = ["rank"] if part.ranks else []
    columns = [escape(title) if OVER in name else title for title, name in part.headings.items()]
    headings = [*first, part.lines_are, *(["status"] if status else []), "seeds", *columns]
    body: list[list[str]] = []
    for lines in part.kinds():
        if body:
            body.append([*("" for _ in first), f"*{lines[0].kind}s*", *[""] * (len(headings) - len(first) - 1)])
        body += [_cells(line, part, links, status=status) for line in lines]
    align = (*("right" for _ in first), "left", *(["left"] if status else []), "right", *["right"] * len(part.columns))
    return str(tabulate(body, headings, tablefmt="pipe", disable_numparse=True, colalign=align))


def _cells(line: BoardLine, part: BoardPart, links: Links, *, status: bool) -> list[str]:
    first = [part.rank(line)] if part.ranks else []
    seeds = str(len({result.seed for result in part.results(line)} - {None}) or "not known")
    numbers = [_number(line, part, name) for name in part.columns.values()]
    return [*first, _name(line, links), *([line.status] if status else []), seeds, *numbers]


def _number(line: BoardLine, part: BoardPart, name: str) -> str:
    text = line.cell(name)
    if part.best(line, name):
        return f"**{text}**"
    return f"\u2248 {text}" if part.alike(line, name) else text


def _name(line: BoardLine, links: Links) -> str:
    """Its label, each plugin a link to where it comes from, and whose it is where it is not the benchmark's own."""
    named = "+".join(_linked(name, credit, links) for name, credit in line.plugins())
    remarks = [line.remarks, *(credit.remark for _, credit in line.plugins())]
    text = "; ".join(filter(None, remarks))
    return f"{named} ({escape(text)})" if text else named


def _linked(name: str, credit: Credit | None, links: Links) -> str:
    target = links.get(credit.url) if credit and credit.url else None
    return f"[{escape(name)}][{target}]" if target else escape(name)


def _small_print(table: Leaderboard, links: Links) -> Iterator[str]:
    """The records of each line, attack by attack where it is over several, the attack's options, and the
    fingerprints."""
    for line in table.lines:
        linked: dict[str, list[str]] = {}
        for result in line.results:
            if result.source in links:
                linked.setdefault(result.attack, []).append(_record(result.seed, links[result.source]))
        status = f", {line.status}" if len({each.status for each in table.lines}) > 1 else ""
        for attack, records in linked.items():
            of = f", {escape(attack)}" if attack else ""
            yield f"- records of {escape(line.label)}{status}{of}: {', '.join(records)}"
    if table.group and titles.options(table.group):
        yield f"- options of the attack: {_code(titles.options(table.group))}"
    yield from (f"- {escape(name)}: {_code(text)}" for name, text in table.facts.items())


def _code(text: str) -> str:
    """As code where all of it is plain, so that lists in brackets can be read in the raw page too."""
    return f"`{text}`" if re.fullmatch(r"[A-Za-z0-9_ .,=\[\]\"'()+-]+", text) else escape(text)


def _record(seed: int | None, name: str) -> str:
    return f"[{'source' if seed is None else f'seed {seed}'}][{name}]"
