"""The graph of stages: each once, in an order that lets workers work, and failures that stop nobody else."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.matrix.graph import Fault, Graph

EIGHT = ("none", "poisoncam", "icutmix", "poisoncam+icutmix", "oracle", "oracle+icutmix", "random", "clean-set")


@pytest.fixture
def graph_of(opened):
    """graph_of(cells) -> their graph, with an empty store."""

    def make(cells):
        context = opened()
        return Graph({each: context.pipeline(each) for each in cells})

    return make


def test_eight_defenses_have_one_threat_model(graph_of, cell):
    graph = graph_of(map(cell, EIGHT))
    assert Counter(node.stage.title for node in graph.nodes.values()) == {
        "poison the images": 1,
        "train on the poisoned images": 1,
        "measure the encoder": 1,
        **{f"find the poison ({each})": 1 for each in ("none", "poisoncam")},
        **{f"choose the images ({each}, a control)": 1 for each in ("oracle", "random", "clean-set")},
    }
    assert len({id(pipeline.dataset) for pipeline in graph.pipelines.values()}) == 1


@pytest.mark.parametrize(
    ("cell_by_cell", "last"),
    [
        (False, [("clean", 0), ("clean", 1), ("probe", 0), ("probe", 1)]),  # what most others wait for comes first
        (True, [("clean", 0), ("probe", 0), ("clean", 1), ("probe", 1)]),
    ],
)
def test_the_order_of_the_stages(graph_of, cell, cell_by_cell, last):
    graph, order = graph_of([cell("poisoncam"), cell("poisoncam", seed=1)]), []
    while ready := graph.ready(cell_by_cell):
        order.append([(node.stage.name, node.cells[0].seed) for node in ready])
        for node in ready:
            node.state = "done"
    assert order == [[("poison", 0), ("poison", 1)], [("pretrain", 0), ("pretrain", 1)], last]


def test_one_process_finishes_a_cell_first(graph_of, cell):
    graph = graph_of([cell("none"), cell("none", seed=1)])
    graph.ready(cell_by_cell=True)[0].state = "done"
    found = [(n.stage.name, n.cells[0].seed) for n in graph.ready(cell_by_cell=True)]
    assert found == [("pretrain", 0), ("clean", 0), ("poison", 1)]


def test_a_stage_that_fails_stops_its_cells_and_no_others(graph_of, cell):
    graph = graph_of([cell("none"), cell("oracle"), cell("none", seed=1)])
    graph.fail(graph.ready(cell_by_cell=True)[0], Fault("broken"))
    assert {each.title for each in graph.failures} == {"htba, none, seed 0", "htba, oracle, seed 0"}
    assert {node.cells[0].seed for node in graph.to_do()} == {1}


def test_a_cell_whose_stages_cannot_be_named_fails_alone(graph_of, cell):
    ((failed, fault),) = graph_of([cell("none"), cell("none", "train.batch=161")]).failures.items()
    assert failed.settings == ("train.batch=161",)
    assert "160 training images are fewer than one batch of 161" in fault.message
    assert fault.trace == ""
