"""The public face of the benchmark: what plugins import. Everything else in `bench` is private to the harness.

Names load when they are first used, so that `bench --help` does not pay for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import BenchError, UndeclaredNeed, nearest
    from .plugins import hookimpl
    from .seeds import Seeds
    from .types import (
        Arrays,
        Attack,
        Box,
        Control,
        Cost,
        Dataset,
        DatasetPlugin,
        Defense,
        Encoder,
        Grouping,
        Images,
        Learner,
        Mixed,
        Part,
        Plugin,
        Poison,
        Sample,
        Scene,
        Split,
        SSLMethod,
        Team,
        Tell,
        TrainingDefense,
        Truth,
        Verdict,
        View,
    )

__version__ = "0.1.0"

_HOMES = {
    "BenchError": "errors",
    "UndeclaredNeed": "errors",
    "nearest": "errors",
    "hookimpl": "plugins",
    "Seeds": "seeds",
    "Arrays": "types",
    "Attack": "types",
    "Box": "types",
    "Control": "types",
    "Cost": "types",
    "Dataset": "types",
    "DatasetPlugin": "types",
    "Defense": "types",
    "Encoder": "types",
    "Grouping": "types",
    "Images": "types",
    "Learner": "types",
    "Mixed": "types",
    "Part": "types",
    "Plugin": "types",
    "Poison": "types",
    "Sample": "types",
    "Scene": "types",
    "Split": "types",
    "SSLMethod": "types",
    "Team": "types",
    "Tell": "types",
    "TrainingDefense": "types",
    "Truth": "types",
    "Verdict": "types",
    "View": "types",
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
    "Cost",
    "Dataset",
    "DatasetPlugin",
    "Defense",
    "Encoder",
    "Grouping",
    "Images",
    "Learner",
    "Mixed",
    "Part",
    "Plugin",
    "Poison",
    "Sample",
    "Scene",
    "Split",
    "SSLMethod",
    "Team",
    "Tell",
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
