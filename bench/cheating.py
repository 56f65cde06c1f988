"""`bench cheats`: every cheat of the contract kit on toy data, under the harness and without it, and what it gained.

"Without it" is what a naive harness would do: call the defense from the middle of the pipeline, with the view that
closes over everything, on the images in the order of the data set.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .combination import Combination
from .config import load_config
from .errors import BenchError, Peeking
from .pipeline import Pipeline
from .plugins.cheats import CHEATS, Blocks, Cheat, Names, OwnCopy, Times
from .plugins.manager import Plugins
from .run import make_stage
from .stages import Machine, defender_view
from .store import Store, write_bytes, writing
from .types import Dataset

_BLIND = lambda *_: None  # noqa: E731
IN_FOLDERS = (Blocks, Names, Times)
"""Cheats that go for the files of a data set in folders; the others meet drawn scenes."""
ALLOWED = (OwnCopy,)
"""What no harness can stop: see docs/no-peeking.md."""


@dataclass(frozen=True)
class Gain:
    """Precision and recall of what was removed; None, None where nothing was."""

    precision: float | None
    recall: float | None

    @classmethod
    def of(cls, removed: NDArray[np.bool_], poisoned: NDArray[np.bool_]) -> Gain:
        """The gain of removing `removed` of images of which `poisoned` are, both (N,) bool."""
        if not removed.any():
            return cls(None, None)
        hits = float((removed & poisoned).sum())
        return cls(hits / float(removed.sum()), hits / float(poisoned.sum()))

    def __str__(self) -> str:
        return "nothing" if self.precision is None else f"{self.precision:.2f} / {self.recall:.2f}"


@dataclass(frozen=True)
class Result:
    """One cheat: what it gained without the harness and under it, its refusal ("" for none), and the chance level."""

    cheat: type[Cheat]
    naive: Gain
    gained: Gain
    refusal: str
    chance: float

    @property
    def stopped(self) -> bool:
        """Whether it was caught or gained nothing: of 160 images an eighth poisoned, a guess at random is within 0.15
        of that precision."""
        return bool(self.refusal) or self.gained.precision is None or self.gained.precision < self.chance + 0.15

    @property
    def verdict(self) -> str:
        """How it was stopped, in a few words."""
        if self.refusal:
            return "caught, the run ends"
        if self.gained.precision is None:
            return "finds nothing"
        return "no better than chance" if self.stopped else "not stopped"


def run_cheats(cheats: Sequence[type[Cheat]] = ()) -> list[Result]:
    """Every cheat of `cheats` (all, without any) on 160 images of four classes, 20 of them poisoned."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name).resolve()
        scenes = _pipeline(work / "scenes", ())
        folder = _as_folder(scenes.dataset, work / "images")
        files = _pipeline(work / "files", ("dataset.root=" + str(folder), "dataset.size=32"), dataset="folder")
        for pipeline in (scenes, files):
            make_stage(pipeline.poison, pipeline.store, _Deaf())
        pairs = [(cheat, files if cheat in IN_FOLDERS else scenes) for cheat in cheats or CHEATS]
        pairs.sort(key=lambda pair: pair[1] is files)  # while there is one manifest, a cheat cannot find the other's
        found = {cheat: _try(cheat, pipeline, f"{pipeline.store.root}|{folder}") for cheat, pipeline in pairs}
        return [found[cheat] for cheat in cheats or CHEATS]


def _pipeline(store: Path, settings: Sequence[str], **choices: str) -> Pipeline:
    config = load_config(Plugins.load(), "smoke", choices=choices, settings=settings)
    return Pipeline(config, config.dataset.load(), Store(store), Machine(accelerator="cpu"))


def _as_folder(dataset: Dataset, root: Path) -> Path:
    """The data set as PNG files, one folder for each class."""
    from PIL import Image

    for split, part in (("train", dataset.train), ("val", dataset.val)):
        counts = dict.fromkeys(range(len(dataset.classes)), 0)
        for index, label in enumerate(part.labels.tolist()):
            path = root / split / str(label) / f"{counts[label]:03}.png"
            counts[label] += 1
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(part.images.batch([index])[0].permute(1, 2, 0).numpy()).save(path)
    return root


def _try(cheat: type[Cheat], pipeline: Pipeline, where: str) -> Result:
    plugin = cheat(where=where)
    poisoned = pipeline.train_manifest.poisoned
    naive = Gain.of(_naively(plugin, pipeline), poisoned)
    config = dataclasses.replace(pipeline.config, defense=Combination(chooser=plugin))
    run = Pipeline(config, pipeline.dataset, pipeline.store, pipeline.machine)
    refusal = ""
    try:
        make_stage(run.clean, run.store, _Deaf())
        gained = Gain.of(~run.verdict.keep, poisoned)
    except Peeking as error:
        refusal, gained = str(error), Gain(None, None)
    return Result(cheat, naive, gained, refusal, float(poisoned.mean()))


def _naively(plugin: Cheat, pipeline: Pipeline) -> NDArray[np.bool_]:
    """What it removes where nothing stops it. That the truth is at hand here is the point."""
    images, truth = pipeline.poisoned_train, pipeline.train_manifest
    path = pipeline.folder(pipeline.poison) / "train.jsonl"

    def tell(what: str, done: int, total: int, /, **numbers: float) -> None:
        """As a report that closes over its run."""
        assert truth is not None

    with tempfile.TemporaryDirectory() as notes, _in_a_module(truth), path.open():
        view = defender_view(pipeline.config, plugin, images, pipeline.machine, lambda: path, Path(notes), tell)
        removed: NDArray[np.bool_] = ~plugin.clean(view).keep
        return removed


HELD: list[object] = []


@contextmanager
def _in_a_module(truth: object) -> Iterator[None]:
    """A global variable that holds the truth, as a cache might."""
    HELD.append(truth)
    try:
        yield
    finally:
        HELD.clear()


class _Deaf:
    """A listener that hears nothing."""

    started = progressed = measured = finished = staticmethod(_BLIND)


START, END = "<!-- cheats: begin -->\n", "<!-- cheats: end -->\n"


def insert(path: Path, text: str) -> None:
    """Put `text` between the marks START and END of a markdown file. Raises BenchError without them."""
    whole = path.read_text(encoding="utf-8") if path.is_file() else ""
    if START not in whole or END not in whole:
        raise BenchError(f"{path} has no place for the table: expected the lines {START.strip()} and {END.strip()}")
    before, after = whole.partition(START)[0], whole.partition(END)[2]
    write_bytes(path, f"{before}{START}\n{text}\n{END}{after}".encode())


def table(results: Sequence[Result]) -> str:
    """Markdown, one row for each cheat."""
    head = "| leak | what the cheat does | without the harness | under it | how it ends |"
    lines = [head, "|---|---|---|---|---|"]
    for each in results:
        what = (each.cheat.__doc__ or "").strip().splitlines()[0]
        lines.append(f"| {each.cheat.leak} | {what} | {each.naive} | {each.gained} | {each.verdict} |")
    return "\n".join(lines) + "\n"
