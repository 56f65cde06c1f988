"""Who hears what a run does: the terminal, and plugins that track runs."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from bench.plugins.manager import Plugins

    from .stage import Stage


class Listener(Protocol):
    """Hears the events of a run."""

    def started(self, stage: Stage, cached: bool) -> None: ...

    def progressed(self, stage: Stage, what: str, done: int, total: int) -> None: ...

    def measured(self, stage: Stage, step: int, numbers: dict[str, float]) -> None: ...

    def finished(self, stage: Stage, seconds: float) -> None: ...


class Trackers:
    """Passes events on to the plugins' run-event hooks."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def run_started(self, config: dict[str, Any]) -> None:
        """All of its configuration."""
        self._plugins.notify("run_started", config=config)

    def started(self, stage: Stage, cached: bool) -> None:
        self._tell("started", stage, cached=cached)

    def progressed(self, stage: Stage, what: str, done: int, total: int) -> None:
        self._tell("progress", stage, what=what, done=done, total=total)

    def measured(self, stage: Stage, step: int, numbers: dict[str, float]) -> None:
        self._tell("measured", stage, step=step, numbers=numbers)

    def finished(self, stage: Stage, seconds: float) -> None:
        self._tell("finished", stage, seconds=seconds)

    def run_finished(self, record: dict[str, Any]) -> None:
        """Its record, whole."""
        self._plugins.notify("run_finished", record=record)

    def _tell(self, event: str, stage: Stage, **facts: Any) -> None:
        self._plugins.notify(f"stage_{event}", stage=stage.name, key=stage.key, title=stage.title, **facts)


class Everyone:
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def started(self, stage: Stage, cached: bool) -> None:
        for listener in self._listeners:
            listener.started(stage, cached)

    def progressed(self, stage: Stage, what: str, done: int, total: int) -> None:
        for listener in self._listeners:
            listener.progressed(stage, what, done, total)

    def measured(self, stage: Stage, step: int, numbers: dict[str, float]) -> None:
        for listener in self._listeners:
            listener.measured(stage, step, numbers)

    def finished(self, stage: Stage, seconds: float) -> None:
        for listener in self._listeners:
            listener.finished(stage, seconds)


def bars(console: Console, count: str, *more: ProgressColumn) -> Progress:
    """Bars that vanish when done, none where nobody watches: what, how far, `count` (a format), since when, `more`."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        TextColumn(count),
        TimeElapsedColumn(),
        *more,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # The pace of the last minute: the first steps are slow, and other programs come and go.
        speed_estimate_period=60,
    )


class Terminal:
    """A line for each stage: a bar with the time left while it runs (measured from its own pace), then its time."""

    def __init__(self, console: Console) -> None:
        from rich.progress import TextColumn, TimeRemainingColumn

        self._console = console
        count = "{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"
        self._progress = bars(console, count, TextColumn("left"), TimeRemainingColumn())
        self._task: Any = None
        self._what = ""

    def __enter__(self) -> Terminal:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, stage: Stage, cached: bool) -> None:
        self._what = ""
        if cached:
            self._line(stage, "from the store")
        elif not self._console.is_terminal:
            self._console.print(f"       {stage.title} ...", highlight=False)

    def progressed(self, stage: Stage, what: str, done: int, total: int) -> None:
        if what != self._what:
            self._clear()
            self._what = what
            self._task = self._progress.add_task(stage.title, total=total, completed=done, unit=what)
        self._progress.update(self._task, completed=done, total=total)

    def measured(self, stage: Stage, step: int, numbers: dict[str, float]) -> None:
        """Not shown."""

    def finished(self, stage: Stage, seconds: float) -> None:
        self._clear()
        self._line(stage, f"{seconds:.0f} s")

    def _line(self, stage: Stage, how: str) -> None:
        self._console.print(f"  [green]done[/] {stage.title} [dim]({how})[/]", highlight=False)

    def _clear(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
