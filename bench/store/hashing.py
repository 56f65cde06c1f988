"""Keys: SHA-256 of the one JSON text of a value."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from bench.errors import BenchError


def check_json(value: object, where: str = "value") -> None:
    """Raise BenchError naming the place where `value` is not plain JSON (string keys, finite numbers)."""
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BenchError(f"{where} is {value}; expected a finite number, or null where it is undefined")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BenchError(f"{where} has the key {key!r} ({type(key).__name__}); expected a string")
            check_json(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_json(item, f"{where}[{index}]")
    else:
        raise BenchError(
            f"{where} is a {type(value).__module__}.{type(value).__name__}; expected JSON "
            "(dict, list, str, int, float, bool or None)"
        )


def canonical(value: object, where: str = "value") -> str:
    """The one JSON text of `value`: sorted keys, no spaces, ASCII, no NaN. Equal values give equal texts."""
    check_json(value, where)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object, where: str = "value") -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value, where).encode()).hexdigest()


def key_of(stage: str, version: str | int, config: Any, inputs: Mapping[str, str]) -> str:
    """The key (SHA-256, hex) of what `stage` makes: from its code version, own config and inputs' keys."""
    decides = {"stage": stage, "version": version, "config": config, "inputs": dict(inputs)}
    return digest(decides, f"stage {stage}")
