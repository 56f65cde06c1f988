"""Plugging in: `hookimpl` marks a function as a hook of the benchmark; hookspecs.py lists the hooks."""

from __future__ import annotations

import pluggy

hookimpl = pluggy.HookimplMarker("bench")

__all__ = ["hookimpl"]
