"""The command line: one program of all commands, and what it does with an error. Each command has a file of its own."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from bench.errors import BenchError, in_one_line, nearest

PANELS = {
    "Run": ("run", "plan", "matrix"),
    "Look at results and plugins": ("report", "compare", "list"),
    "Extend": ("new", "check"),
    "Scan your own images": ("scan",),
    "Publish": ("leaderboard", "submit", "verify"),
    "The paper": ("reproduce", "study"),
    "Keep house": ("store",),
}
"""Heading in `bench --help` -> commands; each is the module of that name beside this one, with a function of that name
(`store`: an app of its own)."""
STOPPED = 130
LONGEST = 2000
"""Characters of a line of an error; of a longer one the middle is left out."""
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""click's UsageError, or that of typer's own copy of click: typer exports neither."""


class Commands(TyperGroup):
    """The commands; the module of one is imported when it is needed, so that `bench run` loads no other."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the help."""
        return [name for names in PANELS.values() for name in names]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One of them. Raises BenchError where there is none of that name."""
        panel = next((panel for panel, names in PANELS.items() if cmd_name in names), None)
        if panel is None:
            raise BenchError(f"there is no command {cmd_name!r}.{nearest(cmd_name, self.list_commands(ctx))}")
        module = import_module(f".{cmd_name}", __package__)
        own = typer.Typer(add_completion=False)
        if hasattr(module, "app"):
            own = module.app
        else:
            own.command()(getattr(module, cmd_name, None) or getattr(module, f"{cmd_name}_"))
        command: Any = typer.main.get_command(own)
        command.name, command.rich_help_panel = cmd_name, panel
        return command


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark for backdoors in self-supervised learning: attacks, defenses, one threat model, one table.",
)


def main() -> None:
    """The console script: user errors are one message and exit code 2, Ctrl-C is 130. What the output's encoding lacks,
    as a file's name that is no text, is shown escaped."""
    _open_closed_streams()
    if os.environ.get("COLUMNS", "1").strip("0") == "":
        del os.environ["COLUMNS"]  # a terminal of no width, as some have before they are drawn
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def _check_here() -> None:
    """Raises BenchError where the working folder was deleted: libraries may crash there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise BenchError("the working folder was deleted: change to another one") from None


def _open_closed_streams() -> None:
    """Lead standard streams that were closed (`>&-`) nowhere: the next file opened would take their place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def _say(text: str) -> None:
    """Print to standard error; where even that is full there is only the exit code."""
    lines = [line if len(line) <= LONGEST else f"{line[:1500]} ... {line[-300:]}" for line in text.split("\n")]
    with contextlib.suppress(OSError):
        typer.echo("\n".join(lines), err=True)


def _say_usage(error: Any) -> None:
    """Print what the parser of the command line refuses."""
    if type(error).__name__ == "NoArgsIsHelpError":  # of newer versions of click: its message is the help
        error.show()
        return
    said, where = error.format_message(), error.ctx.command_path if error.ctx else "bench"
    _say(f"bench: {said}{'' if said.endswith(('.', '?')) else '.'} See '{where} -h'.")


def guarded(command: Callable[[], Any]) -> int:
    """Run `command`; its exit code."""
    try:
        _check_here()
        code = command()
    except BenchError as error:
        _say(f"bench: {error}")
        return 2
    except typer.Exit as stop:
        code = stop.exit_code
    except SystemExit as stop:
        if _of_library(stop):  # a shell's completion, a closed pipe
            raise
        from bench.plugins.trace import of_exit

        _say(f"bench: {of_exit(stop, 'a plugin')}")
        return 2
    except _USAGE_ERROR as error:
        _say_usage(error)
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except BaseException as error:
        fault = _of_the_system(error)
        if not fault:
            raise
        _say(f"bench: {fault}")
        return 2
    if code == STOPPED:  # newer versions of typer turn Ctrl-C into this code themselves
        _say("\nbench: stopped. The same command resumes here.")
    return code if isinstance(code, int) else 0


def _of_the_system(error: BaseException) -> str:
    """What an error says that no code here can help; "" for any other."""
    if not isinstance(error, Exception):
        return f"a plugin raised {in_one_line(error)}; expected an Exception"  # nothing else raises such
    if isinstance(error, OSError):
        if not error.errno or not error.strerror:
            return ""
        what = error.strerror[0].lower() + error.strerror[1:]
        if error.filename is not None:
            return f"{what}: {os.fsdecode(error.filename)}"
        full = error.errno in (errno.ENOSPC, errno.EIO)
        return f"cannot write what there is to say: {error.strerror}" if full else what
    homeless = isinstance(error, RuntimeError) and "home directory" in str(error)  # pathlib's, of a path with a ~
    return "a path begins with ~, and there is no home folder: write it in full" if homeless else ""


def _of_library(stop: SystemExit) -> bool:
    """Whether the program was ended by a library of its command line."""
    trace = stop.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] in ("typer", "click", "rich")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        from bench import __version__

        typer.echo(f"bench {__version__}")
        raise typer.Exit
