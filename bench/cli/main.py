"""The command line: one program of all commands, and what it does with an error. Each command has a file of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from bench.errors import BenchError

from . import (
    check,
    leaderboard,
    list as list_,
    matrix,
    new,
    plan,
    report,
    reproduce,
    run,
    scan,
    store,
    study,
    submit,
    verify,
)

PANELS = {
    "Run": (run.run, plan.plan, matrix.matrix),
    "Look at results and plugins": (report.report, list_.list_),
    "Extend": (new.new, check.check),
    "Scan your own images": (scan.scan,),
    "Publish": (leaderboard.leaderboard, submit.submit, verify.verify),
    "The paper": (reproduce.reproduce, study.study),
}
STOPPED = 130
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""click's UsageError, or that of typer's own copy of click: typer exports neither."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark for backdoors in self-supervised learning: attacks, defenses, one threat model, one table.",
)
for _panel, _commands in PANELS.items():
    for _command in _commands:
        app.command(_command.__name__.rstrip("_"), rich_help_panel=_panel)(_command)
app.add_typer(store.app, name="store", rich_help_panel="Keep house")


def main() -> None:
    """The console script: user errors are one message and exit code 2, Ctrl-C is 130."""
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def guarded(command: Callable[[], Any]) -> int:
    """Run `command`; its exit code."""
    try:
        code = command()
    except BenchError as error:
        typer.echo(f"bench: {error}", err=True)
        return 2
    except typer.Exit as stop:
        code = stop.exit_code
    except _USAGE_ERROR as error:
        error.show()
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    if code == STOPPED:  # newer versions of typer turn Ctrl-C into this code themselves
        typer.echo("\nbench: stopped. The same command resumes here.", err=True)
    return code if isinstance(code, int) else 0


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        from bench import __version__

        typer.echo(f"bench {__version__}")
        raise typer.Exit
