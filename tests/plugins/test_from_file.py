"""Plugins in one file: what names their results, what can go wrong, and how they reach other processes."""

import pickle
import sys

import pytest

from bench.errors import BenchError
from bench.plugins.from_file import load_file, load_plugins
from bench.plugins.identity import DIGEST, code_digest, identity
from bench.plugins.manager import Plugins

MINE = """
from dataclasses import dataclass
from typing import ClassVar

from bench import Defense, Verdict, hookimpl

@dataclass(frozen=True, kw_only=True)
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


@pytest.fixture
def file(tmp_path):
    """file(text, name) -> the path of a file that holds it."""

    def write(text=MINE, name="mine.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def made(path, **options):
    return load_plugins([path]).make("defense", "mine", options)


def test_it_stands_beside_the_installed_ones(file):
    plugins = load_plugins([file()])
    assert plugins.entry("defense", "mine").origin.endswith("mine.py")
    assert "htba" in plugins.names("attack")
    assert made(file(), share=0.25).share == 0.25


def test_another_version_of_the_file_has_another_identity(file, tmp_path):
    first = identity(made(file()))
    second = identity(made(file(MINE.replace("VALUE", "OTHER"))))
    third = identity(made(file(MINE)))
    assert first == third
    assert first != second
    assert {**first, DIGEST: None} == {**second, DIGEST: None} == {"name": "mine", "share": 0.5, DIGEST: None}
    (tmp_path / "elsewhere").mkdir()
    assert identity(made(file(MINE, "elsewhere/other.py"))) == first, "where it lies says nothing"


def test_stages_are_named_by_it(file, workshop):
    """The key of the clean stage, not only what is recorded."""
    from bench.config.config import load_config
    from bench.pipeline.pipeline import Pipeline
    from bench.pipeline.stage import Machine
    from bench.store import Store

    def keys(path):
        config = load_config(load_plugins([path]), "smoke", choices={"defense": "mine"})
        assert config.resolved["defense"][DIGEST] == code_digest(type(config.defense.filter).__module__)
        pipeline = Pipeline(config, config.dataset.load(), Store(workshop.root), Machine(accelerator="cpu"))
        return pipeline.poison.key, pipeline.threat.key, pipeline.clean.key

    one, other = keys(file()), keys(file(MINE + "# edited\n"))
    assert one[:2] == other[:2], "nothing before the defense depends on it"
    assert one[2] != other[2]


def test_what_is_built_in_is_named_by_its_options_alone():
    for kind, name in (("attack", "htba"), ("defense", "none"), ("ssl", "moco_v3"), ("dataset", "scenes")):
        plugin = Plugins.load().make(kind, name)
        assert identity(plugin) == plugin.identity()


def test_an_installed_package_is_named_by_all_of_its_code(tmp_path, monkeypatch):
    package = tmp_path / "toy_digested"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "deep" / "helper.py").write_text("LIMIT = 1\n")
    (package / "plugin.py").write_text("from .deep.helper import LIMIT\n")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("toy_digested.plugin")
    found = []
    for text in ("LIMIT = 1\n", "LIMIT = 2\n", "LIMIT = 1\n"):
        (package / "deep" / "helper.py").write_text(text)
        code_digest.cache_clear()
        found.append(code_digest("toy_digested.plugin"))
    assert found[0] == found[2] != found[1]
    (package / "new.py").write_text("")
    code_digest.cache_clear()
    assert code_digest("toy_digested.plugin") not in found
    assert code_digest("no_such_module") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_thing\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_thing' (line 1)"),
        ("\n\ndef f(:\n", "cannot be imported: SyntaxError"),
        ("import sys\nsys.exit(3)\n", "cannot be imported: SystemExit: 3 (line 2)"),
        ("x = 1\n", "it implements no hook. Known: bench_attacks"),
        (MINE.replace("@dataclass(frozen=True, kw_only=True)", ""), "decorate it with @dataclass"),
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


def test_a_path_that_is_no_python_file_says_what_to_do(file, tmp_path):
    file()
    with pytest.raises(BenchError, match=r"mime\.py: there is no such file\. Did you mean 'mine\.py'\?"):
        load_plugins([tmp_path / "mime.py"])
    with pytest.raises(BenchError, match=r"is a folder, expected a \.py file\. To install it: pip install -e "):
        load_plugins([tmp_path])
    with pytest.raises(BenchError, match=r"expected a Python file, its name ending in \.py"):
        load_plugins([file("", "mine.txt")])
    with pytest.raises(BenchError, match="there is no such file"):
        load_plugins([tmp_path / "no" / "such.py"])


def test_the_same_file_twice_is_one_plugin_and_another_with_its_name_a_clash(file):
    path = file()
    assert load_plugins([path, path]).names("defense").count("mine") == 1
    with pytest.raises(BenchError, match="offered twice") as caught:
        load_plugins([path, file(MINE + "\n", "copy.py")]).entry("defense", "mine")
    assert "copy.py" in str(caught.value)
    assert "leave its --plugin out" in str(caught.value)


def test_its_objects_reach_a_process_that_has_not_loaded_the_file(file, monkeypatch):
    path = file()
    plugin = made(path, share=0.25)
    posted = pickle.dumps(plugin)
    assert pickle.loads(posted) == plugin
    monkeypatch.delitem(sys.modules, type(plugin).__module__)
    there = pickle.loads(posted)
    assert type(there) is not type(plugin)
    assert (there.name, there.share, identity(there)) == ("mine", 0.25, identity(plugin))
    file(MINE + "# edited\n")
    monkeypatch.delitem(sys.modules, type(there).__module__)
    with pytest.raises(BenchError, match="has changed since the run began"):
        pickle.loads(posted)


def test_a_file_with_annotations_as_text(file):
    """Its options are looked up in its module, which has to be findable."""
    assert made(file("from __future__ import annotations\n" + MINE), share=1).share == 1.0
    with pytest.raises(BenchError, match="option 'share': expected float"):
        made(file("from __future__ import annotations\n" + MINE), share="x")
    assert load_file(file()) is load_file(file())
