"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.errors import BenchError

MOST_SEEDS = 1000


def beginning_with(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """For a shell's completion: those of `names()` that begin with what is typed."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def plugin_names(kind: str) -> list[str]:
    """The installed plugins of a kind."""
    from bench.plugins.manager import Plugins

    names: list[str] = Plugins.load().names(kind)
    return names


def preset_names() -> list[str]:
    """The presets by name."""
    from bench.config import config

    return config.preset_names()


def names_of_kind(ctx: typer.Context, incomplete: str) -> list[str]:
    """For `bench list KIND NAME`: the names of that kind."""
    kind = ctx.params.get("kind") or ""
    if kind.startswith("metric"):
        return []
    names = preset_names() if kind.startswith("preset") else plugin_names(kind)
    return [name for name in names if name.startswith(incomplete)]


def parse_seeds(text: str | None) -> tuple[int, ...]:
    """'0,2,5' -> (0, 2, 5), '0-4' -> (0, 1, 2, 3, 4); None -> (). Raises BenchError for anything but different whole
    numbers, 0 or more."""
    if text is None:
        return ()
    found: list[int] = []
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() and len(end) < 10 for end in ends):
            raise BenchError(
                f"--seeds {text!r} cannot be read. Expected whole numbers with commas, as in 0,1,2 or 0-4."
            )
        first, last = int(ends[0]), int(ends[-1])
        if not first <= last < first + MOST_SEEDS:
            raise BenchError(f"--seeds {text!r}: {part.strip()} is no range of 1 to {MOST_SEEDS} seeds; as in 0-4")
        found += range(first, last + 1)
    if len(set(found)) < len(found):
        raise BenchError(f"--seeds {text!r} names a seed twice: a repeated run says nothing new.")
    return tuple(found)


def _plugin(kind: str, help: str, *flags: str) -> Any:
    complete = beginning_with(lambda: plugin_names(kind))
    return typer.Option(*flags, help=help, show_default="the preset's", autocompletion=complete)


Attack = Annotated[str | None, _plugin("attack", "Attack by name (see `bench list`).")]
Defense = Annotated[str | None, _plugin("defense", "Defense by name.")]
DatasetName = Annotated[str | None, _plugin("dataset", "Dataset by name.", "--dataset")]
Method = Annotated[str | None, _plugin("ssl", "SSL method by name.", "--ssl")]
Preset = Annotated[
    str,
    typer.Option(
        help="Preset by name (see `bench list presets`) or a TOML file.", autocompletion=beginning_with(preset_names)
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.OPTION=VALUE", help="Change one option, as in defense.masks=128."),
]
PluginFiles = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Also use the plugins in this Python file, which is not installed."),
]
Until = Annotated[
    str, typer.Option(help="detection: stop at the verdict, without a second training; a later run to the end uses it.")
]
Seed = Annotated[int | None, typer.Option(help="Root of every random number.", show_default="the preset's")]
Seeds = Annotated[
    str | None,
    typer.Option(metavar="0-4", help="One run after the other with each of these seeds (0-4 or 0,2,5), then means."),
]


def place(text: str) -> Path:
    """The path of an option that says where to write, with ~ at its beginning. Raises BenchError for "", which pathlib
    takes for the working folder: a variable of a script that is not set."""
    if not text:
        raise BenchError("'' is no path of a file or folder to write; leave the option out for its default")
    return Path(text).expanduser()


def written(help: str, *flags: str, default: str | bool = True) -> Any:
    """An option that says where to write; its flag is its name where none is given."""
    return typer.Option(*flags, parser=place, metavar="PATH", help=help, show_default=default)


StoreRoot = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="PATH",
        parser=place,
        envvar="BENCH_STORE",
        help="Where stages are kept.",
        show_default="user cache",
    ),
]
ThreatCheckpoint = Annotated[
    Path | None,
    typer.Option(
        "--threat-checkpoint",
        metavar="FILE",
        help="Import the threat model (safetensors or torch weights) instead of training it.",
        show_default="train it",
    ),
]
TensorBoardDir = Annotated[Path | None, written("Write the run's curves below this folder.", "--tensorboard")]
RunInStore = Annotated[Path, typer.Argument(help="The record of a run whose stages are still in the store.")]
Devices = Annotated[int, typer.Option(min=1, help="Devices (processes) a training takes.")]
NodeTimeout = Annotated[
    float,
    typer.Option(
        min=1,
        metavar="SECONDS",
        envvar="BENCH_NODE_TIMEOUT",
        help="Under torchrun: how long the processes of a training wait for each other (docs/howto/scale.md).",
    ),
]
EngineName = Annotated[
    str | None,
    typer.Option(
        metavar="processes|ray", help="What makes the stages (docs/howto/scale.md).", show_default="processes"
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="Use this Ray cluster (auto: the one running here).", show_default="this machine"
    ),
]
Resources = Annotated[
    list[str] | None,
    typer.Option(metavar="STAGE.cpus=N", help="On Ray: CPUs or GPUs (STAGE.gpus=N) that this kind of stage takes."),
]
Accelerator = Annotated[str, typer.Option(help="Lightning Fabric's accelerator: auto, cpu, cuda, mps ...")]
