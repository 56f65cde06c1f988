"""How do attacks, defenses, datasets and SSL methods reach the benchmark? By hooks, which hookspecs.py lists.

`hookimpl` marks a function as one of them.
"""

from __future__ import annotations

import pluggy

hookimpl = pluggy.HookimplMarker("bench")

__all__ = ["hookimpl"]
