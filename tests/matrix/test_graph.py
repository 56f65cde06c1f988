"""The graph of stages: each once, in an order that lets workers work, and failures that stop nobody else."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.matrix.graph import Fault, Graph

EIGHT = ("none", "poisoncam", "icutmix", "poisoncam+icutmix", "oracle", "oracle+icutmix", "random", "clean-set")
CELL = ("poison", "pretrain", "clean", "probe")


@pytest.fixture
def graph_of(opened):
    """graph_of(cells) -> their graph, with an empty store."""
    context = opened()
    return lambda cells: Graph({each: context.pipeline(each) for each in cells})


def test_eight_defenses_have_one_threat_model(graph_of, cell):
    graph = graph_of(map(cell, EIGHT))
    assert Counter(node.stage.title for node in graph.nodes.values()) == {
        **dict.fromkeys(("poison the images", "train on the poisoned images", "measure the encoder"), 1),
        **{f"find the poison ({each})": 1 for each in ("none", "poisoncam")},
        **{f"choose the images ({each}, a control)": 1 for each in ("oracle", "random", "clean-set")},
    }
    assert len({id(pipeline.dataset) for pipeline in graph.pipelines.values()}) == 1


@pytest.mark.parametrize(
    ("cell_by_cell", "slots", "expected"),
    [
        (True, 1, [(stage, seed) for seed in (0, 1) for stage in CELL]),  # one process finishes a cell first
        (False, 9, [(stage, seed) for stage in CELL for seed in (0, 1)]),  # what most others wait for comes first
    ],
)
def test_the_order_of_the_stages(graph_of, cell, cell_by_cell, slots, expected):
    graph, order = graph_of([cell("poisoncam"), cell("poisoncam", seed=1)]), []
    while ready := graph.ready(cell_by_cell):
        for node in ready[:slots]:
            node.state = "done"
            order.append((node.stage.name, node.cells[0].seed))
    assert order == expected


def test_what_fails_stops_its_cells_and_no_others(graph_of, cell):
    """A stage; and a cell whose stages cannot be named."""
    graph = graph_of([cell("none"), cell("oracle"), cell("none", seed=1), cell("none", "train.batch=161")])
    ((unnamed, fault),) = graph.failures.items()
    assert unnamed.settings == ("train.batch=161",)
    assert "160 training images are fewer than one batch of 161" in fault.message
    assert fault.trace == ""
    graph.fail(graph.ready(cell_by_cell=True)[0], Fault("broken"))
    stopped = [each.title for each, fault in graph.failures.items() if fault.message == "broken"]
    assert stopped == ["htba, none, seed 0", "htba, oracle, seed 0"]
    assert {node.cells[0].seed for node in graph.to_do()} == {1}
