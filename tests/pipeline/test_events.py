"""Who hears what a run does."""

from __future__ import annotations

import io
import logging
from functools import partial

import pytest
from rich.console import Console

from bench.pipeline.events import Terminal
from bench.plugins import hookimpl
from bench.plugins.manager import Plugins


def play(notify):
    """A stage with a measurement."""
    tell = partial(notify, stage="probe", key="k", title="measure")
    tell("stage_started", cached=False)
    tell("stage_progress", what="sets", done=1, total=2)
    tell("stage_progress", what="rows", done=5, total=5)
    tell("stage_measured", step=5, numbers={"loss": 0.5})
    tell("stage_finished", seconds=61.4)


class Tracker:
    """A plugin that remembers what it hears; a hook leaves out the arguments that it does not use."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def bench_run_started(self, config):
        self.heard.append(config)

    @hookimpl
    def bench_stage_started(self, stage, key, title, cached):
        self.heard.append((stage, key, title, cached))

    @hookimpl
    def bench_stage_progress(self, what, done, total):
        self.heard.append((what, done, total))

    @hookimpl
    def bench_stage_measured(self, step, numbers):
        self.heard.append((step, numbers))

    @hookimpl
    def bench_stage_finished(self, key, seconds):
        self.heard.append((key, seconds))

    @hookimpl
    def bench_run_finished(self, record):
        self.heard.append(record)


class Broken:
    """A tracker that fails."""

    @hookimpl
    def bench_stage_started(self, stage):
        raise RuntimeError("no connection")


def test_plugins_hear_every_event_and_a_broken_one_stops_nothing(caplog):
    tracker = Tracker()
    plugins = Plugins.load([Broken(), tracker], installed=False)
    with caplog.at_level(logging.WARNING):
        plugins.notify("bench_run_started", config={"seed": 0})
        play(plugins.notify)
        play(plugins.notify)
        plugins.notify("run_finished", record={"metrics": {}})
    stage = [("probe", "k", "measure", False), ("sets", 1, 2), ("rows", 5, 5), (5, {"loss": 0.5}), ("k", 61.4)]
    assert tracker.heard == [{"seed": 0}, *stage, *stage, {"metrics": {}}]
    (warned,) = caplog.messages
    assert "bench_stage_started of Broken" in warned
    assert "no connection" in warned
    with pytest.raises(ValueError, match="bench_stage_started"):
        plugins.notify("stage_start", stage="s", key="k", cached=False)


def printed(is_terminal, play):
    screen, plugins = io.StringIO(), Plugins([])
    with Terminal(Console(file=screen, force_terminal=is_terminal, width=100)) as terminal:
        plugins.add(terminal)
        play(plugins.notify)
    return screen.getvalue()


def test_a_log_gets_a_line_at_the_start_and_one_at_the_end():
    assert printed(False, play).splitlines() == ["       measure ...", "  done measure (61 s)"]
    there = {"stage": "probe", "key": "k", "title": "measure", "cached": True}
    assert printed(False, lambda notify: notify("stage_started", **there)) == "  done measure (from the store)\n"


def test_a_unit_in_brackets_is_no_markup():
    """It may be a hostile defense's."""
    tell = {"stage": "clean", "key": "k", "title": "find"}

    def said(notify):
        notify("stage_started", **tell, cached=False)
        notify("stage_progress", **tell, what="[/nosuch]", done=1, total=2)

    assert "[/nosuch]" in printed(True, said)


def test_a_terminal_shows_a_bar_with_its_unit():
    shown = printed(True, play)
    assert "5/5 rows" in shown or "1/2 sets" in shown
    assert "measure" in shown
