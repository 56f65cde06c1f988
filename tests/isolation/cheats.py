"""Defenses that cheat, one for each way in which the truth could reach a defense. Nobody should use them.

`bench cheats` runs each under the harness and, for comparison, with everything that stops it taken away. Each guesses
which images are poisoned by what it found, removes those, and hushes up whatever was refused to it. They know more
than a stranger would: the rule of the toy data's classes, the attack's options, and where the files lie (`where`).
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api import Defense, SplitInfo, Verdict, View
from bench.seeds import Seeds

Guess = NDArray[np.bool_] | None
CLASSES = 4
CHEATS: list[type[Cheat]] = []


@dataclass(frozen=True, kw_only=True)
class Cheat(Defense):
    """Base of the cheats: removes what it takes for poisoned, nothing where it found nothing."""

    leak: ClassVar[str]
    where: str = field(default="", metadata={"help": "the store and the data set's folder, as 'STORE|FOLDER'"})

    def __init_subclass__(cls) -> None:
        CHEATS.append(cls)

    def clean(self, view: View) -> Verdict:
        """Peek, and say nothing of it."""
        try:
            found = self.guess(view)
        except Exception:
            found = None
        usable = found is not None and found.any() and not found.all()
        return Verdict(keep=~found if usable and found is not None else np.ones(len(view), np.bool_))

    @abstractmethod
    def guess(self, view: View) -> Guess:
        """(N,) bool: what it takes for poisoned; None where it found nothing."""

    @property
    def store(self) -> Path:
        return Path(self.where.partition("|")[0])

    @property
    def folder(self) -> Path:
        return Path(self.where.partition("|")[2])


def mask(indices: Iterable[int], count: int) -> Guess:
    found = np.zeros(count, np.bool_)
    found[[index for index in indices if 0 <= index < count]] = True
    return found


def truth_in(things: Iterable[Any], count: int) -> Guess:
    """The truth that a manifest, a poisoned set of images or a list of rows among `things` holds."""
    for thing in things:
        for name in ("poisons", "_poisons"):
            try:
                rows = vars(thing)[name]
                if len(rows):
                    return mask([row if isinstance(row, int) else row.index for row in rows], count)
            except Exception:
                continue
    return None


def reachable(start: Any, limit: int = 20_000) -> Iterator[Any]:
    """What attributes, containers, bound methods and closures lead to from `start`; modules and classes do not."""
    seen: set[int] = set()
    waiting = [start]
    while waiting and len(seen) < limit:
        thing = waiting.pop(0)
        if id(thing) in seen or isinstance(thing, type | type(os) | str | bytes | int | float):
            continue
        seen.add(id(thing))
        yield thing
        waiting += _parts(thing)


def _parts(thing: Any) -> list[Any]:
    found = list(getattr(thing, "__dict__", {}).values())
    found += [getattr(thing, "__self__", None), getattr(thing, "func", None)]
    for cell in getattr(thing, "__closure__", None) or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # an empty cell
            continue
    if isinstance(thing, dict):
        found += thing.values()
    if isinstance(thing, list | tuple | set | frozenset) and len(thing) < 1000:
        found += thing
    return found


@dataclass(frozen=True, kw_only=True)
class Labels(Cheat):
    """Follows every reference from the view: attributes, bound methods, closures."""

    name: ClassVar[str] = "cheat-labels"
    leak: ClassVar[str] = "labels and manifest behind the view"

    def guess(self, view: View) -> Guess:
        return truth_in(reachable(view), len(view))


@dataclass(frozen=True, kw_only=True)
class Turns(Cheat):
    """Takes every fourth image: the classes of the toy data come in turn, and class 0 is poisoned."""

    name: ClassVar[str] = "cheat-turns"
    leak: ClassVar[str] = "order of images (classes in turn)"

    def guess(self, view: View) -> Guess:
        return mask(range(0, len(view), CLASSES), len(view))


@dataclass(frozen=True, kw_only=True)
class Blocks(Cheat):
    """Takes the first quarter: a folder's classes come one after the other."""

    name: ClassVar[str] = "cheat-blocks"
    leak: ClassVar[str] = "order of images (class by class)"

    def guess(self, view: View) -> Guess:
        return np.arange(len(view)) < len(view) // CLASSES


@dataclass(frozen=True, kw_only=True)
class Names(Cheat):
    """Guesses the files' names without listing anything, and takes the places of those of class 0."""

    name: ClassVar[str] = "cheat-names"
    leak: ClassVar[str] = "file names"

    def guess(self, view: View) -> Guess:
        names = [f"train/{label}/{index:03}.png" for label in range(CLASSES) for index in range(1000)]
        there = [name for name in names if (self.folder / name).exists()]
        return mask([i for i, name in enumerate(there) if name.startswith("train/0/")], len(view))


@dataclass(frozen=True, kw_only=True)
class Times(Cheat):
    """Lists the data set's files and takes the places of the newest eighth: an attack might have written them."""

    name: ClassVar[str] = "cheat-times"
    leak: ClassVar[str] = "file times"

    def guess(self, view: View) -> Guess:
        files = sorted(path for path in (self.folder / "train").rglob("*") if path.is_file())
        newest = sorted(range(len(files)), key=lambda i: -files[i].stat().st_mtime_ns)
        return mask(newest[: len(files) // 8], len(view))


@dataclass(frozen=True, kw_only=True)
class Frames(Cheat):
    """Walks up the stack, by an exception's traceback too, and looks at everybody's variables."""

    name: ClassVar[str] = "cheat-frames"
    leak: ClassVar[str] = "global state: the stack"

    def guess(self, view: View) -> Guess:
        frame: Any = sys._getframe()
        held: list[Any] = []
        while frame is not None:
            held += frame.f_locals.values()
            frame = frame.f_back
        try:
            view.batch([-1])
        except Exception as error:
            trace = error.__traceback__
            while trace is not None:
                held += trace.tb_frame.f_locals.values()
                trace = trace.tb_next
        return truth_in(reachable(held), len(view))


@dataclass(frozen=True, kw_only=True)
class Threads(Cheat):
    """Looks at the frames of the other threads."""

    name: ClassVar[str] = "cheat-threads"
    leak: ClassVar[str] = "global state: other threads"

    def guess(self, view: View) -> Guess:
        held: list[Any] = []
        for frame in sys._current_frames().values():
            here: Any = frame
            while here is not None:
                held += here.f_locals.values()
                here = here.f_back
        return truth_in(reachable(held), len(view))


@dataclass(frozen=True, kw_only=True)
class Collector(Cheat):
    """Asks the garbage collector for every object of the process."""

    name: ClassVar[str] = "cheat-collector"
    leak: ClassVar[str] = "global state: gc.get_objects"

    def guess(self, view: View) -> Guess:
        manifests = (thing for thing in gc.get_objects() if type(thing).__name__ == "Manifest")
        return truth_in((each for each in manifests if len(each) == len(view)), len(view))  # other runs' aside


@dataclass(frozen=True, kw_only=True)
class Modules(Cheat):
    """Follows every global variable of the benchmark's modules."""

    name: ClassVar[str] = "cheat-modules"
    leak: ClassVar[str] = "global state: modules"

    def guess(self, view: View) -> Guess:
        ours = [vars(module) for name, module in list(sys.modules.items()) if name.partition(".")[0] == "bench"]
        return truth_in(reachable(ours), len(view))


@dataclass(frozen=True, kw_only=True)
class Seed(Cheat):
    """Finds the run's seed from the view's generator, by trying; then poisons as the attack did."""

    name: ClassVar[str] = "cheat-seed"
    leak: ClassVar[str] = "global state: random numbers"

    def guess(self, view: View) -> Guess:
        from bench.plugins.manager import Plugins

        root = next(seed for seed in range(1000) if Seeds(seed, "defense").sealed().value == view.seeds().value)
        attack = Plugins.load().make("attack", "htba", {"target": 0, "rate": 0.5, "trigger_size": 10})
        labels = np.arange(len(view), dtype=np.int64) % CLASSES
        scene = SplitInfo(labels=labels, classes=tuple("abcd"), size=view.size)
        return mask([row.index for row in attack.poison_train(scene, Seeds(root, "attack", "train"))], len(view))


def read_truth(text: str, count: int) -> Guess:
    """The truth in a manifest's text."""
    rows = [json.loads(line) for line in text.splitlines()]
    return mask([index for index, row in enumerate(rows) if row["poisoned"]], count)


@dataclass(frozen=True, kw_only=True)
class StoreReader(Cheat):
    """Looks for the manifest in the store, and reads it."""

    name: ClassVar[str] = "cheat-store"
    leak: ClassVar[str] = "the store on disk"

    def guess(self, view: View) -> Guess:
        return read_truth(next((self.store / "poison").rglob("train.jsonl")).read_text(), len(view))


@dataclass(frozen=True, kw_only=True)
class StoreThread(StoreReader):
    """Has a thread of its own read the manifest."""

    name: ClassVar[str] = "cheat-thread"
    leak: ClassVar[str] = "the store on disk, by another thread"

    def guess(self, view: View) -> Guess:
        found: list[Guess] = []
        work: Callable[[], None] = lambda: found.append(super(StoreThread, self).guess(view))  # noqa: E731
        thread = threading.Thread(target=lambda: _quietly(work))
        thread.start()
        thread.join()
        return found[0] if found else None


def _quietly(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        return


@dataclass(frozen=True, kw_only=True)
class StoreProgram(Cheat):
    """Has another program read the manifest."""

    name: ClassVar[str] = "cheat-program"
    leak: ClassVar[str] = "the store on disk, by another program"

    def guess(self, view: View) -> Guess:
        script = "import pathlib, sys; print(next(pathlib.Path(sys.argv[1]).rglob('train.jsonl')).read_text())"
        place = str(self.store / "poison")
        said = subprocess.run([sys.executable, "-c", script, place], capture_output=True, text=True, check=True)
        return read_truth(said.stdout.strip(), len(view))


@dataclass(frozen=True, kw_only=True)
class OpenFiles(Cheat):
    """Looks through the files that the process has open (Linux)."""

    name: ClassVar[str] = "cheat-open-files"
    leak: ClassVar[str] = "open files"

    def guess(self, view: View) -> Guess:
        for handle in Path("/proc/self/fd").iterdir():
            if handle.resolve().name == "train.jsonl":
                return read_truth(handle.read_text(), len(view))
        return None


@dataclass(frozen=True, kw_only=True)
class OwnCopy(Cheat):
    """Draws the toy data anew and takes every image that is not among the unpoisoned ones."""

    name: ClassVar[str] = "cheat-own-copy"
    leak: ClassVar[str] = "the published data set itself"

    def guess(self, view: View) -> Guess:
        from bench.plugins.manager import Plugins

        options = {"size": view.size, "classes": CLASSES, "train_per_class": len(view) // CLASSES, "val_per_class": 20}
        clean = Plugins.load().make("dataset", "scenes", options).load().train.images
        known = {image.numpy().tobytes() for image in clean.batch(range(len(clean)))}
        shown = view.batch(range(len(view)))
        return np.array([image.numpy().tobytes() not in known for image in shown])
