"""What a run says of each training image, as a CSV to compute with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.isolation.scores import Scores
from bench.records.redact import csv_cell

if TYPE_CHECKING:
    import pandas

    from bench.pipeline.pipeline import Pipeline

_SIDES = ("top", "left", "height", "width")


def per_image(pipeline: Pipeline) -> bytes:
    """A row for each training image of a finished run, in the order of the dataset, UTF-8: id, class, poisoned (0, 1),
    trigger (from 0), kept (0, 1), score, trigger_score, then the true and the found box, in pixels. Empty: does not
    apply, or the defense gives none.

    Of a detector a row for each test image: id, class, trigger, score; of an encoder test none."""
    import pandas

    if pipeline.config.defense.only_judges:
        return _written(pandas.DataFrame(_test_images(pipeline)))
    truth, verdict, data = pipeline.train_manifest, pipeline.verdict, pipeline.dataset
    nothing = np.full(len(truth), np.nan)
    columns: dict[str, Any] = {
        "id": [csv_cell(name) for name in truth.ids],
        "class": [csv_cell(data.classes[label]) for label in data.train.labels],
        "poisoned": truth.poisoned.astype(int),
        "trigger": _counted(truth.trigger),
        "kept": verdict.keep.astype(int),
        "score": nothing if verdict.score is None else verdict.score,
        "trigger_score": nothing if verdict.trigger_score is None else verdict.trigger_score,
    }
    for name, boxes in (("true", truth.boxes), ("found", verdict.boxes)):
        for place, side in enumerate(_SIDES):
            columns[f"{name}_{side}"] = _counted(np.full(len(truth), -1) if boxes is None else boxes[:, place])
    return _written(pandas.DataFrame(columns))


def _written(frame: pandas.DataFrame) -> bytes:
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text.encode("utf-8", "backslashreplace")


def _test_images(pipeline: Pipeline) -> dict[str, Any]:
    found, data = pipeline.judgement, pipeline.dataset
    if not isinstance(found, Scores):
        return {"id": [], "class": [], "trigger": [], "score": []}
    return {
        "id": [csv_cell(data.val.ids[index]) for index in found.index],
        "class": [csv_cell(data.classes[data.val.labels[index]]) for index in found.index],
        "trigger": _counted(found.trigger),
        "score": found.score,
    }


def _counted(values: NDArray[np.int64]) -> list[int | str]:
    """Whole numbers, nothing where they are negative."""
    return [int(value) if value >= 0 else "" for value in values]
