"""Each file decoded once, at the size that it is judged at: pixels on disk, a hash of the file, or why it cannot be."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from bench.api import Arrays, Images
from bench.data.decode import LAW, Unreadable, open_rgb, read_file, square
from bench.data.fingerprint import fingerprint
from bench.data.images import ArrayImages, Subset, in_threads
from bench.errors import BenchError, counted
from bench.pipeline.stage import ProgressReport, Stage
from bench.store import ArtifactBuilder, StepCache, read_arrays, write_arrays

from .archives import unpack
from .listing import Listing

CHUNK = 512
"""Files between two saves: what a kill costs at most."""
PIXELS, FILES = "pixels.npy", "files.npz"


def images_stage(listing: Listing, size: int) -> Stage:
    """Decodes the files of `listing` at `size` px into one array on disk: N x 3 x size x size bytes.

    Named by the files' names, sizes and times. Holds no name: row i is the listing's file i.
    """
    import PIL

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
        _decode_all(listing, size, making, report)

    return Stage(
        name="images",
        title="read the images",
        config={"files": listing.digest, "size": size, "law": LAW, "pillow": PIL.__version__},
        inputs={},
        make=make,
        work=len(listing.names),
    )


def _decode_all(listing: Listing, size: int, making: ArtifactBuilder, report: ProgressReport) -> None:
    """In chunks, each a saved step that follows its pixels: a killed one is decoded again and overwrites its rows.

    An archive is unpacked into the work folder first; what was unpacked goes with it.
    """
    count, notebook, found = len(listing.names), StepCache(making.scratch), []
    root, files = listing.root, list(listing.names)
    if listing.kind == "archive":
        root = making.scratch / "unpacked"
        files = unpack(listing.root, files, root)
    path = making.dir / PIXELS
    path.touch()
    with path.open("r+b") as file:
        start = _header(file, (count, 3, size, size))
        for first in range(0, count, CHUNK):
            names = files[first : first + CHUNK]
            file.seek(start + first * 3 * size * size)

            def step(names: Sequence[str] = names) -> Arrays:
                return _decode(root, names, size, file)

            found.append(notebook.step(f"files-{first:08d}", step))
            report("files", min(first + CHUNK, count), count)
    if root != listing.root:
        shutil.rmtree(root)
    write_arrays(making.dir / FILES, {name: np.concatenate([each[name] for each in found]) for name in found[0]})


def _header(file: IO[bytes], shape: tuple[int, ...]) -> int:
    """Write the head of an npy file of uint8; where its data begin. (A memory map would crash on a full disk.)"""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.tell()


def _decode(root: Path, names: Sequence[str], size: int, file: IO[bytes]) -> Arrays:
    """Pixels of one chunk into `file`, black where a file cannot be read; its digests (n, 32) uint8 and faults (n,)."""
    pixels = np.zeros((len(names), 3, size, size), np.uint8)
    digests, faults = np.zeros((len(names), 32), np.uint8), [""] * len(names)

    def fill(part: slice) -> None:
        for row in range(part.start, part.stop):
            try:
                data = read_file(root / names[row])
                pixels[row] = square(open_rgb(BytesIO(data)), size)
                digests[row] = np.frombuffer(hashlib.sha256(data).digest(), np.uint8)
            except Unreadable as error:
                faults[row] = str(error)

    in_threads(fill, len(names))
    file.write(pixels.tobytes())
    file.flush()
    return {"digests": digests, "faults": np.array(faults, np.str_)}


@dataclass(frozen=True, eq=False)
class Gathered:
    """What the images stage left in `folder`, of F files: what can be read, each content once.

    Images are in the order of their files' hashes: neither names nor folders decide anything that follows, and the
    same files under other names are the same scan.
    """

    folder: Path

    @cached_property
    def _files(self) -> Arrays:
        return read_arrays(self.folder / FILES)

    @property
    def faults(self) -> list[str]:
        """Why each file cannot be read; '' where it can."""
        return [str(fault) for fault in self._files["faults"]]

    @cached_property
    def _distinct(self) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]:
        """The N contents by digest (N,), hex, sorted; the first file of each (N,); the content of each file (F,), or
        -1 for none."""
        readable = np.flatnonzero(self._files["faults"] == "")
        digests = np.array([row.tobytes().hex() for row in self._files["digests"][readable]], np.str_)
        contents, firsts, places = np.unique(digests, return_index=True, return_inverse=True)
        owner = np.full(len(self._files["faults"]), -1, np.int64)
        owner[readable] = places
        return contents, readable[firsts], owner

    @property
    def owner(self) -> NDArray[np.int64]:
        """Which image each file is: (F,), -1 where it cannot be read."""
        return self._distinct[2]

    @property
    def digests(self) -> list[str]:
        """SHA-256 (hex) of each image's file."""
        return [str(digest) for digest in self._distinct[0]]

    @cached_property
    def images(self) -> Images:
        """The N images, read from the disk when they are used."""
        pixels = np.load(self.folder / PIXELS, mmap_mode="r")
        if not len(self._distinct[1]):
            raise BenchError(
                f"none of the {counted(len(self._files['faults']), 'file')} can be read; the first: {self.faults[0]}"
            )
        return Subset(ArrayImages(pixels), self._distinct[1])

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the contents and how they are decoded; of no name."""
        contents = [bytes.fromhex(digest) for digest in self.digests]
        return fingerprint((), [("scan", self.digests, contents)], of="files", law=LAW, size=self.images.size)

    def duplicates(self) -> list[NDArray[np.int64]]:
        """The files of each content that several have, by the first file's place: arrays of 2 or more."""
        order = np.argsort(self.owner, kind="stable")
        owners = self.owner[order]
        groups = np.split(order, np.flatnonzero(np.diff(owners)) + 1) if len(order) else []
        return sorted((g for g in groups if len(g) > 1 and self.owner[g[0]] >= 0), key=lambda group: int(group[0]))
