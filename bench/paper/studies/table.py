"""A study's table: one line a run in a CSV file, from which the markdown page and the curves of the plot are made."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.boards import escape
from bench.boards.rows import UNDEFINED
from bench.config.config import preset_names
from bench.errors import BenchError, counted

from .study import Panel, Study

if TYPE_CHECKING:
    import pandas as pd

HEAD = ("study", "preset", "dataset", "attack", "defense", "line", "step", "x", "seed", "settings", "status")
KEYS = ("threat_model_key", "search_key", "retraining_key")
PLANNED = ("k", "changed")
"""How many top images the panels look at, and the user's settings; tables written before these columns lack them."""
DEFAULT_K = 10


def read_csv(text: str) -> pd.DataFrame:
    """The table of a study's CSV: measures, x and k as float64 (NaN: undefined), all else as text.

    Raises BenchError for another file.
    """
    import pandas as pd

    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, index_col=False)
        table = table if "k" in table else table.assign(k=str(DEFAULT_K), changed="")
        plain = {*HEAD, *KEYS, "changed"} - {"x"}
        numbers = {str(name): table[name].replace("", "nan").astype(float) for name in table if name not in plain}
    except ValueError as error:  # pandas' own errors are ValueErrors
        raise BenchError(f"this is no study's CSV: {error}") from error
    missing = [name for name in HEAD if name not in table]
    if missing or table.empty:
        raise BenchError(f"this is no study's CSV: expected the columns {', '.join(HEAD)}, measures, and a line a run")
    return table.assign(**numbers)


# --- mean and spread ------------------------------------------------------------------------------


def panels(study: Study, table: pd.DataFrame) -> list[Panel]:
    """The study's panels, with the number of top images that the table is about."""
    return [panel.at(int(table["k"].iloc[0])) for panel in study.panels]


def curves(study: Study, panel: Panel, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The points of each curve of one panel that has any, by its name: columns "mean" and "spread" (the standard
    deviation over the seeds, NaN for one seed). Their index is x: k, the steps, or the lines' labels."""
    done = table[table["status"] == ""]
    series, x = ("line", "x") if study.across == "steps" or panel.over_k else ("step", "line")
    found = {}
    for name, path in panel.curves.items():
        for label, own in done.groupby(series, sort=False):
            points = _over_k(own, path) if panel.over_k else _spread(own.reindex(columns=[x, path]), x, path)
            if len(points):
                found[", ".join(part for part in (str(label), name) if part)] = points
    return found


def _over_k(own: pd.DataFrame, path: str) -> pd.DataFrame:
    """A search gives all k at once, so the first run of each seed is enough."""
    pattern = re.compile(re.escape(path).replace(r"\*", r"(\d+)"))
    ks = {name: int(match[1]) for name in own.columns if (match := pattern.fullmatch(name))}
    first = own.groupby("seed", sort=False).head(1)[[*ks]].rename(columns=ks).sort_index(axis=1)
    return _spread(first.melt(var_name="k"), "k", "value")


def _spread(own: pd.DataFrame, x: str, path: str) -> pd.DataFrame:
    """Mean and sample standard deviation of what is defined, in the order of the runs, those without it counted too."""
    import pandas as pd

    values = own.groupby(x, sort=False)[path]
    return pd.DataFrame({"mean": values.mean(), "spread": values.std()}).dropna(subset=["mean"])


# --- words ----------------------------------------------------------------------------------------


def seeds_of(table: pd.DataFrame) -> list[str]:
    """The seeds in their order."""
    return list(dict.fromkeys(table["seed"]))


def setting_words(table: pd.DataFrame) -> str:
    """Preset, dataset, attack, seeds: what all runs share."""
    first, seeds = table.iloc[0], [str(seed) for seed in seeds_of(table)]
    many = "seeds" if len(seeds) > 1 else "seed"
    return f"preset {first['preset']}, {first['dataset']}, attack {first['attack']}, {many} {', '.join(seeds)}"


def caveat(table: pd.DataFrame) -> str:
    """'' for the paper's own settings as they ship, unchanged."""
    preset = str(table["preset"].iloc[0])
    if preset.startswith("paper-") and preset in preset_names() and not table["changed"].iloc[0]:
        return ""
    return "not the paper's setting: compare the shape, not the numbers"


def not_run(table: pd.DataFrame) -> list[str]:
    """What was not run, a line for each reason."""
    found = []
    for reason, own in table[table["status"] != ""].groupby("status", sort=False):
        titles = [", ".join(part for part in parts if part) for parts in zip(own["line"], own["step"], strict=True)]
        found.append(f"{'; '.join(dict.fromkeys(title or 'the run' for title in titles))}: {reason}")
    return found


# --- markdown -------------------------------------------------------------------------------------


def to_markdown(study: Study, table: pd.DataFrame, left: int = 0) -> str:
    """A page: what was set, a table of the study's measures, and one for each measure over k.

    left: how many runs are still to come.
    """
    changed, warning, count = table["changed"].iloc[0], caveat(table), len(seeds_of(table))
    source = f" After {study.figure} of the PoisonCAM paper." if study.figure else ""
    about = [f"{study.about}{source}", ""]
    about += [f"- Here: {escape(setting_words(table))}"]
    about += [f"- Changed by --set: {escape(changed)}"] if changed else []
    about += [f"- **This is {warning}.**"] if warning else []
    drawn = panels(study, table)
    unfinished = f"**Unfinished: {left} of {counted(left + len(table), 'run')} are still to come.**" if left else ""
    parts = [f"# {study.title}", unfinished, "\n".join(about)]
    parts.append(_table(study, [panel for panel in drawn if not panel.over_k], table))
    for panel in drawn:
        if panel.over_k:
            parts.append(f"## {escape(panel.axis)} by search number\n\n{_k_table(study, panel, table)}")
    parts.append("\n".join(f"- Not run: {escape(line)}" for line in not_run(table)))
    spread = f"Mean ± standard deviation over {count} seeds; without ±, only one of them has a value."
    parts += [study.note, spread if count > 1 else "One seed: no spread can be given."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(study: Study, drawn: Sequence[Panel], table: pd.DataFrame) -> str:
    import pandas as pd

    named = [(panel, name, path) for panel in drawn for name, path in panel.curves.items()]
    if not named:
        return ""
    columns = dict.fromkeys([*table.columns, *(path for *_, path in named)])
    groups = table.reindex(columns=[*columns]).groupby(["line", "step"], sort=False)
    mean, spread = groups.mean(numeric_only=True), groups.std(numeric_only=True)
    shown: dict[str, Iterable[str]] = {
        "": mean.index.get_level_values("line"),
        study.x or "setting": mean.index.get_level_values("step"),
    }
    for panel, name, path in named:
        shown[f"{panel.axis}: {name}" if name else panel.axis] = _cells(mean[path], spread[path])
    shown["remark"] = groups["status"].agg(lambda own: "" if (own == "").any() else own.iloc[0].partition(":")[0])
    return _pipes(pd.DataFrame({name: list(column) for name, column in shown.items()}))


def _k_table(study: Study, panel: Panel, table: pd.DataFrame) -> str:
    import pandas as pd

    found = curves(study, panel, table)
    ks = sorted({k for points in found.values() for k in points.index})
    lines = [
        {"": name, **dict(zip((f"top {k}" for k in ks), _cells(points["mean"], points["spread"]), strict=True))}
        for name, points in ((name, points.reindex(ks)) for name, points in found.items())
    ]
    return _pipes(pd.DataFrame(lines)) if lines else "No values."


def _cells(means: pd.Series, spreads: pd.Series) -> list[str]:
    return [_cell(mean, spread) for mean, spread in zip(means, spreads, strict=True)]


def _cell(mean: float, spread: float) -> str:
    """'12.3 ± 0.4', three digits of what is small, a dash for NaN."""
    if mean != mean:
        return UNDEFINED
    digits = 1 if abs(mean) >= 1 or mean == 0 else 3
    return f"{mean:.{digits}f}" if spread != spread else f"{mean:.{digits}f} ± {spread:.{digits}f}"


def _pipes(shown: pd.DataFrame) -> str:
    """A markdown table without the empty columns."""
    shown = shown.loc[:, (shown != "").any()].map(lambda text: escape(text) if text else "")
    align = ["left" if name in ("", "remark") else "right" for name in shown.columns]
    shown.columns = [escape(name) if name else "" for name in shown.columns]
    return shown.to_markdown(index=False, disable_numparse=True, colalign=align)
