"""Checks of options: each raises a ValueError that names the option, what was expected and what was got."""

from __future__ import annotations


def share(name: str, value: float) -> None:
    """`value` lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")


def at_least(least: int, **values: int) -> None:
    """Every one of `values`, given by name, is `least` or more."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} must be {least} or more, got {value}")


def positive(name: str, value: float) -> None:
    """`value` is above 0 (and not NaN)."""
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}")
