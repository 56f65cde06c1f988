"""What `bench new` writes works as it is, and what it refuses."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from bench.errors import BenchError
from bench.plugins import scaffold
from bench.plugins.contract.checks import assert_contract
from bench.plugins.from_file import load_plugins
from bench.plugins.manager import Plugins
from bench.plugins.scaffold import create

PLUGINS = Plugins.load()
ROOT = Path(__file__).parents[2]
KINDS = ("attack", "defense", "dataset", "ssl")


@pytest.fixture
def new(tmp_path):
    """new(kind, name) -> the folder written."""

    def write(kind, name, folder="made"):
        create(kind, name, tmp_path / folder, PLUGINS)
        return tmp_path / folder

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_contract_unedited(new, kind):
    folder = new(kind, "far-out.2")
    plugins = load_plugins([folder / "far_out_2.py"])
    entry = plugins.entry(kind, "far-out.2")
    assert entry.cls.__name__ == "FarOut2"
    assert_contract(entry.cls())


@pytest.mark.parametrize("kind", KINDS)
def test_its_files_name_each_other(new, kind):
    folder = new(kind, "far-out")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "far_out.py",
        "pyproject.toml",
        "test_far_out.py",
    ]
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == f"bench-{kind}-far-out"
    assert project["project"]["entry-points"]["bench"] == {"far_out": "far_out"}
    assert project["tool"]["setuptools"]["py-modules"] == ["far_out"]
    assert "from far_out import FarOut\n" in (folder / "test_far_out.py").read_text()
    assert f"bench run --preset smoke --{kind} far-out\n" in (folder / "README.md").read_text()
    for path in folder.iterdir():
        assert "plugin_" not in path.read_text()
        assert "plugin-name" not in path.read_text()
        assert "PluginClass" not in path.read_text()


def test_a_class_name_that_the_template_uses_itself_is_avoided(new):
    assert "class VerdictDefense(Defense):" in (new("defense", "verdict") / "verdict.py").read_text()
    assert "class BenchErrorDefense" not in (new("defense", "bench-error2", "b") / "bench_error2.py").read_text()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("My Defense", "my-defense"),
        ("2fast", "fast"),
        ("a--b", "a-b"),
        ("mine-", "mine"),
        ("../up", "up"),
        ("", "my-defense"),
        ("a+b", "a-b"),
        ("numpy", "numpy-defense"),
        ("lambda", "lambda-defense"),
        ("Json", "json-defense"),
    ],
)
def test_a_bad_name_is_told_with_one_that_works(new, tmp_path, name, hint):
    with pytest.raises(BenchError, match="cannot be") as caught:
        new("defense", name)
    assert str(caught.value).endswith(f"Did you mean {hint!r}?")
    assert list(tmp_path.iterdir()) == []
    assert new("defense", hint).is_dir()


@given(st.text(max_size=20), st.sampled_from(KINDS))
def test_the_name_that_is_proposed_can_always_be_used(name, kind):
    proposed = scaffold._right_name(kind, name)
    assert scaffold.NAME.fullmatch(proposed)
    assert not scaffold._taken(scaffold._module(proposed))
    assert scaffold._right_name(kind, proposed) == proposed


@pytest.mark.parametrize(("kind", "name"), [("defense", "poisoncam"), ("defense", "htba"), ("ssl", "scenes")])
def test_a_name_that_another_plugin_bears_is_refused(new, tmp_path, kind, name):
    with pytest.raises(BenchError, match=rf"'{name}' already \(from ssl-backdoor-bench .*such as 'my-{name}'"):
        new(kind, name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(new, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine.py").write_text("precious")
    with pytest.raises(BenchError, match="exists already; nothing was written"):
        new("defense", "mine")
    assert [path.read_text() for path in (tmp_path / "made").iterdir()] == ["precious"]
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="exists already"):
        new("defense", "mine", "file")
    with pytest.raises(BenchError, match="file is no folder"):
        new("defense", "mine", "file/below")


def test_an_unknown_kind_is_told(new):
    with pytest.raises(BenchError, match=r"unknown kind of plugin 'defence'\. Did you mean 'defense'\?"):
        new("defence", "mine")


def test_the_wheel_holds_every_template():
    """And nothing else lies there: package data is one folder deep."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    (pattern,) = setuptools["package-data"]["bench.plugins"]
    files = {path for path in (ROOT / "plugins" / "template").rglob("*") if "__pycache__" not in path.parts}
    assert files == {path for path in (ROOT / "plugins").glob(pattern) if path.is_file()}
    assert {f"{kind}.py" for kind in KINDS} < {path.name for path in files}
