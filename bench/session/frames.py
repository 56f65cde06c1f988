"""Tables of many runs as pandas data frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

from .result import Result

if TYPE_CHECKING:
    import pandas as pd

    from bench.boards import Leaderboard
    from bench.boards.compare import Comparison

One = str | Path | Result | Mapping[str, Any]
Records = One | Iterable[One]


def leaderboard(records: Records | None = None) -> pd.DataFrame:
    """The tables of `bench leaderboard`, a row for each line, as its CSV has them.

    records: a folder, a file, a Result, a record, or a list of these; None for the records of the store. Each metric
    has a column for its mean over the seeds and one, "<metric> half", for half the width of its 95 % interval; NaN:
    undefined, as the interval of one seed. Raises BenchError, as for two results of one line and seed that differ.
    """
    import io

    import pandas as pd

    from bench.boards.csv import NOTE, RANKED, flat
    from bench.boards.row import Group

    texts = {*Group._fields, "defense", "kind", "settings", "status", "seed_list", "full_seeds", "records", NOTE}
    texts -= {"metric_version"}
    read = io.StringIO(flat(_tables(records)))
    frame = pd.read_csv(read, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(texts, str))  # type: ignore[arg-type]
    for name in frame.columns:
        if name in texts:
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "")
        elif name in ("seeds", "metric_version", *RANKED):
            frame[name] = frame[name].astype("Int64")
    return frame


def compare(
    one: str,
    other: str | None = None,
    records: Records | None = None,
    *,
    attack: str = "",
    dataset: str = "",
    preset: str = "",
    ssl: str = "",
) -> pd.DataFrame:
    """What `bench compare` prints: a row for each metric and pair of lines, with means, difference, interval, verdict.

    one, other: lines by their names, as "poisoncam"; other: None for each of the others. records: as for `leaderboard`.
    attack, dataset, preset, ssl: of several tables, which. Raises BenchError.
    """
    import pandas as pd

    from bench.boards.compare import chosen, comparisons

    names = [one, *([other] if other else [])]
    if one == other:
        raise BenchError(f"{one} is compared with itself: name another line, or none for all the others")
    table, lines = chosen(_tables(records), names, attack=attack, dataset=dataset, preset=preset, ssl=ssl)
    others = lines[1:] or [line for line in table.lines if line is not lines[0]]
    return pd.DataFrame([facts(table.title, each) for line in others for each in comparisons(table, lines[0], line)])


def facts(title: str, each: Comparison) -> dict[str, Any]:
    """A comparison as JSON-able data; None where there is none."""
    found = each.difference
    low, high = found.interval if found else (math.nan, math.nan)
    known = {
        "table": title,
        "metric": each.metric,
        "a": each.one.label,
        "b": each.other.label,
        "mean_a": each.means[0],
        "mean_b": each.means[1],
        "higher_is_better": each.higher_is_better,
        "verdict": each.verdict,
    }
    compared = (found.mean, low, high, list(found.seeds), found.comparisons) if found else (None,) * 5
    return known | dict(zip(("difference", "lower", "upper", "seeds", "comparisons"), compared, strict=True))


def _tables(records: Records | None) -> list[Leaderboard]:
    """The tables of all that is given. Raises BenchError where it is nothing, or no record."""
    from bench import boards
    from bench.boards.reported import reported
    from bench.records import record

    if records is None:
        from .opening import open_store

        records = open_store().root / "records"
    given: Sequence[One] = [records] if isinstance(records, str | Path | Result | Mapping) else list(records)
    runs: list[tuple[dict[str, Any], str]] = []
    printed: list[Path] = []
    for each in given:
        if isinstance(each, Result):
            runs.append((each.record, str(each.path)))
        elif isinstance(each, Mapping):
            record.validate(dict(each))
            runs.append((record.upgraded(each), ""))
        else:
            files = _files(each)
            printed += [file for file in files if file.suffix == ".csv"]
            runs += [(record.load(file), str(file)) for file in files if file.suffix != ".csv"]
    if not runs and not printed:
        raise BenchError(f"there is no record in {records!s}: `bench.run` and `bench run` make one")
    found = boards.tables([found for found, _ in runs], files=[file for _, file in runs])
    return [*found, *(table for file in printed for table in reported(file, ""))]


def _files(given: object) -> list[Path]:
    if not isinstance(given, str | Path):
        what = "a folder, a file, a Result or a record"
        raise BenchError(f"records holds {given!r} ({type(given).__name__}), expected {what}")
    path = Path(given).expanduser()
    if path.is_dir():
        return sorted([*path.glob("*.json"), *path.glob("*.csv")])
    if not path.is_file() and path.name != "records":
        raise BenchError(f"no record file or folder {str(given)!r}")
    return [path] if path.is_file() else []
