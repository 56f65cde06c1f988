"""`bench check`, `bench new` and `--plugin` on the command line."""

from __future__ import annotations

import json

import pytest

from bench.plugins.identity import DIGEST

MINE = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench import Defense, Verdict, hookimpl


@dataclass(frozen=True, kw_only=True)
class Mine(Defense):
    """Removes the brightest images."""

    name: ClassVar[str] = "mine"
    share: float = 0.1

    def clean(self, view):
        score = view.batch(range(len(view))).double().mean((1, 2, 3)).numpy()
        return Verdict(keep=score <= np.quantile(score, 1 - self.share), score=score)


@dataclass(frozen=True, kw_only=True)
class Careless(Mine):
    """Draws from the global generator."""

    name: ClassVar[str] = "careless"

    def clean(self, view):
        verdict = super().clean(view)
        return Verdict(keep=verdict.keep, score=np.random.rand(len(view)))


@dataclass(frozen=True, kw_only=True)
class Twin(Mine):
    """Bears the name of an attack."""

    name: ClassVar[str] = "htba"


@hookimpl
def bench_defenses():
    return [Mine, Careless, Twin]
'''
PLUGIN = ("--plugin", "mine.py")


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """The working folder, which holds mine.py."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    monkeypatch.chdir(folder)
    return folder


def test_check_of_a_plugin_that_holds(bench):
    lines = bench("check", "mine", *PLUGIN, "--set", "share=0.2").splitlines()
    assert lines[0] == "defense 'mine' (mine.py): Mine(share=0.2)"
    assert "  held    same_seed        The same seed gives the same verdict." in lines
    assert lines[-1].startswith(f"all {len(lines) - 2} properties hold (")
    assert "To mend" not in "".join(lines)


def test_check_of_one_that_breaks_its_contract(console):
    code, out, err = console("check", "careless", *PLUGIN, "--set", "defense.share=0.2")
    assert (code, err) == (1, "")
    broken = [line.split()[1] for line in out.splitlines() if line.startswith("  BROKEN")]
    assert broken == ["same_seed", "global_state"]
    assert "NumPy's global generator" in out
    assert "To mend: draw from view.seeds(...) only" in out
    assert f"\n2 of {out.count('  held  ') + 2} properties do not hold (" in out
    assert "defense 'careless' (mine.py): Careless(share=0.2)" in out


@pytest.mark.parametrize("name", ["none", "icutmix", "oracle", "htba"])
def test_check_knows_every_kind(bench, name):
    assert "properties hold (" in bench("check", name)


def test_check_of_a_dataset_without_its_files_says_how_to_name_them(console):
    code, out, _ = console("check", "folder", "--set", "root=nowhere")
    assert code == 1
    assert "To mend: load() raises BenchError where data is missing: give the options with which it loads" in out
    assert "-       batch            not reached: see loads" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mime"], "there is no plugin 'mime'. Did you mean 'mine'?"),
        (["htba"], "'htba' is the name of several plugins: say attack:htba or defense:htba"),
        (["defence:htba"], "unknown kind of plugin 'defence'. Did you mean 'defense'?"),
        (["attack:mine"], "unknown attack 'mine'."),
        (["mine+icutmix"], "'mine+icutmix' is a combination: check its parts one by one"),
        (["mine", "--set", "shore=1"], "unknown option 'shore'. Did you mean 'share'?"),
        (["mine", "--set", "share"], "--set 'share' cannot be read"),
        (["mine", "--plugin", "absent.py"], "--plugin absent.py: there is no such file"),
    ],
)
def test_check_of_what_is_not_there(refused, arguments, said):
    assert said in refused("check", *arguments, *PLUGIN)


def test_a_kind_before_the_name_chooses(bench):
    assert bench("check", "defense:htba", *PLUGIN).startswith("defense 'htba' (mine.py): Twin(share=0.1)\n")


def test_run_with_a_plugin_file_and_again_after_an_edit(bench, copied, here, rows):
    """The threat model comes from the store; the verdict of the edited file does not."""
    assert "  mine  Removes the brightest images. (mine.py)" in bench("list", "defense", *PLUGIN)
    where = ("--preset", "smoke", "--store", copied, *PLUGIN, "--defense", "mine")
    assert "mine removed 16 images" in bench("run", *where, "--record", "one.json")
    assert len(json.loads((here / "one.json").read_text())["config"]["defense"][DIGEST]) == 64
    assert "Everything is in the store" in bench("plan", *where)
    (here / "mine.py").write_text(MINE + "# edited\n")
    assert [row[1] for row in rows(bench("plan", *where))][:4] == ["yes", "yes", "yes", "no"]


@pytest.mark.parametrize("kind", ["attack", "defense", "repair", "dataset", "ssl"])
def test_new_writes_what_check_passes(bench, refused, kind):
    assert bench("new", kind, "far-out").splitlines() == [
        "Wrote far_out.py, test_far_out.py, pyproject.toml, README.md into far-out. It works as it is; next:",
        "  cd far-out && pip install -e .",
        "  bench check far-out",
        f"  bench run --preset smoke --{'defense' if kind == 'repair' else kind} far-out",
    ]
    bench("check", "far-out", "--plugin", "far-out/far_out.py")
    refused("new", kind, "far-out")


def test_new_into_a_folder_of_choice(bench, refused, tmp_path):
    bench("new", "defense", "far-out", "--directory", tmp_path / "deep" / "there")
    assert (tmp_path / "deep" / "there" / "far_out.py").is_file()
    assert refused("new", "defence", "far") == "bench: unknown kind of plugin 'defence'. Did you mean 'defense'?\n"
