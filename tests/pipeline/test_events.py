"""Who hears what a run does."""

from __future__ import annotations

import io
import logging

from rich.console import Console

from bench.pipeline.events import Everyone, Terminal, Trackers
from bench.pipeline.stage import Stage
from bench.plugins import hookimpl
from bench.plugins.manager import Plugins

STAGE = Stage(name="probe", title="measure", config={}, inputs={}, make=lambda *_: None)


def tell(listener):
    listener.started(STAGE, False)
    listener.progressed(STAGE, "sets", 1, 2)
    listener.progressed(STAGE, "rows", 5, 5)
    listener.measured(STAGE, 5, {"loss": 0.5})
    listener.finished(STAGE, 61.4)


def test_everyone_hears_everything(ear):
    other = type(ear)()
    tell(Everyone([ear, other]))
    assert [event[0] for event in ear.heard] == ["started", "progressed", "progressed", "finished"]
    assert ear.heard == other.heard


class Tracker:
    """A plugin that implements the run events."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def bench_run_started(self, config):
        self.heard.append(config)

    @hookimpl
    def bench_stage_started(self, stage, key, title, cached):
        self.heard.append((stage, key, title, cached))

    @hookimpl
    def bench_stage_progress(self, stage, what, done, total):
        self.heard.append((stage, what, done, total))

    @hookimpl
    def bench_stage_measured(self, title, step, numbers):
        self.heard.append((title, step, numbers))

    @hookimpl
    def bench_stage_finished(self, stage, key, seconds):
        self.heard.append((stage, key, seconds))

    @hookimpl
    def bench_run_finished(self, record):
        self.heard.append(record)


class Broken:
    """One that cannot bear any."""

    @hookimpl
    def bench_stage_started(self, stage):
        raise RuntimeError("no connection")


def test_plugins_are_told_of_events_and_a_broken_one_stops_nothing(caplog):
    tracker = Tracker()
    listener = Trackers(Plugins.load([Broken(), tracker], installed=False))
    with caplog.at_level(logging.WARNING):
        listener.run_started({"seed": 0})
        tell(listener)
        listener.run_finished({"metrics": {}})
    key = STAGE.key
    assert tracker.heard == [
        {"seed": 0},
        ("probe", key, "measure", False),
        ("probe", "sets", 1, 2),
        ("probe", "rows", 5, 5),
        ("measure", 5, {"loss": 0.5}),
        ("probe", key, 61.4),
        {"metrics": {}},
    ]
    assert caplog.text.count("no connection") == 1
    assert "bench_stage_started of Broken" in caplog.text


def printed(is_terminal, *tellings):
    screen = io.StringIO()
    with Terminal(Console(file=screen, force_terminal=is_terminal, width=100)) as terminal:
        for telling in tellings:
            telling(terminal)
    return screen.getvalue()


def test_a_log_gets_a_line_at_the_start_and_one_at_the_end():
    assert printed(False, tell).splitlines() == ["       measure ...", "  done measure (61 s)"]


def test_what_is_in_the_store_is_said_to_be():
    assert printed(False, lambda terminal: terminal.started(STAGE, True)) == "  done measure (from the store)\n"


def test_a_terminal_sees_a_bar_with_its_unit():
    shown = printed(True, tell)
    assert "5/5 rows" in shown or "1/2 sets" in shown
    assert "measure" in shown
