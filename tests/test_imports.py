"""Who may import whom (docs/dev/architecture.md), and what is packaged: read off the source, nothing is imported."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLUGINS = ("attacks", "defenses")
FOLDERS = ("bench", "plugins", *PLUGINS)
OTHERS = (ROOT / "plugins" / "template", ROOT / "plugins" / "example")
"""Other people's distributions, or as if they were."""

BASE = {"api", "errors", "seeds", "store", "data", "parallel", "plugins"}
SETUP = {"ssl", "isolation", "config"}
RESULTS = BASE | SETUP | {"pipeline"}
MAY_IMPORT = {
    **dict.fromkeys(BASE, BASE),
    **dict.fromkeys(SETUP, BASE),
    "config": BASE | {"ssl"},
    "pipeline": BASE | SETUP,
    "records": BASE | {"config", "isolation", "pipeline"},
    "report": RESULTS | {"records"},
    "boards": BASE | {"records", "report"},
    "estimate": RESULTS,
    **dict.fromkeys(("matrix", "paper", "scan"), RESULTS | {"records", "report", "boards", "estimate"}),
}
"""Room -> the rooms that it may import. The command line may import all; nobody imports it."""
MAY_IMPORT["paper"] |= {"matrix"}
MAY_IMPORT["session"] = RESULTS | {"records", "report", "boards"}
MAY_IMPORT["cli"] = set(MAY_IMPORT)

STAGES = ("poison", "pretrain", "probe", "clean", "control")
NEVER = {
    "records": {f"bench.pipeline.{name}" for name in (*STAGES, "runner")},
    "report": {f"bench.pipeline.{name}" for name in (*STAGES, "runner")} - {"bench.pipeline.clean"},
}
"""Room -> what it must not import: the code of stages, and what runs them. A report shows where
a search looks, so it reads how a defense was called."""
KIT = "bench.plugins.contract.contract"
SSL_SETTINGS = {"bench.ssl.settings", "bench.ssl.import_weights"}


def sources(*folders):
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not any(path.is_relative_to(other) for other in OTHERS)]


def imports(path):
    """The dotted names that a file imports, relative ones made absolute: 'bench.errors.BenchError', 'torch' ..."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    package = package if package[0] == "bench" or package[0] not in FOLDERS else ("bench", *package)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = [*base, *([node.module] if node.module else [])]
            yield from (".".join([*module, alias.name]) for alias in node.names)


def inner(name):
    """The room of `bench` that a name lies in (a file beside the rooms counts as one); None for anything else."""
    top, _, rest = name.partition(".")
    return None if top != "bench" else rest.partition(".")[0]


def room_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "bench" else parts[0]


def arrows():
    """(file, its room, the room that it imports, the name) of every import of one room by another."""
    for path in sources("bench", "plugins"):
        for name in imports(path):
            room, used = room_of(path), inner(name)
            if room not in ("__init__", "__main__") and used not in (None, room, "__version__"):
                yield path.relative_to(ROOT), room, used, name


# --- the five rules -------------------------------------------------------------------------------


def test_every_room_imports_only_the_rooms_that_it_may():
    wrong = [f"{path} imports {name}" for path, room, used, name in arrows() if used not in MAY_IMPORT[room]]
    assert wrong == []


def test_records_and_reports_read_results_and_run_nothing():
    wrong = [
        f"{path} imports {name}"
        for path, room, _, name in arrows()
        if any(name == never or name.startswith(f"{never}.") for never in NEVER.get(room, ()))
    ]
    assert wrong == []


def test_the_configuration_reads_nothing_of_ssl_but_its_settings():
    wrong = [name for _, room, used, name in arrows() if (room, used) == ("config", "ssl")]
    assert [name for name in wrong if name.rpartition(".")[0] not in SSL_SETTINGS] == []


def test_there_is_no_circle_of_rooms():
    graph = {}
    for _, room, used, _ in arrows():
        graph.setdefault(room, set()).add(used)
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("folder", [ROOT / "attacks", ROOT / "defenses", *OTHERS], ids=lambda folder: folder.name)
def test_plugins_know_the_public_names_and_their_own_folder(folder):
    facade = (ROOT / "bench" / "__init__.py").read_text(encoding="utf-8")
    public = ast.literal_eval(re.search(r"__all__ = (\[.*?\])", facade, re.DOTALL)[1])
    known, own = {*(f"bench.{name}" for name in public), KIT}, f"{package(folder)}."
    files = sorted(folder.rglob("*.py"))
    assert files
    for path in files:
        used = {name for name in imports(path) if name.startswith("bench.") and not name.startswith(own)}
        assert used <= known, path


def test_the_harness_never_imports_attacks_or_defenses():
    for path in sources("bench", "plugins"):
        assert not {inner(name) for name in imports(path)} & set(PLUGINS), path


def test_the_folders_are_never_imported_by_their_bare_names():
    for path in sources(*FOLDERS, "tests", "docs"):
        found = {name.partition(".")[0] for name in imports(path)} & {"plugins", *PLUGINS}
        assert not found, f"{path} would load a second copy of {found}"


# --- packaging ------------------------------------------------------------------------------------


def package(folder):
    """The package that a folder is installed as: attacks/ as bench.attacks."""
    parts = folder.relative_to(ROOT).parts
    return ".".join(parts if parts[0] == "bench" else ("bench", *parts))


def test_every_folder_of_source_is_a_package_of_the_distribution():
    settings = PROJECT["tool"]["setuptools"]
    data = {name for name in settings["package-data"] if name in settings["packages"]}
    assert {package(path.parent) for path in sources(*FOLDERS)} | data == set(settings["packages"])
    assert {package(ROOT / folder): folder for folder in FOLDERS} == settings["package-dir"]


def test_every_other_file_among_the_sources_is_package_data():
    settings = PROJECT["tool"]["setuptools"]
    folders = {name: ROOT / name.removeprefix("bench.").replace(".", "/") for name in settings["packages"]}
    folders = {name: path if path.is_dir() else ROOT / name.replace(".", "/") for name, path in folders.items()}
    packed = {
        file for name, globs in settings["package-data"].items() for glob in globs for file in folders[name].glob(glob)
    }
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    kept = [path for path in files if "__pycache__" not in path.parts and "example" not in path.parts]
    kept = [path for path in kept if not path.is_relative_to(ROOT / "bench.egg-info")]
    assert [path for path in kept if path not in packed and path.suffix != ".py"] == []


IMPORTED_AS = {
    "pillow": "PIL",
    "lightning-fabric": "lightning_fabric",
    "faiss-cpu": "faiss",
    "grad-cam": "pytorch_grad_cam",
    "scikit-learn": "sklearn",
}
OPTIONAL = {"datasets", "ray", "pytest", "IPython"}
"""Imported only where the user has them: extras, what a plugin's own tests run with, and a notebook's own."""


def test_the_dependencies_are_what_the_source_imports():
    tops = {name.partition(".")[0] for path in sources(*FOLDERS) for name in imports(path)}
    imported = tops - set(sys.stdlib_module_names) - {"bench", "pydantic_core"} - OPTIONAL
    named = [re.match(r"[\w-]+", line)[0] for line in PROJECT["project"]["dependencies"]]
    assert imported == {IMPORTED_AS.get(name, name.replace("-", "_")) for name in named}


def test_the_version_is_the_same_wherever_it_stands():
    import bench

    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {bench.__version__}\n" in cited
    assert PROJECT["project"]["version"] == bench.__version__
