"""What a run gave: numbers, images, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.records.record import numbers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from bench.pipeline.pipeline import Pipeline
    from bench.plugins.manager import Plugins

BOX = ("box_top", "box_left", "box_height", "box_width")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    """A finished run. record: as `bench run` writes it, JSON-able. path: where the store keeps it.

    `images` and `figure` read what the stages left in the store.
    """

    record: dict[str, Any]
    path: Path
    pipeline: Pipeline = field(repr=False)
    known: Plugins = field(repr=False)

    @property
    def metrics(self) -> dict[str, float | int | None]:
        """Every metric by its path in the record: {"none.clean.acc": 93.5, "detection.f1": 88.0 ...}; percent, None
        where a share is undefined."""
        return numbers(self.record["metrics"])

    def images(self) -> pd.DataFrame:
        """One row for each of the N training images, in the order of the data set.

        id and class (texts), poisoned and kept (bool), score and trigger_score (float, NaN where there is none), and
        the window found in pixels: box_top, box_left, box_height, box_width (Int64, NA where there is none).

        Of a detector one row for each test image: id, class, triggered (bool), trigger (Int64, which one, NA without),
        score. Raises BenchError for an encoder test, which scores no image.
        """
        import numpy as np
        import pandas as pd

        if self.pipeline.config.defense.only_judges:
            return self._test_images()
        data, verdict = self.pipeline.dataset, self.pipeline.verdict
        count = len(data.train)
        nothing = np.full(count, np.nan)
        columns: dict[str, Any] = {
            "id": list(data.train.ids),
            "class": [data.classes[label] for label in data.train.labels],
            "poisoned": self.pipeline.train_manifest.poisoned,
            "kept": verdict.keep,
            "score": nothing if verdict.score is None else verdict.score,
            "trigger_score": nothing if verdict.trigger_score is None else verdict.trigger_score,
        }
        boxes = np.full((count, 4), -1) if verdict.boxes is None else verdict.boxes
        for place, name in enumerate(BOX):
            columns[name] = pd.array(boxes[:, place], dtype="Int64")
        frame = pd.DataFrame(columns)
        frame.loc[(boxes < 0).any(1), list(BOX)] = pd.NA
        return frame

    def _test_images(self) -> pd.DataFrame:
        import pandas as pd

        from bench.isolation.scores import Scores

        data, found = self.pipeline.dataset, self.pipeline.judgement
        if not isinstance(found, Scores):
            raise BenchError(
                f"{self.pipeline.config.defense.name} judges the encoder and scores no image; its score is "
                "result.metrics['encoder.score']"
            )
        trigger = pd.array(found.trigger, dtype="Int64")
        trigger[~found.triggered] = pd.NA
        return pd.DataFrame(
            {
                "id": [data.val.ids[index] for index in found.index],
                "class": [data.classes[data.val.labels[index]] for index in found.index],
                "triggered": found.triggered,
                "trigger": trigger,
                "score": found.score,
            }
        )

    def figure(self, maps: Sequence[str] | None = None, count: int = 12) -> Figure:
        """The `count` most suspicious images, and where defenses look on them: what `bench report -o x.png` draws.

        maps: names of these defenses, None for all that locate triggers. Raises BenchError where there is nothing to
        show.
        """
        from bench.report.attention import gallery

        from .opening import locating, lookers

        names = [maps] if isinstance(maps, str) else maps
        defenses = lookers(self.pipeline, self.known, locating(self.known) if names is None else names)
        return gallery(self.pipeline, defenses, count)

    def save(self, path: str | Path) -> None:
        """Write the record, for `bench leaderboard`, `bench submit` and the like. Raises BenchError."""
        from bench.records import record

        record.save(Path(path).expanduser(), self.record)

    def __repr__(self) -> str:
        from bench.report.page import title_of

        return f"<bench.Result: {title_of(self.record)}>"

    def _repr_html_(self) -> str:
        from html import escape

        from bench.report.controls import Beside
        from bench.report.page import title_of
        from bench.report.tables import rates, removal

        parts = [f"<p><b>{escape(title_of(self.record))}</b></p>"]
        for table in (rates(self.record, Beside()), removal(self.record)):
            lines = [_row("th", table.headings), *(_row("td", row) for row in table.rows)]
            parts.append(f"<table><caption>{escape(table.caption)}</caption>{''.join(lines)}</table>")
        return "".join(parts)


def _row(tag: str, cells: Sequence[str]) -> str:
    from html import escape

    return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"
