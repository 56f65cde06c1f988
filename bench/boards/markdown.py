"""Tables as GitHub-flavoured markdown: all attacks of a setting in one, then for each attack a summary that fits a
page, and folded away all of its numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tabulate import tabulate

from bench.records.record import MEASURED

from . import titles
from .attacks import AttackBoard, attack_boards
from .credits import Credit
from .escaping import escape, url
from .lines import BoardLine
from .overview import MEAN, Overview, overviews
from .part import BoardPart
from .rows import BASELINE, CONTROL, DEFENSE, OVER, UNDEFINED
from .tables import Leaderboard, anchors, slug
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
    every = _every(tables)
    return _page(every, every)


def short(tables: Sequence[Leaderboard], folder: str) -> str:
    """Of each setting only the table of all attacks, or the summary of its only one, with links to `folder`, where the
    pages of `details` lie. A table of controls alone says nothing more than the table of attacks, where there is
    one."""
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
    return _page([*found, *alone], [*found, *tables], folder)


def details(tables: Sequence[Leaderboard], index: str) -> dict[str, str]:
    """Name of a file -> its page: the tables of single attacks with all numbers, a page for each data set and preset.
    index: the page of `short`, in the folder above, where links to records lead from, too."""
    every, pages = _every(tables), dict[str, list[Leaderboard]]()
    for table in tables:
        pages.setdefault(_file_of(table), []).append(table)
    return {
        name: f"# {_heading(found[0])}: all numbers\n\n[The other tables](../{url(index)})\n\n"
        + _page(found, every, up="../")
        for name, found in pages.items()
    }


def _every(tables: Sequence[Leaderboard]) -> list[Leaderboard]:
    return [*overviews(tables), *attack_boards(tables), *tables]


def _file_of(table: Leaderboard) -> str:
    """The file with the page of `details` that it is in."""
    return f"{slug(f'{table.group.dataset} {table.group.preset}') if table.group else 'papers'}.md"


def _heading(table: Leaderboard) -> str:
    return escape(table.title.partition("; ")[0]) if table.group else "What papers report"


def _page(tables: Sequence[Leaderboard], every: Sequence[Leaderboard], folder: str = "", up: str = "") -> str:
    """Of `tables`, with links to the others of `every`, which are in `folder` ("": on this page). up: from this page to
    the folder that the links to records start from."""
    lines = [line for table in tables for line in table.lines]
    sources = [] if folder else sorted({result.source for line in lines for result in line.results} - {""})
    found = [credit for line in lines for _, credit in line.plugins()]
    found += [table.attack for table in tables if table.attack]
    papers = {credit.url: credit for credit in sorted(found, key=lambda each: each.name) if credit.url}
    links = {source: f"r{number}" for number, source in enumerate(sources, 1)}
    links |= {target: f"p{number}" for number, target in enumerate(papers, 1)}
    targets = [f"[{links[source]}]: {up}{url(source)}" for source in sources]
    targets += [f"[{links[target]}]: {target}{_title(credit)}" for target, credit in papers.items()]
    words = [f"- **{word}**: {text}" for word, text in words_of(tables).items()]
    addresses = {id(table): anchor for table, anchor in zip(every, anchors(every), strict=True)}
    places = Places(links, folder, addresses)
    parts = [
        *_glance([table for table in tables if isinstance(table, Overview)], addresses),
        "\n".join(_entry(table, addresses[id(table)]) for table in tables),
        f"{RULE} [More](#how-to-read-it).\n{MARKED}",
        *(_table(table, places) for table in tables),
        "\n".join([LEGEND, "", "Shares are percent.", "", *words]),
        *(["\n".join(targets)] if targets else []),
    ]
    return "\n\n".join(parts) + "\n"


def _glance(tables: Sequence[Overview], addresses: Mapping[int, str]) -> list[str]:
    """The mean average precision of every setting's defenses, and of its best baseline, in one table, which links to
    theirs; nothing of one setting."""
    name = f"AP{OVER}{MEAN}"
    parts = [(table, part) for table in tables if name in (part := table.summary()).columns.values()]
    if len(parts) < 2:
        return []
    measured = [[line for line in part.lines if line.status == MEASURED] for _, part in parts]
    plain = {
        line.defense: None for lines in measured for line in lines if _plain(line) and line.cell(name) != UNDEFINED
    }
    rows, titles_of = [], Counter(_heading(table) for table, _ in parts)
    for (table, part), lines in zip(parts, measured, strict=True):
        cells = {line.defense: line.cell(name) for line in lines if _plain(line)}
        others = [line for line in lines if line.kind == BASELINE and line.cell(name) != UNDEFINED]
        best = max(others, key=lambda line: line.number(name)[0], default=None)
        title = _heading(table)
        if titles_of[title] > 1 and table.group:
            title += f" ({escape(table.group.preset)}, {escape(table.group.ssl)})"
        first = f"[{title}](#{addresses[id(table)]})"
        attacks = sum(each.startswith(f"AP{OVER}") for each in part.columns.values()) - 2  # mean and worst
        last = f"{best.cell(name)} ({escape(best.label)})" if best else UNDEFINED
        rows.append([first, str(attacks), *(cells.get(each, UNDEFINED) for each in plain), last])
    headings = ["average precision, mean over the attacks", "attacks", *map(escape, plain), "best baseline"]
    align = ("left", *["right"] * (len(headings) - 1))
    return [str(tabulate(rows, headings, tablefmt="pipe", disable_numparse=True, colalign=align))]


def _plain(line: BoardLine) -> bool:
    """Whether it is of a defense as it is."""
    return line.kind == DEFENSE and not line.settings


def _title(credit: Credit) -> str:
    return f' "{escape(credit.paper).replace(chr(34), "&quot;")}"' if credit.paper else ""


def _entry(table: Leaderboard, anchor: str) -> str:
    """The table's line in the list of tables."""
    return f"- [{escape(table.title)}](#{anchor}){_best(table)}"


def _best(table: Leaderboard) -> str:
    """Who is ranked first, or why nobody is."""
    part = table.summary()
    if table.easy:
        what = "over a third of its attacks" if table.several else "it"
        return f": detection not ranked, for colours alone solve {what}"
    judged = [line for line in part.lines if line.kind != CONTROL]
    if judged and not isinstance(table, AttackBoard) and all(line.seeds == 1 for line in judged):
        return ": one seed, nothing is compared"
    found = []
    for kind in (DEFENSE, BASELINE):
        first = [line for line, rank in part.ranks.items() if rank == 1 and line.kind == kind]
        known = [escape(line.label) for line in first if table.several or not table.guessed(line)]
        if first:
            found.append(f"rank 1 of the {kind}s: {', '.join(known)}" if known else f"no {kind} told from guessing")
    return f": {'; '.join(found)}" if found else ""


class Places(NamedTuple):
    """Where links lead: names of targets; the folder with the tables of single attacks ("": on this page); the anchor
    of each table there, by its id()."""

    links: Links
    folder: str
    anchors: Mapping[int, str]

    def of(self, table: Leaderboard) -> str:
        """The address of a table."""
        page = url(f"{self.folder}/{_file_of(table)}") if self.folder else ""
        return f"{page}#{self.anchors[id(table)]}"


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
    if places.folder:
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
    seeds = part.seeds(line) or "not known"
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
