"""The graph of stages: each once, in an order that lets workers work, and failures that stop nobody else."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from bench.cli.matrix import run_cells
from bench.matrix.cell import Cell, RunContext
from bench.matrix.graph import TRIES, Fault, Graph, Outcome, run_graph
from bench.matrix.here import Here
from bench.matrix.workers import Workers
from bench.pipeline.stage import Machine
from bench.records import record
from bench.store import Store

EIGHT = ("none", "poisoncam", "icutmix", "poisoncam+icutmix", "oracle", "oracle+icutmix", "random", "clean-set")


def cell(defense, *settings, seed=0):
    return Cell(preset="smoke", seed=seed, attack="htba", defense=defense, settings=settings)


@pytest.fixture
def shop(tmp_path):
    """A shop with an empty store."""
    return RunContext(Store(tmp_path / "store"), Machine(accelerator="cpu"))


def graph_of(shop, cells):
    return Graph({each: shop.pipeline(each) for each in cells})


class Quiet:
    """A watcher that remembers."""

    def __init__(self):
        self.made, self.failures, self.cells = [], [], []

    def started(self, node): ...

    def progressed(self, node, what, done, total): ...

    def finished(self, node, seconds):
        self.made.append(node.stage.title)

    def failed(self, node, fault):
        self.failures.append((node.stage.title, fault.message))

    def completed(self, cell, pipeline):
        self.cells.append(cell)


def test_eight_defenses_have_one_threat_model(shop):
    found = Counter(node.stage.title for node in graph_of(shop, map(cell, EIGHT)).nodes.values())
    assert found == {
        "poison the images": 1,
        "train on the poisoned images": 1,
        "measure the encoder": 1,
        "find the poison (none)": 1,
        "find the poison (poisoncam)": 1,
        "choose the images (oracle, a control)": 1,
        "choose the images (random, a control)": 1,
        "choose the images (clean-set, a control)": 1,
    }
    assert len(shop.datasets) == 1


def test_what_most_wait_for_comes_first(shop):
    graph = graph_of(shop, [cell("poisoncam"), cell("poisoncam", seed=1)])
    order = []
    while ready := graph.ready(cell_by_cell=False):
        order.append([(node.stage.name, node.cells[0].seed) for node in ready])
        for node in ready:
            node.state = "done"
    assert order == [
        [("poison", 0), ("poison", 1)],
        [("pretrain", 0), ("pretrain", 1)],
        [("clean", 0), ("clean", 1), ("probe", 0), ("probe", 1)],
    ]


def test_one_process_goes_cell_by_cell(shop):
    graph = graph_of(shop, [cell("none"), cell("none", seed=1)])
    (first, second) = graph.ready(cell_by_cell=True)
    first.state = "done"
    assert [(n.stage.name, n.cells[0].seed) for n in graph.ready(cell_by_cell=True)] == [
        ("pretrain", 0),
        ("clean", 0),
        ("poison", 1),
    ]
    assert second.stage.name == "poison"


def test_a_stage_that_fails_stops_its_cells_and_no_others(shop):
    graph = graph_of(shop, [cell("none"), cell("oracle"), cell("none", seed=1)])
    poison = graph.ready(cell_by_cell=True)[0]
    graph.fail(poison, Fault("broken"))
    assert {each.title for each in graph.failures} == {"htba, none, seed 0", "htba, oracle, seed 0"}
    assert {node.cells[0].seed for node in graph.to_do()} == {1}


def test_a_cell_whose_stages_cannot_be_named_fails_alone(shop):
    graph = graph_of(shop, [cell("none"), cell("none", "train.batch=161")])
    ((failed, fault),) = graph.failures.items()
    assert failed.settings == ("train.batch=161",)
    assert "160 training images are fewer than one batch of 161" in fault.message
    assert fault.trace == ""


class Losing:
    """An engine whose workers all die."""

    slots = 1

    def __init__(self):
        self.begun = 0

    def start(self, node):
        self.begun, self.node = self.begun + 1, node

    def wait(self, report):
        return Outcome(self.node, 0.0, Fault("gone", lost=True))


def test_a_stage_whose_worker_dies_is_tried_again_but_not_for_ever(shop):
    engine, quiet = Losing(), Quiet()
    run_graph(graph_of(shop, [cell("none")]), engine, quiet)
    assert engine.begun == TRIES
    assert quiet.failures == [("poison the images", "gone")]


class Interrupted(Here):
    """Ctrl-C when the third stage begins."""

    begun = 0

    def wait(self, report):
        self.begun += 1
        if self.begun == 3:
            raise KeyboardInterrupt
        return super().wait(report)


def test_an_interrupted_matrix_goes_on_where_it_was(copied):
    """In the store of `smoke` the oracle's three stages and the verdict of "none" are to be made."""
    cells = [cell("none"), cell("oracle")]
    shop = RunContext(Store(copied), Machine(accelerator="cpu"))
    first, second, third = Quiet(), Quiet(), Quiet()
    with pytest.raises(KeyboardInterrupt):
        run_graph(graph_of(shop, cells), Interrupted(), first)
    run_graph(graph_of(shop, cells), Here(), second)
    run_graph(graph_of(shop, cells), Here(), third)
    assert first.made == ["find the poison (none)", "choose the images (oracle, a control)"]
    assert first.cells == [cells[0]]
    assert second.made == ["train again on what is kept", "measure the new encoder"]
    assert second.cells == cells
    assert third.made == []
    assert third.cells == cells


def test_two_workers_make_the_records_that_one_process_makes(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "git_state", lambda: None)  # somebody may commit meanwhile
    cells = [cell(defense, "train.max_steps=2", seed=seed) for seed in (0, 1) for defense in ("none", "oracle")]
    found = []
    for jobs in (1, 2):
        shop = RunContext(Store(tmp_path / str(jobs)), Machine(accelerator="cpu"))
        made, code = run_cells(shop, cells, jobs=jobs, output=tmp_path / f"out{jobs}")
        assert code == 0
        assert len(list((tmp_path / f"out{jobs}").glob("*.json"))) == len(made) == 4
        trained = [entry for entry in shop.store.entries() if entry.stage == "pretrain"]
        assert len(trained) == 4, "for each seed one threat model and one without the poison"
        found.append([record.fingerprint(each) for each in made])
    assert found[0] == found[1]
    assert len(set(found[0])) == 4


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_worker_is_found_out(shop):
    engine = Workers(1)
    (node,) = graph_of(shop, [cell("none")]).ready(cell_by_cell=True)
    engine.start(node)
    (worker,) = engine._busy.values()
    os.kill(worker.process.pid, signal.SIGKILL)
    outcome = engine.wait(lambda *_: None)
    engine.close()
    assert outcome.node is node
    assert outcome.fault.lost
    assert outcome.fault.message == "its worker process ended by signal 9 (9: often for want of memory)"
