"""`bench store list` and `bench store prune`: what finished stages left on disk."""

from __future__ import annotations

from typing import Annotated

import typer

from . import common, options

app = typer.Typer(no_args_is_help=True, help="List or delete what finished stages left on disk.")


@app.command("list")
def store_list(store: options.StoreRoot = None) -> None:
    """Every stage kept, its size, and when it was last used."""
    kept = common.open_store(store)
    entries = kept.entries()
    rows = []
    for e in entries:
        used = e.last_used.astimezone().strftime("%Y-%m-%d %H:%M")
        rows.append((e.stage, e.key[:12], size(e.bytes), f"{e.seconds:.0f}", used, "" if e.finished else "unfinished"))
    common.print_table(("stage", "key", "size", "seconds", "last used", "state"), rows, right=("size", "seconds"))
    common.say(f"{len(entries)} stages, {size(sum(e.bytes for e in entries))} in {kept.root}")


@app.command("prune")
def store_prune(
    older_than: Annotated[float | None, typer.Option(min=0, help="Only what was not used for so many days.")] = None,
    max_gib: Annotated[float | None, typer.Option(min=0, help="The least recently used, down to so many GiB.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only this stage (poison, pretrain, import, probe, clean).")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Only what unfinished stages left.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; delete nothing.")] = False,
    store: options.StoreRoot = None,
) -> None:
    """Delete stages. What a running command is making is left alone."""
    freed = common.open_store(store).prune(
        older_than=None if older_than is None else older_than * 86_400,
        max_bytes=None if max_gib is None else int(max_gib * 2**30),
        stage=stage,
        partial=partial,
        dry_run=dry_run,
    )
    common.say(f"{'would free' if dry_run else 'freed'} {size(freed)}")


def size(count: float) -> str:
    """Bytes in the unit that reads best: '2 KiB'."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
