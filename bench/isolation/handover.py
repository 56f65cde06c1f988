"""The images that a defense judges, as a file for its process, in an order that says nothing about the data set.

Data sets come class by class (folders) or in turn (scenes), and attacks poison a class: an index would tell. Sorted by
their content the same images come in the same order however a data set is sorted, and no search needs to care.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.api import Images
from bench.data.images import ArrayImages, Subset
from bench.seeds import Seeds
from bench.store import read_arrays, replacing, write_arrays

IMAGES, ROWS, ORDER = "images.npy", "rows.npz", "{}-order.npz"
_BYTES = 1 << 25  # of images in memory at once


def hand_over(images: Images, seeds: Seeds, folder: Path, report: Callable[[str, int, int], None]) -> NDArray[np.int64]:
    """Write the images into `folder`, for `handed_over`, and give each one's index in the data set: (N,) int64.

    The file is written in one pass, in an order drawn for it alone, which no seed gives away; equal images come in an
    order drawn from `seeds`. What an interrupted run has written completely is not written again. The indices are kept
    beside the folder, which is all that the process may read. Raises BenchError where the disk is full.
    """
    kept = folder.with_name(ORDER.format(folder.name))
    if not ((folder / ROWS).exists() and kept.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        written = np.random.default_rng().permutation(len(images))
        places = np.argsort(written)  # of each index of the data set, in the file
        digests = _write(images, written, folder / IMAGES, report)[places]
        order = np.lexsort((np.argsort(seeds.child("order").numpy().permutation(len(images))), digests))
        write_arrays(kept, {"order": order})
        write_arrays(folder / ROWS, {"rows": places[order]})
    found: NDArray[np.int64] = read_arrays(kept)["order"]
    return found


def _write(
    images: Images, drawn: NDArray[np.int64], path: Path, report: Callable[[str, int, int], None]
) -> NDArray[np.uint64]:
    """Write the images in the order `drawn`; the first 8 bytes of the BLAKE2b hash of each one in the file, (N,)
    uint64."""
    digests = np.empty(len(images), np.uint64)
    step = max(1, _BYTES // (3 * images.size**2))
    shape = (len(images), 3, images.size, images.size)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, len(images), step):
            batch = images.batch(drawn[start : start + step]).numpy()
            for row, image in enumerate(batch, start):
                data = image.tobytes()
                digests[row] = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
                file.write(data)
            report("reading images", start + len(batch), len(images))
    return digests


def handed_over(folder: Path) -> Images:
    """The images that `hand_over` wrote into `folder`, in the order of the view, read when they are requested."""
    return Subset(ArrayImages(np.load(folder / IMAGES, mmap_mode="r")), read_arrays(folder / ROWS)["rows"])
