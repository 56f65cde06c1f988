"""What the attacks do without a defense, and what each detector does over all attacks: numbers by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.boards.attacks import ACC, AFTER, ASR, NATURAL, SHARE, attack_boards
from bench.boards.lines import BoardLine, SeedResult
from bench.boards.markdown import markdown
from bench.boards.part import BoardPart
from bench.boards.row import Group
from bench.boards.rows import UNDEFINED
from bench.boards.statistics import mean_interval
from bench.boards.tables import Leaderboard
from bench.boards.words import words_of


def line(defense, settings="", status="measured", **numbers):
    """A line of a table of one attack. numbers: a value for each seed, by name ("_" for a space)."""
    columns = {name.replace("_", " "): values for name, values in numbers.items()}
    seeds = range(len(next(iter(columns.values()))))
    return BoardLine(
        defense=defense,
        settings=settings,
        status=status,
        kind="control",
        results=tuple(SeedResult(seed, f"{defense}-{seed}.json") for seed in seeds),
        mean={name: mean_interval(values)[0] for name, values in columns.items()},
        half={name: mean_interval(values)[1] for name, values in columns.items()},
        by_seed={seed: {name: float(values[seed]) for name, values in columns.items()} for seed in seeds},
    )


def board(attack, *lines, ssl="moco_v3", poisoned=True, preset="laptop"):
    return Leaderboard(
        title=f"Scenes, {preset}; {attack}: one trigger",
        about=f"preset {preset}; SSL method {ssl}; 20 epochs",
        note="",
        group=Group("scenes", "a" * 64, attack, "{}", preset, 1, ssl),
        k=10,
        lines=lines,
        poisoned=poisoned,
        short=attack,
        share=5.0,
    )


NONE = line("none", ASR_triggered=[80, 90], ACC=[70, 72])
PATCH = board(
    "patch",
    NONE,
    line("clean-set", ASR_triggered=[1, 3], ACC=[71, 71]),
    line("oracle", ASR_triggered=[4, 4], ACC=[60, 61]),
    line("oracle", settings="train.epochs=3", ASR_triggered=[9, 9], ACC=[10, 10]),
    line("good", ASR_triggered=[0, 0], ACC=[70, 70]),
)
STRIPES = board("stripes", line("none", ASR_triggered=[50, 60], ACC=[80, 80]), line("clean-set", ASR_triggered=[7, 8]))
NOTHING = board("nothing", line("none", ASR_triggered=[5, 5], ACC=[80, 80]), poisoned=False)


def only(tables) -> BoardPart:
    (found,) = attack_boards(tables)
    (part,) = found.parts()
    return part


def test_each_attack_has_its_strength_and_what_the_controls_say_of_it():
    part = only([PATCH, STRIPES, NOTHING])
    assert list(part.columns) == [SHARE, ACC, ASR, NATURAL, AFTER]
    patch, stripes = part.lines
    assert [patch.label, stripes.label] == ["patch", "stripes"], "nothing is attacked where nothing is poisoned"
    assert patch.number(ASR) == mean_interval([80, 90])
    assert [patch.number(name)[0] for name in (SHARE, ACC, ASR, NATURAL, AFTER)] == [5, 71, 85, 2, 4]
    assert [stripes.cell(name) for name in (SHARE, AFTER)] == ["5.0", UNDEFINED]
    assert not any(heading.endswith(("\u2191", "\u2193")) for heading in part.headings), "no attack is better"


def test_several_ssl_methods_stand_in_one_table_each_under_its_name():
    (found,) = attack_boards([PATCH, board("patch", NONE, ssl="simclr")])
    assert [each.label for each in found.lines] == ["patch (moco_v3)", "patch (simclr)"]
    assert "SSL method" not in found.about
    (alone,) = attack_boards([PATCH, STRIPES])
    assert "SSL method moco_v3" in alone.about


def test_a_changed_run_is_a_line_of_its_own_with_controls_of_its_own():
    changed = line("none", settings="train.epochs=3", ASR_triggered=[20, 20], ACC=[10, 10])
    part = only([replace(PATCH, lines=(*PATCH.lines, changed)), STRIPES])
    assert [each.label for each in part.lines] == ["patch", "patch (train.epochs=3)", "stripes"]
    assert [each.number(AFTER)[0] for each in part.lines[:2]] == [4, 9]
    assert part.lines[1].cell(NATURAL) == UNDEFINED


@pytest.mark.parametrize("tables", [[], [PATCH], [PATCH, NOTHING], [PATCH, board("stripes", NONE, preset="desk")]])
def test_one_attack_or_other_presets_make_no_table(tables):
    assert attack_boards(tables) == []


def test_in_markdown_attacks_head_the_lines_and_the_words_are_explained():
    text = markdown([PATCH, STRIPES])
    assert "## Scenes, laptop; the attacks, without a defense" in text
    (head,) = [row for row in text.splitlines() if "natural ASR |" in row]
    assert head.split("|")[1].strip() == "attack"
    assert "- **natural ASR**: " in text
    assert NATURAL not in words_of([PATCH])
    (attacks,) = attack_boards([PATCH, STRIPES])
    assert words_of([PATCH, attacks])[ASR].startswith(words_of([PATCH])[ASR]), "what it is, and then what it is there"
