"""The command line. Each command's work is elsewhere; nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.config.config import Config
    from bench.matrix.ray import RayOptions
    from bench.plugins.manager import Plugins

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark for backdoors in self-supervised learning: attacks, defenses, one threat model, one table.",
)
store_app = typer.Typer(no_args_is_help=True, help="What finished stages left on disk: list, prune.")
app.add_typer(store_app, name="store")

STOPPED = 130
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""click's UsageError, or that of typer's own copy of click: typer exports neither."""

Attack = Annotated[str | None, typer.Option(help="Attack by name (see `bench list`).", show_default="the preset's")]
Defense = Annotated[str | None, typer.Option(help="Defense by name.", show_default="the preset's")]
DatasetName = Annotated[str | None, typer.Option("--dataset", help="Dataset by name.", show_default="the preset's")]
Method = Annotated[str | None, typer.Option("--ssl", help="SSL method by name.", show_default="the preset's")]
Preset = Annotated[str, typer.Option(help="Preset by name (see `bench presets`) or a TOML file.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.OPTION=VALUE", help="Change one option, as in defense.masks=128."),
]
PluginFiles = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Also use the plugins in this Python file, which is not installed."),
]
Seed = Annotated[int | None, typer.Option(help="Root of every random number.", show_default="the preset's")]
StoreRoot = Annotated[
    Path | None, typer.Option("--store", envvar="BENCH_STORE", help="Where stages are kept.", show_default="user cache")
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
TensorBoardDir = Annotated[
    Path | None,
    typer.Option("--tensorboard", metavar="DIR", help="Write the run's curves below DIR.", show_default="no"),
]
RunInStore = Annotated[Path, typer.Argument(help="The record of a run whose stages are still in the store.")]
Devices = Annotated[int, typer.Option(min=1, help="Devices (processes) a training takes.")]
Nodes = Annotated[
    int, typer.Option(min=1, help="Machines a training spans: start this once on each (docs/scale.md, Several nodes).")
]
NodeTimeout = Annotated[
    float,
    typer.Option(min=1, metavar="SECONDS", envvar="BENCH_NODE_TIMEOUT", help="With --nodes: how long to wait for one."),
]
EngineName = Annotated[
    str | None,
    typer.Option(
        metavar="processes|ray", help="What makes the stages; ray: see docs/scale.md.", show_default="processes"
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
        typer.echo("\nbench: stopped. The same command goes on from here.", err=True)
    return code if isinstance(code, int) else 0


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        from bench import __version__

        typer.echo(f"bench {__version__}")
        raise typer.Exit


def _load(
    preset: str,
    choices: dict[str, str | None],
    settings: list[str] | None,
    seed: int | None,
    threat: Path | None,
    files: list[Path] | None,
) -> tuple[Config, Plugins]:
    from bench.config.config import load_config
    from bench.plugins.from_file import load_plugins

    plugins = load_plugins(files or ())
    config = load_config(plugins, preset, choices=choices, settings=settings or (), seed=seed)
    return (with_threat(config, threat) if threat else config), plugins


def with_threat(config: Config, checkpoint: Path) -> Config:
    """`config` with its threat model imported from a file."""
    import dataclasses

    from bench.ssl.import_weights import Checkpoint

    return dataclasses.replace(config, threat_checkpoint=Checkpoint.of(checkpoint.expanduser()))


@app.command()
def run(
    attack: Attack = None,
    defense: Defense = None,
    dataset: DatasetName = None,
    ssl: Method = None,
    preset: Preset = "laptop",
    settings: Set = None,
    seed: Seed = None,
    record: Annotated[Path | None, typer.Option(help="Write the record to this file as well.")] = None,
    plugin: PluginFiles = None,
    threat_checkpoint: ThreatCheckpoint = None,
    store: StoreRoot = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    nodes: Nodes = 1,
    node_timeout: NodeTimeout = 600.0,
    tensorboard: TensorBoardDir = None,
) -> None:
    """Attack, train, defend, train again, and print both rows. What is in the store is not computed again."""
    from .commands import run_command

    choices = {"attack": attack, "defense": defense, "dataset": dataset, "ssl": ssl}
    config, plugins = _load(preset, choices, settings, seed, threat_checkpoint, plugin)
    if tensorboard is not None:
        from bench.plugins.tensorboard import TensorBoard

        plugins.add(TensorBoard(tensorboard.expanduser(), name=f"{config.defense.name}-seed{config.seed}"))
    run_command(
        config,
        plugins,
        store=store,
        record=record,
        devices=devices,
        accelerator=accelerator,
        nodes=nodes,
        node_timeout=node_timeout,
    )


@app.command()
def plan(
    attack: Attack = None,
    defense: Defense = None,
    dataset: DatasetName = None,
    ssl: Method = None,
    preset: Preset = "laptop",
    settings: Set = None,
    seed: Seed = None,
    plugin: PluginFiles = None,
    threat_checkpoint: ThreatCheckpoint = None,
    store: StoreRoot = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    on: Annotated[
        str | None, typer.Option(help="Estimate for other machines: 'h200', '4xrtx3090' ...", show_default=False)
    ] = None,
) -> None:
    """The stages of that run, which of them are in the store, and an estimate of the time for the rest."""
    from .commands import plan_command

    choices = {"attack": attack, "defense": defense, "dataset": dataset, "ssl": ssl}
    config, _ = _load(preset, choices, settings, seed, threat_checkpoint, plugin)
    plan_command(config, store=store, devices=devices, accelerator=accelerator, on=on)


@app.command()
def profile(
    defense: Defense = None,
    dataset: DatasetName = None,
    ssl: Method = None,
    preset: Preset = "laptop",
    settings: Set = None,
    seed: Seed = None,
    plugin: PluginFiles = None,
    images: Annotated[int, typer.Option(min=64, help="Images of the sample.")] = 512,
    accelerator: Accelerator = "auto",
) -> None:
    """What each part of that run takes on this machine: images a second, share of its peak, memory. Keeps nothing."""
    from .profile import profile_command

    choices = {"defense": defense, "dataset": dataset, "ssl": ssl}
    config, _ = _load(preset, choices, settings, seed, None, plugin)
    profile_command(config, images=images, accelerator=accelerator)


@app.command()
def show(
    run: RunInStore,
    maps: Annotated[
        list[str] | None, typer.Option(help="Whose maps to draw.", show_default="every defense that locates")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=50, help="How many images.")] = 10,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PNG, SVG or PDF file.", show_default="beside the record")
    ] = None,
    plugin: PluginFiles = None,
    store: StoreRoot = None,
) -> None:
    """A picture of the most suspicious images: attention maps, windows found, true triggers."""
    from .commands import show_command

    show_command(run, store, output, maps or [], count, plugin or ())


def _place(engine: str | None, address: str | None, jobs: int | None, resources: Sequence[str]) -> RayOptions | None:
    """Which Ray is requested; None for none. Raises BenchError for options that do not go together."""
    if engine not in (None, "processes", "ray"):
        raise BenchError(f"--engine {engine}: expected processes or ray")
    if engine == "ray" or (engine is None and address is not None):
        from bench.matrix.ray import RayOptions

        return RayOptions(address=address, jobs=jobs, changes=tuple(resources))
    for option, value in (("--ray-address", address), ("--resources", resources)):
        if value:
            raise BenchError(f"{option} is for Ray: add --engine ray")
    return None


@app.command()
def report(
    run: RunInStore,
    maps: Annotated[
        list[str] | None, typer.Option(help="Whose maps to draw.", show_default="the run's defense, if it locates")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=50, help="How many suspicious images.")] = 12,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file.", show_default="beside the record")
    ] = None,
    plugin: PluginFiles = None,
    store: StoreRoot = None,
) -> None:
    """One HTML page of a run: story, numbers, suspects, what was removed, clusters, curves, cost."""
    from .report import report_command

    report_command(run, store, output, maps or [], count, plugin or ())


@app.command()
def matrix(
    file: Annotated[Path, typer.Argument(help="TOML: preset, seeds, attacks, defenses, settings (see the README).")],
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stages at a time; above 1 in processes with one thread each.",
            show_default="1; on Ray as many as have room",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Copy the records into this folder.")] = None,
    engine: EngineName = None,
    ray_address: RayAddress = None,
    resources: Resources = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is to do and how long; do nothing.")
    ] = False,
    store: StoreRoot = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
) -> None:
    """Run every attack with every defense and seed of a file; a stage that several need is computed once."""
    from .matrix import matrix_command

    code = matrix_command(
        file,
        store=store,
        jobs=jobs or 1,
        output=output,
        dry_run=dry_run,
        devices=devices,
        accelerator=accelerator,
        ray=_place(engine, ray_address, jobs, resources or ()),
    )
    raise typer.Exit(code)


@app.command()
def reproduce(
    table: Annotated[str, typer.Argument(help="table1, table2 or table3 of the PoisonCAM paper.")],
    preset: Annotated[str | None, typer.Option(help="Preset to set beside it.", show_default="the paper's")] = None,
    settings: Set = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds wanted of each run, from 0; the paper has 5.")] = 1,
    records: Annotated[
        list[Path] | None, typer.Option(help="Record file, or folder of them.", show_default="the store's")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Make the runs that have no record.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="With --run: stages at a time.")] = 1,
    store: StoreRoot = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
) -> None:
    """The paper's numbers, ours, the difference; which runs are missing; and whether the setting is the paper's."""
    from .reproduce import reproduce_command

    code = reproduce_command(
        table,
        preset=preset,
        settings=settings or (),
        seeds=seeds,
        folders=records or (),
        run=run,
        jobs=jobs,
        store=store,
        devices=devices,
        accelerator=accelerator,
    )
    raise typer.Exit(code)


@app.command()
def scan(
    folder: Annotated[Path, typer.Argument(help="Images in any folders below it; no labels are needed.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the report.", show_default="./scan-FOLDER")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="FILE|NAME", help="A checkpoint, or timm's weights by name.", show_default="train one"),
    ] = None,
    train: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Train an encoder so.", show_default="laptop or cifar10-cpu")
    ] = None,
    defense: Annotated[str, typer.Option(help="What searches (see `bench list defense`).")] = "poisoncam",
    size: Annotated[
        int | None, typer.Option(min=16, help="Width of the images, px.", show_default="the preset's")
    ] = None,
    settings: Set = None,
    seed: Seed = None,
    fail_on_found: Annotated[bool, typer.Option("--fail-on-found", help="Exit code 1 if a trigger is found.")] = False,
    plugin: PluginFiles = None,
    store: StoreRoot = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
) -> None:
    """Search your own images for a planted trigger: a page, the files to keep and to remove, and a verdict."""
    from .scan import scan_command

    found = scan_command(
        folder,
        output=output,
        encoder=encoder,
        train=train,
        defense=defense,
        size=size,
        settings=settings or (),
        seed=seed,
        files=plugin or (),
        store=store,
        devices=devices,
        accelerator=accelerator,
    )
    if found and fail_on_found:
        raise typer.Exit(1)


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(help="attack, defense, dataset or ssl; all without it.")] = None,
    plugin: PluginFiles = None,
) -> None:
    """Attacks, defenses, datasets and SSL methods: where each comes from, and its options."""
    from .commands import list_command

    list_command(kind, plugin or ())


@app.command()
def plugins(plugin: PluginFiles = None) -> None:
    """The plugins found, and for each broken one the reason."""
    from .commands import plugins_command

    plugins_command(plugin or ())


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A plugin by its name, or KIND:NAME where several kinds have one.")],
    plugin: PluginFiles = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="OPTION=VALUE", help="Check it with this option.")
    ] = None,
) -> None:
    """Hold a plugin to the contract of its kind, on toy data; exit code 1 if it breaks it."""
    from .plugins import check_command

    if not check_command(name, plugin or (), settings or ()):
        raise typer.Exit(1)


@app.command()
def cheats(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the table into this markdown file, between its marks.")
    ] = None,
) -> None:
    """Run the contract kit's cheating defenses on toy data: what each gains, and how it is stopped."""
    from .plugins import cheats_command

    if not cheats_command(output):
        raise typer.Exit(1)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="attack, defense, dataset or ssl.")],
    name: Annotated[str, typer.Argument(help="Its name: small letters, digits, - in between.")],
    directory: Annotated[
        Path | None, typer.Option(help="The folder to write, which must not exist.", show_default="./NAME")
    ] = None,
) -> None:
    """Write a distribution with a plugin of your own: one file, its test, pyproject.toml, README."""
    from .plugins import new_command

    new_command(kind, name, directory)


@app.command()
def presets(name: Annotated[str | None, typer.Argument(help="Print this preset whole.")] = None) -> None:
    """The presets, a line each."""
    from .commands import presets_command

    presets_command(name)


@app.command()
def leaderboard(
    records: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of records or reported numbers, or folders of them.", show_default="the store's"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file (html: folder), with links.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="markdown, csv, latex, or html: a site of pages.")] = "markdown",
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 where --output is stale.")] = False,
    only: Annotated[str, typer.Option(help="Only tables with this in their title.", show_default="all")] = "",
    store: StoreRoot = None,
) -> None:
    """Records as tables: one for each dataset, attack and preset.

    A markdown file with the lines <!-- leaderboard: begin --> and <!-- leaderboard: end --> keeps what is around them.
    So does one with numbers of records in its sentences: <!-- n: laptop; none; ACC -->79.9<!-- /n --> (docs/pages.md).
    """
    from .leaderboard import leaderboard_command

    if not leaderboard_command(records or [], output, store, form, check, only):
        raise typer.Exit(1)


@app.command()
def submit(
    record: Annotated[Path, typer.Argument(help="The record of a run whose stages are still in the store.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write.", show_default="beside the record")
    ] = None,
    store: StoreRoot = None,
) -> None:
    """Pack a record, and all that its metrics can be computed from again, into one file to send in."""
    from .leaderboard import submit_command

    submit_command(record, store, output)


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="Files that `bench submit` made.")],
    into: Annotated[
        Path | None, typer.Option(help="Keep the records of those that agree in this folder, as submitted.")
    ] = None,
) -> None:
    """Compute every metric of a submission again, and refuse what does not agree. Nothing in it is executed."""
    from .leaderboard import verify_command

    verify_command(files, into)


@app.command()
def study(
    name: Annotated[str | None, typer.Argument(help="Which study; all are listed without it.")] = None,
    preset: Preset = "laptop",
    settings: Set = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="0,1,2", help="Run it with each of these seeds.", show_default="the preset's")
    ] = None,
    store: StoreRoot = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the tables and the plot.")] = Path(
        "studies"
    ),
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 where the .md is not what the .csv beside it gives.")
    ] = False,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
) -> None:
    """One of the paper's studies: its runs share what they can; a table (CSV, markdown) and a plot (SVG, PNG)."""
    from .study import check_command, list_command, study_command

    if check:
        asked = {"--seeds": seeds, "--devices": devices != 1, "--accelerator": accelerator != "auto"}
        given = [option for option, value in asked.items() if value]
        if not check_command(name or "", preset=preset, settings=settings or (), output=output, given=given):
            raise typer.Exit(1)
        return
    if name is None:
        list_command()
        return
    study_command(
        name,
        preset=preset,
        settings=settings or (),
        seeds=seeds,
        store=store,
        output=output,
        devices=devices,
        accelerator=accelerator,
    )


@store_app.command("list")
def store_list(store: StoreRoot = None) -> None:
    """Every stage kept, its size, and when it was last used."""
    from .commands import store_list_command

    store_list_command(store)


@store_app.command("prune")
def store_prune(
    older_than: Annotated[float | None, typer.Option(min=0, help="Only what was not used for so many days.")] = None,
    max_gib: Annotated[float | None, typer.Option(min=0, help="The least recently used, down to so many GiB.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only this stage (poison, pretrain, import, probe, clean).")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Only what unfinished stages left.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; delete nothing.")] = False,
    store: StoreRoot = None,
) -> None:
    """Delete stages. What a running command is making is left alone."""
    from .commands import store_prune_command

    store_prune_command(store, older_than, max_gib, stage, partial, dry_run)
