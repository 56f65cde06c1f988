"""How long the rest of a graph takes: from what its stages, or earlier ones of the same kind, have taken."""

from __future__ import annotations

from collections.abc import Mapping

from bench.boards import NONE
from bench.estimate.estimate import History
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Stage
from bench.store import Store

from .graph import Graph, Node


def expected(pipeline: Pipeline) -> list[tuple[str, Stage]]:
    """(title, one that takes as long) of the stages that may follow a defense whose verdict is not known: at most a
    training and a measurement."""
    defense = pipeline.config.defense
    nothing_new = defense.filter.name == NONE and defense.training_change is None
    if nothing_new or not pipeline.whole or pipeline.found(pipeline.clean):
        return []
    again, probe = pipeline.retrain_on_all, pipeline.threat_probe
    return [(again.title, again), ("measure the new encoder", probe)]


class Forecast:
    """Knows how long stages take: those in the store, and what is measured on the way (`history.learn`)."""

    def __init__(self, store: Store) -> None:
        self.history = History(store)

    def left(self, graph: Graph, elapsed: Mapping[Node, float], slots: int) -> tuple[float, int]:
        """(seconds left with so many slots, number of stages of a kind never timed). `elapsed`: of what runs now.

        An upper bound for what is known: a defense that keeps what another keeps needs no training of its own.
        """
        known = [(node.stage, elapsed.get(node, 0.0)) for node in graph.to_do()]
        open_cells = graph.open_cells() if graph.whole_runs else []
        later = [(each, 0.0) for cell in open_cells for _, each in expected(graph.pipelines[cell])]
        times = [(self.history.seconds(each), spent) for each, spent in (*known, *later)]
        rest = [max(0.0, seconds - spent) for seconds, spent in times if seconds is not None]
        alone = max(rest, default=0.0)
        return max(sum(rest) / slots, alone), sum(seconds is None for seconds, _ in times)
