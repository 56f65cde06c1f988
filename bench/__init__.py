"""The public face of the benchmark: what plugins import, and `run`, `leaderboard` and `compare` for scripts and
notebooks. Everything else in `bench` is private to the harness.

Names load when they are first used, so that `bench --help` does not load torch.
"""

# ruff: noqa: F403, F405 - the names of api.py are listed once, in __all__

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import *
    from .data import augment
    from .errors import BenchError, UndeclaredNeed, counted, nearest
    from .parallel.at_once import at_once
    from .plugins import hookimpl
    from .seeds import Seeds
    from .session import Result, compare, leaderboard, run

__version__ = "0.1.0"
__all__ = [
    "AnyDefense",
    "Arrays",
    "Attack",
    "BenchError",
    "Box",
    "Control",
    "Dataset",
    "DatasetPlugin",
    "Defense",
    "Detector",
    "Encoder",
    "EncoderTest",
    "EncoderVerdict",
    "Grouping",
    "Images",
    "Judge",
    "Learner",
    "Mixed",
    "Plugin",
    "Poison",
    "ProgressCallback",
    "Repair",
    "Result",
    "RowFunction",
    "RowMapper",
    "SSLMethod",
    "Seeds",
    "Split",
    "SplitInfo",
    "TrainingDefense",
    "Truth",
    "UndeclaredNeed",
    "Verdict",
    "View",
    "at_once",
    "augment",
    "compare",
    "counted",
    "hookimpl",
    "leaderboard",
    "nearest",
    "run",
    "__version__",
]
_HOMES = {  # of names that are not in api
    "BenchError": "errors",
    "at_once": "parallel.at_once",
    "UndeclaredNeed": "errors",
    "counted": "errors",
    "nearest": "errors",
    "hookimpl": "plugins",
    "Seeds": "seeds",
    **dict.fromkeys(("Result", "compare", "leaderboard", "run"), "session"),
}


def __getattr__(name: str) -> Any:
    if name == "augment":
        return import_module(".data.augment", __name__)
    if name not in __all__:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES.get(name, 'api')}", __name__), name)
