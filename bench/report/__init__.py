"""One HTML page of a run: what happened in five sentences, every number, the images behind them, where it came from.

The same record, artifacts and records beside it give the same bytes.
"""

from .page import report

__all__ = ["report"]
