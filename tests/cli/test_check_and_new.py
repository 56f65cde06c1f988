"""`bench check`, `bench new` and `--plugin` on the command line."""

from __future__ import annotations

import json

import pytest

from bench.plugins.identity import DIGEST

MINE = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench import Attack, Defense, Verdict, hookimpl


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


@pytest.fixture
def here(monkeypatch, tmp_path):
    """The working folder, which holds mine.py."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def bench(console, here):
    """`console`, in that folder."""
    return console


def test_check_of_a_plugin_that_holds(bench):
    code, out, err = bench("check", "mine", "--plugin", "mine.py", "--set", "share=0.2")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "defense 'mine' (mine.py): Mine(share=0.2)"
    assert "  held    same_seed        The same seed gives the same verdict." in lines
    assert lines[-1].startswith("all 17 properties hold (")
    assert "To mend" not in out


def test_check_of_one_that_breaks_its_contract(bench):
    code, out, err = bench("check", "careless", "--plugin", "mine.py", "--set", "defense.share=0.2")
    assert (code, err) == (1, "")
    broken = [line.split()[1] for line in out.splitlines() if line.startswith("  BROKEN")]
    assert broken == ["same_seed", "global_state"]
    assert "NumPy's global generator" in out
    assert "To mend: draw from view.seeds(...) only" in out
    assert "2 of 17 properties do not hold (" in out
    assert "defense 'careless' (mine.py): Careless(share=0.2)" in out


@pytest.mark.parametrize("name", ["none", "icutmix", "oracle", "htba"])
def test_check_knows_every_kind(bench, name):
    code, out, _ = bench("check", name)
    assert code == 0
    assert "properties hold (" in out


def test_check_of_a_dataset_without_its_files_says_how_to_name_them(bench):
    code, out, _ = bench("check", "folder", "--set", "root=nowhere")
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
def test_check_of_what_is_not_there(bench, arguments, said):
    code, out, err = bench("check", *arguments, "--plugin", "mine.py")
    assert (code, out) == (2, "")
    assert err.startswith("bench: ")
    assert said in err
    assert "Traceback" not in err


def test_a_kind_before_the_name_chooses(bench):
    code, out, _ = bench("check", "defense:htba", "--plugin", "mine.py")
    assert code == 0
    assert out.startswith("defense 'htba' (mine.py): Twin(share=0.1)\n")


def test_list_shows_a_file(bench):
    assert "  mine  Removes the brightest images. (mine.py)" in bench("list", "defense", "--plugin", "mine.py")[1]


def test_run_with_a_plugin_file_and_again_after_an_edit(bench, copied, here, rows):
    """The threat model comes from the store; the verdict of the edited file does not."""
    where = ("--preset", "smoke", "--store", copied, "--plugin", "mine.py", "--defense", "mine")
    code, out, _ = bench("run", *where, "--record", "one.json")
    assert code == 0
    assert "mine removed 16 images" in out
    one = json.loads((here / "one.json").read_text())
    assert len(one["config"]["defense"][DIGEST]) == 64
    planned = bench("plan", *where)[1]
    assert "Everything is in the store" in planned
    (here / "mine.py").write_text(MINE + "# edited\n")
    assert [row[1] for row in rows(bench("plan", *where)[1])][:4] == ["yes", "yes", "yes", "no"]


@pytest.mark.parametrize("kind", ["attack", "defense", "dataset", "ssl"])
def test_new_writes_what_check_passes(bench, kind):
    code, out, err = bench("new", kind, "far-out")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Wrote far_out.py, test_far_out.py, pyproject.toml, README.md into far-out. It works as it is; next:",
        "  cd far-out && pip install -e .",
        "  bench check far-out",
        f"  bench run --preset smoke --{kind} far-out",
    ]
    assert bench("check", "far-out", "--plugin", "far-out/far_out.py")[0] == 0
    assert bench("new", kind, "far-out")[0] == 2


def test_new_into_a_folder_of_choice(bench, tmp_path):
    assert bench("new", "defense", "far-out", "--directory", tmp_path / "deep" / "there")[0] == 0
    assert (tmp_path / "deep" / "there" / "far_out.py").is_file()
    code, _, err = bench("new", "defence", "far-out")
    assert code == 2
    assert err == "bench: unknown kind of plugin 'defence'. Did you mean 'defense'?\n"
