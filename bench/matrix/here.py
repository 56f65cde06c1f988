"""The engine of one process: this one."""

from __future__ import annotations

import time
from pathlib import Path

from bench.matrix.graph import Fault, Node, Outcome, Report
from bench.pipeline.runner import make_stage
from bench.store import Store

from .perform import Relay


class Here:
    """Makes one stage after the other, with all threads of this process."""

    slots = 1

    def __init__(self) -> None:
        self._node: Node | None = None

    def start(self, node: Node) -> None:
        """It is made when `wait` is called."""
        self._node = node

    def wait(self, report: Report) -> Outcome:
        """Make it. An interrupt goes through."""
        node = self._node
        if node is None:
            raise RuntimeError("nothing was started")
        start = time.monotonic()
        fault = None
        try:
            relay = Relay(lambda what, done, total: report(node, what, done, total))
            make_stage(node.stage, Store(Path(node.job.store)), relay)
        except Exception as error:
            fault = Fault.of(error)
        return Outcome(node, time.monotonic() - start, fault)

    def close(self) -> None:
        """Nothing runs between two calls."""
