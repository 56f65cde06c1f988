"""Every hook that a plugin may implement; this file is the whole plug.

A plugin is a module or object named by an entry point of the group "bench". It decorates functions of these
names with `bench.hookimpl`; a function may leave out arguments that it does not use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from bench.api import AnyDefense, Attack, DatasetPlugin, SSLMethod

hookspec = pluggy.HookspecMarker("bench")


@hookspec
def bench_attacks() -> list[type[Attack]]:  # type: ignore[empty-body]
    """The attack classes that this plugin offers."""


@hookspec
def bench_defenses() -> list[type[AnyDefense]]:  # type: ignore[empty-body]
    """The classes of defenses (filters, training changes, repairs), controls, test-time detectors and encoder tests
    that this plugin offers."""


@hookspec
def bench_datasets() -> list[type[DatasetPlugin]]:  # type: ignore[empty-body]
    """The dataset classes that this plugin offers."""


@hookspec
def bench_ssl_methods() -> list[type[SSLMethod]]:  # type: ignore[empty-body]
    """The classes of self-supervised methods that this plugin offers."""


@hookspec
def bench_run_started(config: dict[str, Any]) -> Any:
    """A run begins; `config` is all of its configuration, JSON-able."""


@hookspec
def bench_stage_started(stage: str, key: str, title: str, cached: bool) -> Any:
    """A stage of a run begins; `key` is its hash in the store, `cached`: its result is already there."""


@hookspec
def bench_stage_progress(stage: str, key: str, title: str, what: str, done: int, total: int) -> Any:
    """`done` of `total` units of `what` are through."""


@hookspec
def bench_stage_measured(stage: str, key: str, title: str, step: int, numbers: dict[str, float]) -> Any:
    """What a stage measured at `step`: of a training the "loss" and the "learning rate"."""


@hookspec
def bench_stage_finished(stage: str, key: str, title: str, seconds: float) -> Any:
    """A stage ended well after `seconds` of wall time."""


@hookspec
def bench_run_finished(record: dict[str, Any]) -> Any:
    """A run ended well; `record` is its record as it is kept (see record.schema.json)."""
