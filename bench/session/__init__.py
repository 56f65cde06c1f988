"""How is a run made and looked at from Python? `bench.run` and what it returns; commands make their runs the same way.

Nothing heavy is imported here: it is loaded when it is used.
"""

from __future__ import annotations

from .frames import compare, leaderboard
from .result import Result
from .running import run

__all__ = ["Result", "compare", "leaderboard", "run"]
