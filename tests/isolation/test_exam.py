"""How a defense is asked: through a window, in a thread of its own."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
import torch

from bench.api import Verdict
from bench.data.images import ArrayImages
from bench.errors import BenchError, Peeking, UndeclaredNeed
from bench.isolation.exam import put_back, shuffled, sit
from bench.isolation.proctor import Watch
from bench.isolation.view import DefenderView
from bench.seeds import Seeds
from bench.store import StepCache

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8)).astype(np.uint8)


@pytest.fixture
def view(tmp_path):
    def make(**more):
        facts = {
            "name": "nosy",
            "encoder": None,
            "seeds": Seeds(7),
            "step": StepCache(tmp_path).step,
            "report": lambda what, done, total: None,
            "device": torch.device("cpu"),
        }
        return DefenderView(ArrayImages(PIXELS), **{**facts, **more})

    return make


def asked(call, view, closed=()):
    return sit(call, view, Watch("nosy", closed))


def test_a_window_shows_what_the_view_shows(view):
    told = []

    def look(window):
        window.progress("rows", 1, 2)
        assert (len(window), window.size, window.device) == (12, 8, torch.device("cpu"))
        return window.batch([3, 1, 1]).numpy(), window.seeds("a", 2).value, threading.current_thread().name

    pixels, seed, thread = asked(look, view(report=lambda *at: told.append((threading.current_thread(), at))))
    np.testing.assert_array_equal(pixels, PIXELS[[3, 1, 1]])
    assert seed == Seeds(7, "a", 2).value
    assert thread == "defense nosy"
    assert told == [(threading.current_thread(), ("rows", 1, 2))]


def test_steps_are_computed_once_by_the_defense_and_may_ask_in_turn(view):
    calls = []

    def look(window):
        def compute():
            calls.append(threading.current_thread().name)
            return {"mean": window.batch([0]).float().mean().numpy()}

        return window.step("a", compute)["mean"], window.step("a", compute)["mean"]

    first, second = asked(look, view())
    assert first == second == PIXELS[0].astype(np.float32).mean()
    assert calls == ["defense nosy"]
    assert asked(look, view())[0] == first
    assert len(calls) == 1


def test_the_encoder_is_lent_once_or_refused(view):
    loaded = []
    given = view(encoder=lambda: loaded.append(1) or "the encoder")
    assert asked(lambda window: (window.encoder, window.encoder), given) == ("the encoder",) * 2
    assert loaded == [1]
    with pytest.raises(UndeclaredNeed, match="without declaring it"):
        asked(lambda window: window.encoder, view())


def test_errors_come_out_as_they_are(view):
    def fail(window):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        asked(fail, view())
    with pytest.raises(IndexError) as caught:
        asked(lambda window: window.batch([12]), view())
    assert caught.value.__cause__.__traceback__ is not None  # for who mends the harness


def test_an_error_of_the_harness_shows_the_defense_none_of_its_frames(view):
    def look(window):
        try:
            window.batch([12])
        except IndexError as error:
            names, trace = [], error.__traceback__
            while trace is not None:
                names.append(trace.tb_frame.f_code.co_name)
                trace = trace.tb_next
            return names, error.__context__, error.__cause__

    assert asked(look, view()) == (["look", "batch", "_ask"], None, None)


def test_above_a_defense_there_is_no_frame_of_the_harness(view):
    secret = object()

    def look(window):
        frame, found = sys._getframe(), []
        while frame is not None:
            found += frame.f_locals.values()
            frame = frame.f_back
        return found

    assert not any(thing is secret for thing in asked(look, view()))


def test_no_reference_leads_from_the_window_to_the_images(view):
    from bench.plugins.contract.cheats import reachable

    images = ArrayImages(PIXELS)
    given = view()
    given.held = images

    def look(window):
        window.batch([0])
        return [type(thing).__name__ for thing in reachable(window)]

    found = asked(look, given)
    assert "SimpleQueue" in found
    assert not {"ArrayImages", "DefenderView", "StepCache", "_Desk"} & set(found)


def test_a_hushed_up_refusal_is_told_all_the_same(view, tmp_path):
    def look(window):
        try:
            list(tmp_path.iterdir())
        except BenchError:
            return "nothing happened"

    with pytest.raises(Peeking, match="reached past its view: it touched"):
        asked(look, view(), [tmp_path])


def test_an_interrupt_of_the_harness_ends_the_defense(view):
    ended = []

    def interrupted(*_):
        raise KeyboardInterrupt

    def look(window):
        try:
            window.progress("rows", 1, 2)
            return "went on"
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    with pytest.raises(KeyboardInterrupt):
        asked(look, view(report=interrupted))
    assert ended == ["Stopped"]
    assert not [thread for thread in threading.enumerate() if thread.name == "defense nosy"]


def test_a_shuffled_view_and_its_verdict_put_back():
    order = shuffled(Seeds(3), 6)
    assert sorted(order.tolist()) == list(range(6))
    assert order.tolist() == shuffled(Seeds(3), 6).tolist() != shuffled(Seeds(4), 6).tolist()
    order = np.array([2, 0, 1])  # place 0 of the view shows image 2
    seen = Verdict(
        keep=np.array([False, True, True]),
        score=np.array([0.9, 0.1, 0.2]),
        boxes=np.array([[1, 1, 2, 2], [-1] * 4, [-1] * 4]),
        facts={"top_indices": [0, 2], "none_indices": [], "rounds": 3},
    )
    back = put_back(seen, order)
    assert back.keep.tolist() == [True, True, False]
    assert back.score.tolist() == [0.1, 0.2, 0.9]
    assert back.boxes.tolist() == [[-1] * 4, [-1] * 4, [1, 1, 2, 2]]
    assert back.trigger_score is None
    assert back.facts == {"top_indices": [2, 1], "none_indices": [], "rounds": 3}
