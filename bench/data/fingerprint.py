"""What identifies a dataset: one SHA-256 over its class list, the ids of its images and the images' bytes.

The same images give the same fingerprint on every machine: no path outside the ids, no time stamp, and no
pixel that a decoder made goes into it (JPEG decoders differ between versions; file bytes do not).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from bench import seeds
from bench.api import Images
from bench.errors import BenchError
from bench.store import cache_folder, write_bytes

SplitDigests = tuple[str, Sequence[str], Iterable[bytes]]
"""A split's name, its ids, and one digest for each id, in the same order."""


def fingerprint(classes: Sequence[str], splits: Iterable[SplitDigests], **facts: Any) -> str:
    """Hex SHA-256 over `classes`, each split's name, ids and digests, and `facts` (JSON-able, by name).

    Every part is preceded by its length, so that no two different inputs give the same stream. The digests
    are read one by one: a generator keeps memory constant. ValueError where there are not as many as ids.
    """
    hasher = hashlib.sha256()
    parts = ["bench dataset 1", json.dumps(facts, sort_keys=True), str(len(classes)), *classes]
    for part in parts:
        _add(hasher, part.encode())
    for name, ids, digests in splits:
        _add(hasher, name.encode())
        _add(hasher, str(len(ids)).encode())
        for image_id, digest in zip(ids, digests, strict=True):
            _add(hasher, image_id.encode())
            _add(hasher, digest)
    return hasher.hexdigest()


def array_digest(label: int, pixels: NDArray[np.uint8]) -> bytes:
    """SHA-256 of one image that is no file: its class index, then its pixels (3, S, S) in C order."""
    hasher = hashlib.sha256(f"{int(label)}:".encode())
    hasher.update(np.ascontiguousarray(pixels).data)
    return hasher.digest()


def image_digests(images: Images, labels: NDArray[np.int64], chunk: int = 256) -> Iterator[bytes]:
    """`array_digest` of every image in turn, reading `chunk` of them at a time."""
    for start in range(0, len(images), chunk):
        rows = range(start, min(start + chunk, len(images)))
        for row, pixels in zip(rows, images.batch(rows), strict=True):
            yield array_digest(int(labels[row]), pixels.numpy())


def remembered(options: Mapping[str, Any], drawing: type, compute: Callable[[], str]) -> str:
    """The fingerprint of procedural images: `compute()`, or what an earlier call found for the same options and code.

    options: JSON-able, all that the images depend on besides the code of the class `drawing`: its file and those of the
    classes that it extends, as they are now; where one lies in no file (a notebook's), nothing is remembered. What is
    remembered lies in the cache folder; losing it costs time, nothing else.
    """
    hasher = hashlib.sha256()
    _add(hasher, json.dumps([options, np.__version__, PIL.__version__], sort_keys=True).encode())
    try:
        files = {inspect.getfile(cls) for cls in drawing.__mro__ if cls.__module__ != "builtins"}
        for file in (*sorted(files), __file__, seeds.__file__):
            _add(hasher, Path(file).read_bytes())
    except (OSError, TypeError):
        return compute()
    folder = cache_folder()
    if folder is None:
        return compute()
    place = folder / "fingerprints" / hasher.hexdigest()
    with suppress(OSError, ValueError):
        text = place.read_text(encoding="ascii")
        if re.fullmatch("[0-9a-f]{64}", text):
            return text
    found = compute()
    with suppress(BenchError):
        write_bytes(place, found.encode())
    return found


def _add(hasher: hashlib._Hash, part: bytes) -> None:
    hasher.update(len(part).to_bytes(8, "little"))
    hasher.update(part)
