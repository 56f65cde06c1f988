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

from bench.api import Dataset
from bench.config.combination import Combination
from bench.config.config import load_config
from bench.errors import BenchError, Peeking
from bench.leaderboard.marks import filled_in
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.runner import make_stage
from bench.pipeline.stages import Machine, defender_view
from bench.plugins.contract.cheats import CHEATS, Blocks, Cheat, Names, OwnCopy, Times
from bench.plugins.manager import Plugins
from bench.store import Store, write_bytes, writing

IN_FOLDERS = (Blocks, Names, Times)
"""Cheats that go for the files of a data set in folders; the others meet drawn scenes."""
SEEDS = range(8)
CHANCE = 20 / 160
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

    @classmethod
    def mean(cls, gains: Sequence[Gain]) -> Gain:
        """Of gains that are all there; nothing, where one is not."""
        pairs = [
            (gain.precision, gain.recall) for gain in gains if gain.precision is not None and gain.recall is not None
        ]
        if len(pairs) < len(gains):
            return cls(None, None)
        precision, recall = np.mean(pairs, axis=0).tolist()
        return cls(precision, recall)

    def __str__(self) -> str:
        return "nothing" if self.precision is None else f"{self.precision:.2f} / {self.recall:.2f}"


@dataclass(frozen=True)
class Result:
    """One cheat: what it gained without the harness and under it, and its refusal ("" for none)."""

    cheat: type[Cheat]
    naive: Gain
    gained: Gain
    refusal: str

    @property
    def stopped(self) -> bool:
        """Whether it was caught or gained nothing. A random choice of 20 of the images has a precision of CHANCE with a
        standard deviation of 0.07, and over SEEDS one of 0.024: three of these are allowed."""
        return bool(self.refusal) or self.gained.precision is None or self.gained.precision < CHANCE + 0.072

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
    chosen = cheats or CHEATS
    with tempfile.TemporaryDirectory() as name:
        hall = _Hall(Path(name).resolve())
        # While there is one manifest in the process, a cheat cannot find another's: scenes first, other seeds last.
        naive = {cheat: hall.naively(cheat) for cheat in sorted(chosen, key=lambda each: each in IN_FOLDERS)}
        return [hall.result(cheat, naive[cheat]) for cheat in chosen]


class _Hall:
    """Where the cheats are tried: drawn scenes, the same as files in folders, a store for each."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._folder = work / "images"
        _as_folder(self._pipeline(0, in_folders=False).dataset, self._folder)

    def _pipeline(self, seed: int, *, in_folders: bool) -> Pipeline:
        """A pipeline whose images are poisoned; nothing is trained."""
        settings = (f"dataset.root={self._folder}", "dataset.size=32") if in_folders else ()
        choices = {"dataset": "folder" if in_folders else "scenes"}
        config = load_config(Plugins.load(), "smoke", choices=choices, settings=settings, seed=seed)
        store = Store(self._work / ("files" if in_folders else "scenes") / str(seed))
        pipeline = Pipeline(config, config.dataset.load(), store, Machine(accelerator="cpu"))
        make_stage(pipeline.poison, store, _Deaf())
        return pipeline

    def _plugin(self, cheat: type[Cheat], pipeline: Pipeline) -> Cheat:
        return cheat(where=f"{pipeline.store.root}|{self._folder}")

    def naively(self, cheat: type[Cheat]) -> Gain:
        """What it gains where nothing stops it."""
        pipeline = self._pipeline(0, in_folders=cheat in IN_FOLDERS)
        return Gain.of(_naively(self._plugin(cheat, pipeline), pipeline), pipeline.train_manifest.poisoned)

    def result(self, cheat: type[Cheat], naive: Gain) -> Result:
        """What it gains under the harness, the mean over SEEDS; or its refusal."""
        gains = []
        for seed in SEEDS:
            pipeline = self._pipeline(seed, in_folders=cheat in IN_FOLDERS)
            try:
                gains.append(_examined(self._plugin(cheat, pipeline), pipeline))
            except Peeking as error:
                return Result(cheat, naive, Gain(None, None), str(error))
            if gains[-1].precision is None:
                break
        return Result(cheat, naive, Gain.mean(gains), "")


def _examined(plugin: Cheat, pipeline: Pipeline) -> Gain:
    """What it gains in a run. Raises Peeking."""
    config = dataclasses.replace(pipeline.config, defense=Combination(filter=plugin))
    run = Pipeline(config, pipeline.dataset, pipeline.store, pipeline.machine)
    make_stage(run.clean, run.store, _Deaf())
    return Gain.of(~run.verdict.keep, run.train_manifest.poisoned)


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

    started = progressed = measured = finished = staticmethod(lambda *_: None)


def insert(path: Path, text: str) -> None:
    """Put `text` at the place for it in a markdown file. Raises BenchError without one."""
    whole = path.read_text(encoding="utf-8") if path.is_file() else ""
    try:
        write_bytes(path, filled_in(whole, "cheats", text).encode())
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from None


def table(results: Sequence[Result]) -> str:
    """Markdown, one row for each cheat."""
    head = "| leak | what the cheat does | without the harness | under it | how it ends |"
    lines = [head, "|---|---|---|---|---|"]
    for each in results:
        what = (each.cheat.__doc__ or "").strip().splitlines()[0]
        lines.append(f"| {each.cheat.leak} | {what} | {each.naive} | {each.gained} | {each.verdict} |")
    return "\n".join(lines) + "\n"
