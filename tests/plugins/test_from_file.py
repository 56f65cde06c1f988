"""Plugins in one file: what names their results, what can go wrong, and how they reach other processes."""

import pickle
import sys

import pytest

from bench.errors import BenchError
from bench.plugins.from_file import load_file, load_plugins
from bench.plugins.identity import DIGEST, code_digest, identity
from bench.plugins.manager import Plugins

DATACLASS = "@dataclass(frozen=True, kw_only=True)"
MINE = f"""
from dataclasses import dataclass
from typing import ClassVar

from bench import Defense, Verdict, hookimpl

{DATACLASS}
class Mine(Defense):
    \"\"\"Removes nothing.\"\"\"

    name: ClassVar[str] = "mine"
    share: float = 0.5

    def clean(self, view):
        return Verdict(keep=VALUE)

@hookimpl
def bench_defenses():
    return [Mine]
"""
EDITED = MINE + "# edited\n"


@pytest.fixture
def file(tmp_path):
    """file(text, name) -> the path of a file that holds it."""

    def write(text=MINE, name="mine.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def made(path, **options):
    return load_plugins([path]).make("defense", "mine", options)


def test_it_stands_beside_the_installed_ones(file):
    """Also with annotations as text: its options are looked up in its module, which has to be findable."""
    plugins = load_plugins([file("from __future__ import annotations\n" + MINE)])
    assert plugins.entry("defense", "mine").origin.endswith("mine.py")
    assert "htba" in plugins.names("attack")
    assert plugins.make("defense", "mine", {"share": 1}).share == 1.0
    with pytest.raises(BenchError, match="option 'share': expected float"):
        plugins.make("defense", "mine", {"share": "x"})
    assert load_file(file()) is load_file(file())


def test_another_version_of_the_file_has_another_identity(file):
    """That its stages are named by it: cli/test_check_and_new.py."""
    paths = file(), file(EDITED, "edited.py"), file(MINE, "elsewhere/other.py")
    first, second, third = (identity(made(path, share=0.25)) for path in paths)
    assert first == third, "where it lies says nothing"
    assert first[DIGEST] != second[DIGEST]
    assert {**first, DIGEST: None} == {**second, DIGEST: None} == {"name": "mine", "share": 0.25, DIGEST: None}


def test_what_is_built_in_is_named_by_its_options_alone():
    for kind, name in (("attack", "htba"), ("defense", "none"), ("ssl", "moco_v3"), ("dataset", "scenes")):
        plugin = Plugins.load().make(kind, name)
        assert identity(plugin) == plugin.identity()


def test_an_installed_package_is_named_by_all_of_its_code(file, tmp_path, monkeypatch):
    (tmp_path / "toy_digested").mkdir()
    for name in ("__init__", "deep/__init__", "deep/helper"):
        file("LIMIT = 1\n", f"toy_digested/{name}.py")
    file("from .deep.helper import LIMIT\n", "toy_digested/plugin.py")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("toy_digested.plugin")
    found = []
    for name, text in (("deep/helper", "LIMIT = 1\n"), ("deep/helper", "# 2\n"), ("new", ""), ("new", "")):
        file(text, f"toy_digested/{name}.py")
        code_digest.cache_clear()
        found.append(code_digest("toy_digested.plugin"))
    assert len(set(found)) == 3
    assert found[2] == found[3]
    assert code_digest("no_such_module") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_thing\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_thing' (line 1)"),
        ("\n\ndef f(:\n", "cannot be imported: SyntaxError"),
        ("import sys\nsys.exit(3)\n", "cannot be imported: SystemExit: 3 (line 2)"),
        ("x = 1\n", "it implements no hook. Known: bench_attacks"),
        (MINE.replace(DATACLASS, ""), "decorate it with @dataclass"),
        (MINE.replace("@hookimpl", ""), "bench_defenses is not marked as a hook"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(file, text, said):
    path = file(text)
    before = set(sys.modules)
    with pytest.raises(BenchError) as caught:
        load_plugins([path])
    assert str(caught.value).startswith(f"--plugin {path} cannot be ")
    assert said in str(caught.value)
    assert "cannot be imported" not in said or set(sys.modules) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mime.py", r"mime\.py: there is no such file\. Did you mean 'mine\.py'\?"),
        ("", r"is a folder, expected a \.py file\. To install it: pip install -e "),
        ("mine.txt", r"expected a Python file, its name ending in \.py"),
        ("no/such.py", "there is no such file"),
    ],
)
def test_a_path_that_is_no_python_file_says_what_to_do(file, tmp_path, name, said):
    file()
    file("", "mine.txt")
    with pytest.raises(BenchError, match=said):
        load_plugins([tmp_path / name])


def test_the_same_file_twice_is_one_plugin_and_another_with_its_name_a_clash(file):
    path = file()
    assert load_plugins([path, path]).names("defense").count("mine") == 1
    with pytest.raises(BenchError, match=r"offered twice.*copy\.py.*leave its --plugin out"):
        load_plugins([path, file(MINE + "\n", "copy.py")]).entry("defense", "mine")


def test_its_objects_reach_a_process_that_has_not_loaded_the_file(file, monkeypatch):
    plugin = made(file(), share=0.25)
    posted = pickle.dumps(plugin)
    assert pickle.loads(posted) == plugin
    monkeypatch.delitem(sys.modules, type(plugin).__module__)
    there = pickle.loads(posted)
    assert type(there) is not type(plugin)
    assert (there.name, there.share, identity(there)) == ("mine", 0.25, identity(plugin))
    file(EDITED)
    monkeypatch.delitem(sys.modules, type(there).__module__)
    with pytest.raises(BenchError, match="has changed since the run began"):
        pickle.loads(posted)
