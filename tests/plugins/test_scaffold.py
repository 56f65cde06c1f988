"""What `bench new` writes, and what it refuses. That it works as it is: cli/test_check_and_new.py."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from bench.errors import BenchError
from bench.plugins import scaffold
from bench.plugins.manager import Plugins
from bench.plugins.scaffold import create

PLUGINS = Plugins.load()
ROOT = Path(__file__).parents[2]
KINDS = ("attack", "defense", "dataset", "ssl")
TEMPLATES = {**{kind: kind for kind in KINDS}, "repair": "defense", "detector": "defense", "encoder-test": "defense"}
"""What `bench new` writes -> its kind."""


@pytest.fixture
def new(tmp_path):
    """new(kind, name) -> the folder written."""

    def write(kind, name, folder="made"):
        create(kind, name, tmp_path / folder, PLUGINS)
        return tmp_path / folder

    return write


@pytest.mark.parametrize(("kind", "base"), [("detector", "Detector"), ("encoder-test", "EncoderTest")])
def test_a_detector_and_an_encoder_test_are_chosen_as_defenses(new, kind, base):
    texts = {path.name: path.read_text() for path in new(kind, "far-out").iterdir()}
    assert f"class FarOut({base}):" in texts["far_out.py"]
    assert "bench run --preset smoke --defense far-out\n" in texts["README.md"]
    assert "class Detector" + "Detector(Detector)" in (new("detector", "detector", "b") / "detector.py").read_text()


@pytest.mark.parametrize(("template", "kind"), TEMPLATES.items())
def test_its_files_name_each_other(new, template, kind):
    texts = {path.name: path.read_text() for path in new(template, "far-out.2").iterdir()}
    assert sorted(texts) == ["README.md", "far_out_2.py", "pyproject.toml", "test_far_out_2.py"]
    project = tomllib.loads(texts["pyproject.toml"])
    assert project["project"]["name"] == f"bench-{kind}-far-out.2"
    assert project["project"]["entry-points"]["bench"] == {"far_out_2": "far_out_2"}
    assert project["tool"]["setuptools"]["py-modules"] == ["far_out_2"]
    assert "\nclass FarOut2(" in texts["far_out_2.py"]
    assert "from far_out_2 import FarOut2\n" in texts["test_far_out_2.py"]
    assert f"bench run --preset smoke --{kind} far-out.2\n" in texts["README.md"]
    left = [word for word in ("plugin_", "plugin-name", "PluginClass") for text in texts.values() if word in text]
    assert left == []


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
def test_a_bad_name_is_refused_with_one_that_works(new, tmp_path, name, hint):
    with pytest.raises(BenchError, match=rf"cannot be .*Did you mean {hint!r}\?$"):
        new("defense", name)
    assert list(tmp_path.iterdir()) == []
    assert new("defense", hint).is_dir()


@given(st.text(max_size=20), st.sampled_from(list(TEMPLATES)))
def test_the_name_that_is_proposed_can_always_be_used(name, kind):
    proposed = scaffold._right_name(kind, name)
    scaffold._check_name(kind, proposed, Plugins([]))
    assert scaffold._right_name(kind, proposed) == proposed


@pytest.mark.parametrize(
    ("kind", "name", "folder", "said"),
    [
        ("defense", "poisoncam", "made", r"'poisoncam' already \(from ssl-backdoor-bench .*such as 'my-poisoncam'"),
        ("ssl", "scenes", "made", r"'scenes' already \(from ssl-backdoor-bench .*such as 'my-scenes'"),
        ("defense", "mine", "there", "exists already; nothing was written"),
        ("defense", "mine", "there/file", "exists already"),
        ("defense", "mine", "there/file/below", "file is no folder"),
    ],
)
def test_what_is_there_already_is_left_alone(new, tmp_path, kind, name, folder, said):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("precious")
    with pytest.raises(BenchError, match=said):
        new(kind, name, folder)
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["precious"]


def test_the_wheel_holds_every_template():
    """And nothing else lies there: package data is one folder deep."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    (pattern,) = setuptools["package-data"]["bench.plugins"]
    files = {path for path in (ROOT / "plugins" / "template").rglob("*") if "__pycache__" not in path.parts}
    assert files == {path for path in (ROOT / "plugins").glob(pattern) if path.is_file()}
    assert {f"{template.replace('-', '_')}.py" for template in TEMPLATES} < {path.name for path in files}
