"""Matrix files: which cells they name, and what is said of a file that cannot be used."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.matrix.file import read_matrix
from bench.plugins.manager import Plugins

PLUGINS = Plugins.load()
GOOD = """
preset = "smoke"
seeds = [3, 1]
settings = ["train.epochs=1"]
defenses = ["none", { name = "poisoncam", settings = ["defense.masks=4"] }]
[[attacks]]
name = "htba"
[[attacks]]
name = "htba"
settings = ["attack.target=2"]
"""


@pytest.fixture
def cells(tmp_path):
    """cells(text) -> the cells of a matrix file with that text; None: there is no file."""

    def read(text):
        if text is not None:
            (tmp_path / "m.toml").write_text(text)
        return read_matrix(tmp_path / "m.toml", PLUGINS)

    return read


def test_every_attack_meets_every_seed_and_defense(cells):
    found = cells(GOOD)
    defenses = ("none", "poisoncam")
    assert [(cell.seed, cell.defense) for cell in found] == [(s, d) for s in (3, 1) for d in defenses] * 2
    assert found[0].settings == ("train.epochs=1",)
    assert found[-1].settings == ("train.epochs=1", "attack.target=2", "defense.masks=4")
    assert found[-1].title == "htba (target=2), poisoncam, seed 1"
    assert found[-1].command == (
        "bench run --preset smoke --attack htba --defense poisoncam --set train.epochs=1 --set attack.target=2 "
        "--set defense.masks=4 --seed 1"
    )


def test_a_matrix_of_several_ssl_methods(cells):
    found = cells('ssl = ["byol", "dino"]\n' + GOOD)
    assert [cell.ssl for cell in found] == ["byol"] * 8 + ["dino"] * 8
    assert [(cell.seed, cell.defense) for cell in found[:8]] == [(cell.seed, cell.defense) for cell in found[8:]]
    assert found[-1].config(PLUGINS).ssl.name == "dino"
    assert found[-1].title == "dino, htba (target=2), poisoncam, seed 1"
    assert " --ssl dino " in found[-1].command
    assert {cell.ssl for cell in cells('ssl = "byol"\n' + GOOD)} == {"byol"}


def test_a_matrix_may_end_with_the_verdicts(cells):
    found = cells('until = "detection"\n' + GOOD)
    assert {cell.until for cell in found} == {"detection"}
    assert found[0].command.endswith("--seed 3 --until detection")


def test_a_setting_of_a_defense_reaches_those_that_have_it_rivals_included(cells):
    found = cells(
        'preset = "smoke"\ndefenses = ["none", "icutmix", "poisoncam", "random"]\nattacks = ["htba"]\n'
        'settings = ["defense.masks=4", "defense.poisoncam.members=1", "probe.epochs=2"]'
    )
    masks = ("probe.epochs=2", "defense.masks=4", "defense.poisoncam.members=1")
    expected = {**dict.fromkeys(("none", "icutmix"), masks[:1]), **dict.fromkeys(("poisoncam", "random"), masks)}
    assert {cell.defense: cell.settings for cell in found} == expected


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "seeds =",
            "seed =",
            r"m\.toml: bad options (.|\n)* option 'seed'\. Did you mean 'seeds'\?",
        ),
        ('name = "htba"\n[[', 'nam = "htba"\n[[', r"one of the attacks:\n- unknown option 'nam'\. Did you mean 'name'"),
        ('name = "htba"\n[[', "settings = []\n[[", r"one of the attacks:\n- option 'name' must be given"),
        ('["none", {', "[3, {", r"option 'defenses': expected list\[str \| dict.* got 3 at \(0"),
        ('["none", {', '["nonne", {', r"unknown defense 'nonne'\. Did you mean 'none'\?"),
        ('"htba"\n[[', '"htbaa"\n[[', r"unknown attack 'htbaa'\. Did you mean 'htba'\?"),
        ("defense.masks=4", "defense.maks=4", r"unknown option 'maks'\. Did you mean 'masks'\?"),
        ('["train.epochs=1"]', '["defense.rate=1"]', r"'defense\.rate=1': none of the defenses has that option"),
        (
            '["train.epochs=1"]',
            '"train.epochs=1"',
            r"'settings': expected tuple\[str, \.\.\.\], got 'train",
        ),
        *(("[3, 1]", x, rf"seeds is .{x[1:-1]}., expected a list of differ") for x in ("[]", "[1, 1]", "[-1]")),
        ("[3, 1]", "[true]", r"seeds is \[True\], expected a list of different whole numbers"),
        ('"smoke"', '"smok"', r"unknown preset 'smok'\. Did you mean 'smoke'\?"),
        ('"smoke"', "3", r"option 'preset': expected str, got 3"),
        ("attack.target=2", "attack.target=0", r"are the same run: 'htba, none, seed 3' and 'htba \(target=0"),
        ("seeds =", "seeds", r"is not valid TOML"),
        (GOOD, 'defenses = []\n[[attacks]]\nname = "htba"', r"defenses is \[\], expected one or more, like"),
        ("seeds =", "ssl = []\nseeds =", r"ssl is \[\], expected one or more SSL methods"),
        ("seeds =", 'ssl = ["byol", "byoll"]\nseeds =', r"unknown SSL method 'byoll'\. Did you mean 'byol'\?"),
        ("seeds =", 'ssl = ["byol", "byol"]\nseeds =', r"are the same run: 'byol, htba, none, seed 3' and 'byol, htba"),
        (GOOD, 'defenses = ["none"]', r"attacks is \[\], expected one or more, like"),
        ("seeds =", 'until = "verdict"\nseeds =', r"until is 'verdict'; expected one of detection, end"),
        (GOOD, None, r"cannot read the matrix file .*m\.toml: No such file"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(cells, old, new, said):
    assert old in GOOD
    with pytest.raises(BenchError, match=said):
        cells(new if old == GOOD else GOOD.replace(old, new, 1))
