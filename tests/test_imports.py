"""Who may import whom: read off the source (docs/architecture.md), nothing is imported."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A module may import from its own layer and those above it in this list.
LAYERS = tuple(
    set(layer.split())
    for layer in (
        "errors api seeds store",
        "plugins data parallel isolation ssl config",
        "pipeline",
        "records",
        "report estimate leaderboard",
        "matrix paper scan",
        "cli __main__",
    )
)
LAYER = {name: number for number, layer in enumerate(LAYERS) for name in layer}
FOLDERS = ("bench", "plugins", "attacks", "defenses", "tests")
ALIASES = {"plugins", "attacks", "defenses"}
KIT = {"bench.plugins.contract.contract"}


OTHERS = (ROOT / "plugins" / "template", ROOT / "plugins" / "example")
"""Other people's distributions, or as if they were."""


def sources(*folders):
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not any(path.is_relative_to(other) for other in OTHERS)]


def imports(path):
    """The dotted names that a file imports, relative ones made absolute: 'bench.errors', 'torch' ..."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    package = package if package[0] == "bench" or package[0] not in ALIASES else ("bench", *package)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = [*base, *([node.module] if node.module else [])]
            yield from (".".join([*module, alias.name]) for alias in node.names)


def inner(name):
    """The room of `bench` that a name lies in, '' for the facade, None for anything else."""
    top, _, rest = name.partition(".")
    return None if top != "bench" else next(iter(rest.split(".")), "")


def test_bench_imports_only_from_its_own_layer_and_those_below():
    for path in sources("bench", "plugins"):
        room = path.relative_to(ROOT / "bench").parts[0] if path.is_relative_to(ROOT / "bench") else "plugins"
        room = room.removesuffix(".py")
        if room == "__init__" or path.name == "cheating.py":
            continue
        for name in imports(path):
            used = inner(name)
            if used is not None and used != "__version__":
                assert used in LAYER, f"{path}: {name}: give it a layer here"
                assert LAYER[used] <= LAYER[room], f"{path} imports {name}"


@pytest.mark.parametrize("folder", ["attacks", "defenses"])
def test_attacks_and_defenses_know_the_facade_and_their_own_folder(folder):
    public = (ROOT / "bench" / "__init__.py").read_text(encoding="utf-8")
    for path in sources(folder):
        for name in imports(path):
            room = inner(name)
            if room not in (None, "", folder):
                assert f'"{room}"' in public, f"{path} imports {name}, which the facade does not offer"
                assert room not in LAYER, f"{path} imports {name}"


@pytest.mark.parametrize("folder", OTHERS, ids=lambda folder: folder.name)
def test_templates_and_the_example_know_the_facade_and_the_kit(folder):
    public = (ROOT / "bench" / "__init__.py").read_text(encoding="utf-8")
    files = sorted(folder.rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            assert inner(name) in (None, "") or f'"{inner(name)}"' in public or name in KIT


def test_the_harness_never_imports_attacks_or_defenses():
    for path in sources("bench", "plugins"):
        assert not {inner(name) for name in imports(path)} & {"attacks", "defenses"}, path


def test_the_folders_are_never_imported_by_their_bare_names():
    for path in sources(*FOLDERS):
        found = {name.partition(".")[0] for name in imports(path)} & ALIASES
        assert not found, f"{path} would load a second copy of {found}"
