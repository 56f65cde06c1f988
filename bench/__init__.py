"""The public face of the benchmark: what plugins import. Everything else in `bench` is private to the harness.

Names load when they are first used, so that `bench --help` does not pay for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import (
        Arrays,
        Attack,
        Box,
        Control,
        Dataset,
        DatasetPlugin,
        Defense,
        Encoder,
        Grouping,
        Images,
        Learner,
        Mixed,
        Plugin,
        Poison,
        ProgressCallback,
        RowFunction,
        RowMapper,
        Split,
        SplitInfo,
        SSLMethod,
        TrainingDefense,
        Truth,
        Verdict,
        View,
    )
    from .errors import BenchError, UndeclaredNeed, nearest
    from .plugins import hookimpl
    from .seeds import Seeds

__version__ = "0.1.0"

_HOMES = {
    "BenchError": "errors",
    "UndeclaredNeed": "errors",
    "nearest": "errors",
    "hookimpl": "plugins",
    "Seeds": "seeds",
    "Arrays": "api",
    "Attack": "api",
    "Box": "api",
    "Control": "api",
    "Dataset": "api",
    "DatasetPlugin": "api",
    "Defense": "api",
    "Encoder": "api",
    "Grouping": "api",
    "Images": "api",
    "Learner": "api",
    "Mixed": "api",
    "RowFunction": "api",
    "Plugin": "api",
    "Poison": "api",
    "SplitInfo": "api",
    "Split": "api",
    "SSLMethod": "api",
    "RowMapper": "api",
    "ProgressCallback": "api",
    "TrainingDefense": "api",
    "Truth": "api",
    "Verdict": "api",
    "View": "api",
}
__all__ = [
    "BenchError",
    "UndeclaredNeed",
    "nearest",
    "hookimpl",
    "Seeds",
    "Arrays",
    "Attack",
    "Box",
    "Control",
    "Dataset",
    "DatasetPlugin",
    "Defense",
    "Encoder",
    "Grouping",
    "Images",
    "Learner",
    "Mixed",
    "RowFunction",
    "Plugin",
    "Poison",
    "SplitInfo",
    "Split",
    "SSLMethod",
    "RowMapper",
    "ProgressCallback",
    "TrainingDefense",
    "Truth",
    "Verdict",
    "View",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
