"""Tables for a paper: tabulars with the rules of the package booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.redact import one_line

from . import escaping as text
from .lines import BoardLine
from .part import BoardPart
from .rows import UNDEFINED
from .tables import Leaderboard

HEAD = "% \\usepackage{booktabs}, and UTF-8 input. Each row's records stand in a comment behind it.\n"


def latex(tables: Sequence[Leaderboard]) -> str:
    """A tabular for each part of each leaderboard, a rule between defenses, baselines and controls."""
    return "\n".join([HEAD, *(_table(table, part) for table in tables for part in table.parts())])


def _table(table: Leaderboard, part: BoardPart) -> str:
    first = ["rank"] if part.ranks else []
    headings = [*first, part.lines_are, "status", "seeds", *part.columns]
    body = [[_row(line, part) for line in same] for same in part.kinds()]
    about = f"{table.about[:1].upper()}{table.about[1:]}." if table.about else ""
    note = " ".join(filter(None, [f"{part.title}.", about, table.note, part.note]))
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{text.latex(table.title)}. {text.latex(note)}}}",
            f"\\begin{{tabular}}{{{'r' * len(first)}llr{'r' * len(part.columns)}}}",
            "\\toprule",
            f"{' & '.join(map(text.latex, headings))} \\\\",
            "\\midrule",
            "\n\\midrule\n".join("\n".join(rows) for rows in body),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
            "",
        ]
    )


def _row(line: BoardLine, part: BoardPart) -> str:
    cells = [line.label, line.status, part.seeds(line) or UNDEFINED, *map(line.cell, part.columns.values())]
    cells = [part.rank(line), *cells] if part.ranks else cells
    records = " ".join(one_line(result.source) for result in part.results(line) if result.source)
    return f"{' & '.join(map(text.latex, cells))} \\\\" + (f" % {records}" if records else "")
