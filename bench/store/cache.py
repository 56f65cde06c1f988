"""Where the benchmark keeps files of the user's that may be lost at any time without harm."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path | None:
    """The benchmark's folder in the user's cache; None for a user without a home folder."""
    from platformdirs import user_cache_path

    try:
        return user_cache_path("ssl-backdoor-bench", appauthor=False).expanduser()
    except RuntimeError:
        return None


def cache_folder() -> Path | None:
    """Where to remember what is costly to find out: $BENCH_CACHE, else `user_cache()`."""
    given = os.environ.get("BENCH_CACHE")
    return Path(given) if given else user_cache()
