"""Every cheat that we know of gains nothing in a process of its own; and works where nothing stops it."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import socketserver
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.data.images import Subset
from bench.errors import BenchError
from bench.isolation import forks, process
from bench.isolation.handover import hand_over
from bench.isolation.verdict import read_verdict
from bench.pipeline.events import silent
from bench.pipeline.runner import make_stage
from bench.plugins.from_file import load_file

FILE = Path(__file__).with_name("cheats.py")
IN_PLACE = {
    *("the_stack", "other_threads", "the_collector", "the_store", "the_store_by_a_thread"),
    *("the_store_by_its_exact_path", "the_store_by_a_program", "the_store_by_the_c_library", "the_store_by_a_link"),
    *("functions_of_the_harness", "files_of_the_data_set", "memory_of_the_harness", "the_network"),
    *("what_the_harness_was_started_with", "environment", "beside_the_defense", "memory_by_another_call"),
    *("inherited_descriptors", "descriptors_by_the_kernel", "shared_memory", "shared_memory_of_system_v"),
    *("the_store_by_a_symbolic_link", "a_service_by_datagrams", "a_service_by_a_file"),
}
"""What finds the truth without the process; it shows that these cheats work."""


@contextlib.contextmanager
def elsewhere(truth, tmp_path):
    """Puts the truth, a list of indices, into places outside of files: {name: where that is}."""
    text = json.dumps(truth).encode()
    library = ctypes.CDLL(None)
    library.shmat.restype = ctypes.c_void_p
    segment = library.shmget(0, len(text) + 1, 0o1600)
    place = library.shmat(segment, None, 0)
    ctypes.memmove(place, text + b"\0", len(text) + 1)
    library.shmdt(ctypes.c_void_p(place))
    shared = Path("/dev/shm", f"bench-cheats-{os.getpid()}")
    shared.write_bytes(text)
    service = str(tmp_path / "s")
    Path(service).unlink(missing_ok=True)
    with (
        socketserver.ThreadingUDPServer(("127.0.0.1", 0), TellByDatagram) as datagrams,
        socketserver.ThreadingUnixStreamServer(service, Tell) as stream,
    ):
        for each in (datagrams, stream):
            threading.Thread(target=each.serve_forever, daemon=True).start()
        yield {
            "shared": shared.name,
            "system_v": segment,
            "datagrams": datagrams.server_address[1],
            "service": service,
        }
        for each in (datagrams, stream):
            each.shutdown()
    library.shmctl(segment, 0, None)
    shared.unlink()


class Tell(socketserver.BaseRequestHandler):
    """Tells everybody the truth."""

    def handle(self):
        self.request.sendall(b"[0]")


class TellByDatagram(socketserver.BaseRequestHandler):
    """The same."""

    def handle(self):
        self.request[1].sendto(b"[0]", self.client_address)


@pytest.fixture(scope="module")
def server():
    """The port of a server that tells everybody the truth."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tell) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_address[1]
        listening.shutdown()


@pytest.fixture
def cheat(smoke, server, tmp_path, monkeypatch):
    """cheat(in_place) -> its verdict on the images of `smoke`, and the names of the cheats that found something."""
    pipeline, _ = smoke
    data = tmp_path / "data"
    data.mkdir()
    (data / "poisoned.png").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_DATA", str(data))
    monkeypatch.setenv("BENCH_STORE", str(pipeline.store.root))

    def run(in_place, chosen=None):
        truth = pipeline.train_manifest  # held by this frame, and so by one above a defense in place
        where = {
            "store": str(pipeline.store.root),
            "manifest": str(pipeline.folder(pipeline.poison) / "train.jsonl"),
            "data": str(data),
            "log": str(tmp_path / "log"),
            "harness": os.getpid(),
            "port": server,
        }
        indices = [row.index for row in truth.poisons]
        mark = bytearray(f"bench-cheats-mark:{indices}".encode())
        where["address"] = ctypes.addressof((ctypes.c_char * len(mark)).from_buffer(mark))
        where["length"] = len(mark)
        stack = contextlib.ExitStack()
        where |= stack.enter_context(elsewhere(indices, tmp_path))
        opened = os.open(where["manifest"], os.O_RDONLY)
        stack.callback(os.close, opened)
        os.set_inheritable(opened, True)
        defense = chosen or load_file(FILE).Cheater(at=json.dumps(where))
        config = dataclasses.replace(pipeline.config, dataset=SimpleNamespace(root=data))
        machine = dataclasses.replace(pipeline.machine, in_place=in_place)
        task = dataclasses.replace(pipeline.judged_by(defense), config=config, machine=machine)
        isolated = task.isolated(tmp_path / "work", pipeline.store.root)
        with stack:
            verdict = isolated.clean()
        assert len(mark) > 40
        return verdict, {name for name, rows in verdict.facts.items() if rows not in (None, False)}

    return run


@pytest.mark.slow
@pytest.mark.parametrize("program", ["started", "forked"])
def test_in_a_process_of_its_own_no_cheat_finds_anything(cheat, tmp_path, fenced, monkeypatch, program):
    used, real = [], process.forked
    monkeypatch.setattr(process, "forked", lambda *at: used.append(program == "forked" and real(*at)) or used[-1])
    monkeypatch.setattr(forks, "_nurseries", {})
    if program == "forked":
        cheat(in_place=False, chosen=load_file(FILE.with_name("defenses.py")).Acting())
    verdict, found = cheat(in_place=False)
    assert bool(used[-1]) == (program == "forked")
    forks.close_all()
    assert found <= {"seed"}
    assert (type(verdict.keep), type(verdict.facts)) == (np.ndarray, dict)
    assert not (tmp_path / "log").exists(), "an object of the defense ran in the harness, or wrote where it must not"


def test_an_answer_that_would_run_when_it_is_unpickled_is_refused(cheat, tmp_path):
    with pytest.raises(BenchError, match=r"gave back arrays that cannot be read: .*allow_pickle=False"):
        cheat(in_place=False, chosen=load_file(FILE).Forger(log=str(tmp_path / "log")))
    assert not (tmp_path / "log").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="they are for Linux, where there is a fence")
@pytest.mark.slow
def test_without_it_they_work(cheat, tmp_path, monkeypatch):
    module = load_file(FILE)
    monkeypatch.setattr(np, "argsort", module._spying_argsort)
    monkeypatch.setattr(module, "SEEN", [])
    _, found = cheat(in_place=True)
    assert IN_PLACE - found == set()
    assert (tmp_path / "log").exists()


def test_the_place_of_an_image_tells_nothing(workshop, tmp_path):
    """Takes what is of class 0 where classes come in turn or one after the other, and what the attack draws with the
    run's seed (which can be found by trying): the mean over 8 seeds. An eighth is poisoned: a random choice of 20 has a
    precision of 0.125, the mean over 8 of them a standard deviation of 0.025; three of these are allowed."""
    guesses = {"in turn": np.arange(160) % 4 == 0, "one after the other": np.arange(160) < 40}
    precision = {name: [] for name in (*guesses, "as the attack draws")}
    for seed in range(8):
        pipeline = workshop.pipeline(seed=seed, store=tmp_path / str(seed))
        make_stage(pipeline.poison, pipeline.store, silent)
        poisoned = pipeline.train_manifest.poisoned
        seeds = pipeline.config.seeds.child("view", pipeline.poison.key)
        order = hand_over(pipeline.poisoned_train, seeds, tmp_path / str(seed) / "images", lambda *_: None)
        for name, guess in {**guesses, "as the attack draws": poisoned}.items():
            precision[name].append(poisoned[order][guess].mean())
    assert max(np.mean(values) for values in precision.values()) < 0.125 + 0.075


def test_no_path_that_a_defense_learns_names_a_key(smoke):
    """Who knows the key of a stage can try what the attack was set to until the hash is the same; then the seed of that
    attack says which images it chose."""
    pipeline, _ = smoke
    task = pipeline.judged_by(load_file(FILE.with_name("defenses.py")).Reading())
    stage = task.stage()
    try:
        make_stage(stage, pipeline.store, silent)
        facts = read_verdict(pipeline.folder(stage)).facts
    finally:
        pipeline.store.prune(keys=[stage.key])
    assert facts["keys"] == []
    assert Path(facts["cwd"]).is_relative_to(pipeline.store.root)
    assert not any((pipeline.store.root / ".apart").iterdir())


def test_what_cannot_be_stopped_is_said(smoke):
    """Who has the published images can compare: what is not among them is poisoned."""
    pipeline, _ = smoke
    known = {image.numpy().tobytes() for image in pipeline.dataset.train.images.batch(range(160))}
    shown = Subset(pipeline.poisoned_train, np.arange(160)).batch(range(160))
    assert [each.numpy().tobytes() not in known for each in shown] == pipeline.train_manifest.poisoned.tolist()
    page = (Path(__file__).parents[2] / "docs" / "no-peeking.md").read_text(encoding="utf-8")
    assert "carries its own copy of the data set" in page
