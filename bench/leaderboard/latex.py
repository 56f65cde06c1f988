"""Tables for a paper: tabulars with the rules of the package booktabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import escaping as text
from .rows import RATES, UNDEFINED
from .tables import Line, Table, filled

HEAD = "% \\usepackage{booktabs}, and UTF-8 input. Each row's records stand in a comment behind it.\n"


def latex(tables: Sequence[Table]) -> str:
    """For each table one on the encoders, and one on what was found where a line has numbers for it."""
    parts = [HEAD]
    for table in tables:
        shown = {name: name for name in RATES} | filled(table.lines, table.rates)
        parts.append(_table(table, table.lines, {name: name for name in table.rates if name in shown}))
        found = filled(table.lines, table.found)
        searching = [line for line in table.lines if any(line.cell(name) != UNDEFINED for name in found.values())]
        if searching:
            parts.append(_table(table, searching, found))
    return "\n".join(parts)


def _table(table: Table, lines: Sequence[Line], columns: Mapping[str, str]) -> str:
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


def _row(line: Line, columns: Mapping[str, str]) -> str:
    cells = [line.label, line.status, str(line.seeds or UNDEFINED), *map(line.cell, columns.values())]
    records = " ".join(text.plain(result.source) for result in line.results if result.source)
    return f"{' & '.join(map(text.latex, cells))} \\\\" + (f" % {records}" if records else "")
