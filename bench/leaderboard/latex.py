"""Tables for a paper: tabulars with the rules of the package booktabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.records.redact import one_line

from . import escaping as text
from .rows import UNDEFINED
from .tables import BoardLine, Leaderboard

HEAD = "% \\usepackage{booktabs}, and UTF-8 input. Each row's records stand in a comment behind it.\n"


def latex(tables: Sequence[Leaderboard]) -> str:
    """A tabular for each part of each leaderboard."""
    parts = [HEAD]
    parts += [_table(table, part.lines, part.columns) for table in tables for part in table.parts()]
    return "\n".join(parts)


def _table(table: Leaderboard, lines: Sequence[BoardLine], columns: Mapping[str, str]) -> str:
    headings = ["defense", "status", "seeds", *columns]
    body = [_row(line, columns) for line in lines]
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{text.latex(table.title)}. {text.latex(table.note)}}}",
            f"\\begin{{tabular}}{{llr{'r' * len(columns)}}}",
            "\\toprule",
            f"{' & '.join(map(text.latex, headings))} \\\\",
            "\\midrule",
            *body,
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
            "",
        ]
    )


def _row(line: BoardLine, columns: Mapping[str, str]) -> str:
    cells = [line.label, line.status, str(line.seeds or UNDEFINED), *map(line.cell, columns.values())]
    records = " ".join(one_line(result.source) for result in line.results if result.source)
    return f"{' & '.join(map(text.latex, cells))} \\\\" + (f" % {records}" if records else "")
