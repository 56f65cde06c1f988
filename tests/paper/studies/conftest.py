"""Studies on the preset `smoke`, and tables with made-up values."""

from __future__ import annotations

import dataclasses

import pytest

from bench.matrix.cell import RunContext
from bench.paper.studies.runs import StudyRuns
from bench.paper.studies.study import Line, Study, find
from bench.paper.studies.table import HEAD, read_csv
from bench.pipeline.stage import Machine
from bench.store import Store


@pytest.fixture
def planned(tmp_path):
    """planned(study, preset="smoke", settings=(), seeds=(), store=...) -> its StudyRuns."""

    def make(study, preset="smoke", settings=(), seeds=(), store=tmp_path / "empty"):
        context = RunContext(Store(store), Machine(accelerator="cpu"))
        return StudyRuns(study, context, preset, settings, seeds)

    return make


@pytest.fixture
def toy():
    """toy(**changes): a study of PoisonCAM alone; lines may be given as (label, defense)."""

    def make(lines=(("PoisonCAM", "poisoncam"),), **changes):
        lines = tuple(each if isinstance(each, Line) else Line(label=each[0], defense=each[1]) for each in lines)
        base = Study(name="toy", title="Toy", figure="Figure 0", about="", lines=lines, panels=(), stages="search")
        return dataclasses.replace(base, panels=find("masks").panels, **changes)

    return make


@pytest.fixture
def table():
    """table(name, rows, **facts) -> the table of a study. rows: (line, step, x, seed, {measure: value}[, status])."""

    def make(name, rows, **facts):
        import pandas as pd

        what = {"study": name, "preset": "smoke", "dataset": "scenes", "attack": "htba", "defense": "poisoncam"}
        lines = []
        for line, step, x, seed, values, *status in rows:
            place = {"line": line, "step": step, "x": x, "seed": seed, "status": "".join(status), "settings": ""}
            lines.append({**what, **place, "k": 5, "changed": "", **facts, **values})
        columns = [*HEAD, *dict.fromkeys(name for line in lines for name in line if name not in HEAD)]
        return read_csv(pd.DataFrame(lines, columns=columns, dtype=object).to_csv(index=False))

    return make
