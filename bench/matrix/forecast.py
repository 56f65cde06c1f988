"""How long the rest of a graph takes: from what its stages, or earlier ones of the same kind, have taken."""

from __future__ import annotations

from collections.abc import Mapping

from bench.boards import NONE
from bench.estimate.estimate import kind_of, seconds_by_kind
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.stage import Stage
from bench.store import Store

from .graph import Graph, Node


def expected(pipeline: Pipeline) -> list[tuple[str, str]]:
    """(title, kind) of the stages that may follow a defense whose verdict is not known: at most a training and a
    measurement."""
    defense = pipeline.config.defense
    nothing_new = defense.filter.name == NONE and defense.training_change is None
    if nothing_new or not pipeline.whole or pipeline.found(pipeline.clean):
        return []
    again, probe = pipeline.retrain_on_all, pipeline.threat_probe
    return [(again.title, kind_of(again)), ("measure the new encoder", kind_of(probe))]


class Forecast:
    """Knows seconds by kind of stage: those in the store, and what is measured on the way (`learn`)."""

    def __init__(self, store: Store) -> None:
        self.seconds = seconds_by_kind(store)

    def learn(self, stage: Stage, seconds: float) -> None:
        """A stage has taken so long."""
        self.seconds[kind_of(stage)] = seconds

    def left(self, graph: Graph, elapsed: Mapping[Node, float], slots: int) -> tuple[float, int]:
        """(seconds left with so many slots, number of stages of a kind never timed). `elapsed`: of what runs now.

        An upper bound for what is known: a defense that keeps what another keeps needs no training of its own.
        """
        known = [(kind_of(node.stage), elapsed.get(node, 0.0)) for node in graph.to_do()]
        open_cells = graph.open_cells() if graph.whole_runs else []
        later = [(each, 0.0) for cell in open_cells for _, each in expected(graph.pipelines[cell])]
        times = [(self.seconds.get(each), spent) for each, spent in (*known, *later)]
        rest = [max(0.0, seconds - spent) for seconds, spent in times if seconds is not None]
        alone = max(rest, default=0.0)
        return max(sum(rest) / slots, alone), sum(seconds is None for seconds, _ in times)
