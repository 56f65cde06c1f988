"""Where do results lie? Finished stages and records on disk, each under the hash of everything that decided it."""

from __future__ import annotations

from .artifact import ArtifactBuilder, StepCache, highest_mb
from .cache import cache_folder, user_cache
from .files import (
    check_can_write,
    read_arrays,
    read_bytes,
    read_json,
    read_text,
    replacing,
    write_arrays,
    write_bytes,
    write_json,
    writing,
)
from .hashing import canonical, check_json, digest, key_of
from .store import Store, StoreEntry

__all__ = [
    "ArtifactBuilder",
    "StoreEntry",
    "StepCache",
    "Store",
    "cache_folder",
    "canonical",
    "check_can_write",
    "check_json",
    "digest",
    "highest_mb",
    "key_of",
    "read_arrays",
    "read_bytes",
    "read_json",
    "read_text",
    "replacing",
    "user_cache",
    "write_arrays",
    "write_bytes",
    "write_json",
    "writing",
]
