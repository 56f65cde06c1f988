"""All attacks of a setting in one table: means and worst cases by hand, who is ranked, what is never mixed."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from bench.boards import details, short
from bench.boards.best import BEST
from bench.boards.compare import chosen, comparisons
from bench.boards.lines import BoardLine, SeedResult
from bench.boards.markdown import markdown
from bench.boards.overview import overviews
from bench.boards.ranks import Comparisons
from bench.boards.row import Group
from bench.boards.rows import UNDEFINED
from bench.boards.statistics import mean_interval
from bench.boards.tables import Leaderboard
from bench.errors import BenchError


def line(defense, kind="defense", threat="t", **numbers):
    """A line of a table of one attack. numbers: a value for each seed, by name ("_" for a space)."""
    columns = {name.replace("_", " "): values for name, values in numbers.items()}
    by_seed = {
        seed: {name: float(values[seed]) for name, values in columns.items()}
        for seed in range(len(next(iter(columns.values()))))
    }
    intervals = {name: mean_interval([v for v in values if v == v]) for name, values in columns.items()}
    return BoardLine(
        defense=defense,
        status="measured",
        kind=kind,
        results=tuple(SeedResult(seed, f"{defense}-{seed}.json") for seed in by_seed),
        mean={name: mean for name, (mean, _) in intervals.items()},
        half={name: half for name, (_, half) in intervals.items()},
        by_seed=by_seed,
        threats={seed: f"{threat}{seed}" for seed in by_seed},
        stages={f"{threat}{defense}": 60.0},
    )


def board(attack, *lines, poisoned=True, preset="laptop"):
    group = Group("scenes", "a" * 64, attack, "{}", preset, 1, "moco_v3")
    return Leaderboard(
        title=f"Scenes, {preset}; {attack}: one trigger",
        note="",
        group=group,
        k=10,
        lines=lines,
        poisoned=poisoned,
        short=attack,
    )


PLAIN = board(
    "plain",
    line("none", "control", ASR_triggered=[80, 90], ACC=[70, 70]),
    line("a", AP=[100, 90], points_lost=[10, 20]),
    line("b", AP=[60, 70]),
    line("only", AP=[100, 100]),
    line("colour", "baseline", AP=[96, 95]),
)
FAIR = replace(PLAIN, lines=(*PLAIN.lines[:-1], line("colour", "baseline", AP=[50, 60])))
HARD = board(
    "hard",
    line("none", "control", threat="h", ASR_triggered=[50, 60], ACC=[70, 70]),
    line("a", threat="h", AP=[80, 100], points_lost=[30, 0]),
    line("b", threat="h", AP=[20, math.nan]),
    line("colour", "baseline", threat="h", AP=[10, 20]),
)
CLEAN = board(
    "nothing", line("a", threat="n", clean_removed=[1, 2]), line("b", threat="n", clean_removed=[0, 0]), poisoned=False
)


def test_means_and_worst_of_each_seed_by_hand():
    (found,) = overviews([PLAIN, HARD, CLEAN])
    detection, full = found.parts()
    assert (found.title, full.title) == (
        "Scenes, laptop; defenses against all attacks",
        "Full runs: points lost by attack",
    )
    assert list(detection.columns) == ["mean", "worst", "plain", "hard", "nothing: clean removed, %"]
    assert list(full.columns) == ["mean", "worst", "plain", "hard"], "what nobody poisoned has no points to lose"
    lines = {each.defense: each for each in detection.lines}
    a = lines["a"].by_seed
    assert [a[seed]["AP | mean"] for seed in (0, 1)] == [90, 95]
    assert [a[seed]["AP | worst"] for seed in (0, 1)] == [80, 90]
    assert lines["a"].number("AP | mean") == mean_interval([90, 95])
    assert lines["a"].cell("clean removed | nothing").startswith("1.5 ± ")
    (lost,) = full.lines
    assert [lost.by_seed[seed]["points lost | worst"] for seed in (0, 1)] == [30, 20], "the most"
    assert [lost.by_seed[seed]["points lost | mean"] for seed in (0, 1)] == [20, 10]


def test_a_seed_without_a_number_for_each_attack_is_in_no_mean_and_a_line_without_any_has_no_rank():
    (found,) = overviews([FAIR, HARD])
    (detection, _) = found.parts()
    lines = {each.defense: each for each in detection.lines}
    assert lines["b"].number("AP | mean")[0] == 40, "of seed 0 alone"
    assert lines["only"].cell("AP | mean") == UNDEFINED
    assert lines["only"].cell("AP | plain") == "100.0 ± 0.0"
    assert lines["only"] not in detection.ranks
    assert detection.ranks == {}, "b has one seed, and colour is alone"
    other = line("b", threat="h", AP=[20, 30])
    (detection, _) = overviews([FAIR, replace(HARD, lines=(*HARD.lines[:2], other, *HARD.lines[3:]))])[0].parts()
    assert {each.defense for each in detection.ranks} == {"a", "b"}
    (detection, _) = found.parts()
    assert "none" not in lines, "it scores nothing"
    assert detection.marks[lines["a"], "AP | mean"] == BEST
    assert not any(name.startswith("clean removed") for _, name in detection.marks), "to remove nothing is easy"
    assert "hard ↑" in detection.headings
    assert [each.defense for each in detection.lines] == ["a", "b", "only", "colour"], "baselines below"


def test_a_line_of_one_attack_is_compared_in_its_column_by_that_attack_s_threat_models():
    few = replace(PLAIN, lines=(*PLAIN.lines, line("few", AP=[30, 40], points_lost=[60, 70])))
    (detection, _) = overviews([few, HARD])[0].parts()
    lines = {each.defense: each for each in detection.lines}
    compared = Comparisons(detection.lines, "AP | plain")
    assert compared.difference(lines["a"], lines["few"]).mean == pytest.approx((70 + 50) / 2)
    assert compared.difference(lines["a"], lines["b"]).mean == (40 + 20) / 2, "as before, with lines of all attacks"
    (detection, _) = overviews([FAIR, HARD, replace(CLEAN, lines=CLEAN.lines[:1])])[0].parts()
    lines = {each.defense: each for each in detection.lines}
    means = Comparisons(detection.lines, "AP | mean")
    assert means.difference(lines["a"], lines["colour"]).mean == pytest.approx((60 + 55) / 2), (
        "one was also run without poison"
    )
    other = line("few", threat="another", AP=[30, 40])
    (detection, _) = overviews([replace(few, lines=(*few.lines[:-1], other)), HARD])[0].parts()
    lines = {each.defense: each for each in detection.lines}
    assert Comparisons(detection.lines, "AP | plain").difference(lines["a"], lines["few"]) is None


def test_a_seed_of_which_only_clean_images_were_judged_does_not_count():
    more = board("nothing", line("a", threat="n", clean_removed=[1, 2, 9]), poisoned=False)
    (detection, _) = overviews([PLAIN, HARD, more])[0].parts()
    (a,) = [each for each in detection.lines if each.defense == "a"]
    assert a.seeds == 2
    assert a.number("clean removed | nothing") == mean_interval([1, 2])


def test_two_lines_can_be_compared_over_all_attacks():
    tables = [PLAIN, HARD, CLEAN]
    table, (a, b) = chosen(tables, ["a", "b"], attack="all")
    found = {each.metric: each for each in comparisons(table, a, b)}
    assert list(found) == ["mean", "worst", "plain", "hard", "nothing: clean removed, %"]
    assert found["plain"].difference.mean == (40 + 20) / 2
    assert found["mean"].verdict == "not compared: fewer than two common seeds"
    with pytest.raises(BenchError, match="several tables"):
        chosen(tables, ["a", "b"])


def test_the_note_says_what_colours_solve_and_over_a_third_nothing_is_ranked():
    (detection, full) = overviews([PLAIN, HARD])[0].parts()
    assert detection.note == "The colours alone (colour) reach AP 95 on 1 of 2 attacks, over a third: no ranks here."
    assert detection.ranks == {}
    assert [each.defense for each in detection.lines] == ["a", "b", "only", "colour"], "by their means all the same"
    assert full.note == ""
    other = [replace(each, lines=(*each.lines, replace(each.lines[1], defense="c"))) for each in (PLAIN, HARD)]
    assert overviews(other)[0].parts()[1].ranks, "of what the new encoders do colours say nothing"
    more = board("more", line("a", AP=[1, 2]), line("c", AP=[1, 2]), line("colour", "baseline", AP=[9, 9]))
    tables = [replace(each, lines=(*each.lines, replace(each.lines[1], defense="c"))) for each in (PLAIN, HARD)]
    (detection, _) = overviews([*tables, more])[0].parts()
    assert detection.note == "The colours alone (colour) reach AP 95 on 1 of 3 attacks."
    assert detection.ranks, "a third is not over it"
    more = replace(more, lines=(*more.lines, line("palette", "baseline", AP=[99, 97])))
    (detection, _) = overviews([PLAIN, HARD, more])[0].parts()
    assert detection.note.startswith("The colours alone (colour or palette) reach AP 95 on 2 of 3"), "either counts"
    assert detection.ranks == {}


def test_where_few_attacks_have_a_line_of_colours_they_do_not_take_the_ranks():
    more = [
        replace(HARD, group=HARD.group._replace(attack=f"x{n}"), short=f"x{n}", lines=HARD.lines[1:2]) for n in range(2)
    ]
    more = [replace(each, lines=(*each.lines, replace(each.lines[0], defense="only"))) for each in more]
    (found,) = overviews([PLAIN, *more])
    assert found.parts()[0].note == "The colours alone (colour) reach AP 95 on 1 of 1 attacks."
    assert found.parts()[0].ranks
    assert not found.easy


def test_without_a_line_of_every_attack_nobody_is_ranked_and_colours_are_not_blamed():
    one, other = board("one", line("a", AP=[1, 2])), board("other", line("b", AP=[1, 2]))
    (found,) = overviews([one, other])
    assert (found.parts()[0].ranks, found.easy) == ({}, False)
    assert "not ranked" not in markdown([one, other])


def test_tables_without_ranks_come_last_and_the_list_says_why():
    whole = replace(HARD, lines=(*HARD.lines[:2], line("b", threat="h", AP=[20, 30]), HARD.lines[3]))
    other = [replace(table, group=table.group._replace(preset="desk")) for table in (FAIR, whole)]
    text = markdown([PLAIN, HARD, *other])
    first, second = [row for row in text.splitlines() if row.startswith("- [") and "all attacks]" in row]
    assert first.endswith(": rank 1 of the defenses: a")
    assert second.endswith(": detection not ranked, for colours alone solve over a third of its attacks")


@pytest.mark.parametrize(
    "tables", [[PLAIN], [PLAIN, CLEAN], [PLAIN, board("hard", line("a", AP=[1, 2]), preset="desk")], []]
)
def test_one_attack_or_other_settings_have_no_overview(tables):
    assert overviews(tables) == []


def test_in_markdown_it_stands_first_and_the_short_page_leaves_the_single_attacks_to_the_other():
    alone = board("plain", line("a", AP=[100, 90]), preset="desk")
    whole, brief = markdown([PLAIN, HARD, alone]), short([PLAIN, HARD, alone], "tables")
    pages = details([PLAIN, HARD, alone], "README.md")
    assert list(pages) == ["scenes-laptop.md", "scenes-desk.md"]
    headings = [text for text in whole.splitlines() if text.startswith("## ")][:5]
    assert headings == [
        "## Scenes, laptop; defenses against all attacks",
        "## Scenes, laptop; the attacks, without a defense",
        "## Scenes, laptop; plain: one trigger",
        "## Scenes, laptop; hard: one trigger",
        "## Scenes, desk; plain: one trigger",
    ]
    assert re.search(r"\|\s+mean ↑ \|", whole)
    assert "**Full runs: points lost by attack.**" in whole
    headings = [text for text in brief.splitlines() if text.startswith("## ")][:-1]
    assert headings == [
        "## Scenes, laptop; defenses against all attacks",
        "## Scenes, laptop; the attacks, without a defense",
        "## Scenes, desk; plain: one trigger",
    ]
    for address in ("plain-scenes-laptop", "hard-scenes-laptop", "plain-scenes-desk"):
        page = f"{address.partition('-')[2]}.md"
        assert f"(tables/{page}#{address})" in brief
        assert f'<a id="{address}"></a>' in whole
        assert f'<a id="{address}"></a>' in pages[page]
        assert "](../README.md)" in pages[page]
    for text, page in ((whole, ""), (brief, "tables/scenes-laptop.md")):
        assert f"attack by attack:\n[plain]({page}#plain-scenes-laptop),\n[hard]({page}#hard-scenes-laptop)" in text
    assert "[r1]" not in brief
    assert "<details>" not in brief
    assert short([], "tables") == "No records.\n"


def test_the_means_of_all_settings_stand_in_one_table_with_the_best_baseline():
    other = [replace(table, group=table.group._replace(preset="desk"), title="Desk; x") for table in (FAIR, HARD)]
    text = short([PLAIN, HARD, *other], "tables")
    head, _, *rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()[:4]]
    assert head == ["average precision, mean over the attacks", "attacks", "a", "b", "best baseline"]
    assert rows[0] == ["[Desk](#scenes-desk)", "2", "92.5 ± 31.8", "40.0", "35.0 ± 63.5 (colour)"]
    assert rows[1][0] == "[Scenes, laptop](#scenes-laptop)", "those that colours solve come last"
    text = short([PLAIN, HARD, *(replace(table, title=PLAIN.title) for table in other)], "tables")
    names = [row.split("](")[0] for row in text.splitlines()[2:4]]
    assert names == ["| [Scenes, laptop (desk, moco_v3)", "| [Scenes, laptop (laptop, moco_v3)"], "told apart"
    assert not short([PLAIN, HARD], "tables").startswith("|"), "one setting needs no summary"


def test_the_short_page_leaves_out_what_its_table_of_attacks_says():
    one, other = (
        replace(
            board("plain", line("none", "control", ASR_triggered=[80, 90], ACC=[70, 70]), *more),
            group=Group("scenes", "a" * 64, "plain", "{}", "laptop", 1, method),
        )
        for method, more in (("byol", []), ("simclr", [line("a", AP=[1, 2])]))
    )
    headings = [text for text in short([one, other], "t").splitlines() if text.startswith("## ")][:-1]
    assert headings == ["## Scenes, laptop; the attacks, without a defense", "## Scenes, laptop; plain: one trigger"], (
        "that of SimCLR"
    )
    assert short([one], "t").count("## Scenes, laptop; plain") == 1, "nothing else tells of it"


def test_the_name_of_an_attack_cannot_break_the_table():
    evil = board("a|b`*", line("a", AP=[1, 2]))
    text = markdown([evil, HARD])
    (head,) = [row for row in text.splitlines() if "| mean ↑" in row or "mean ↑ |" in row]
    assert "a\\|b" in head or "a&#124;b" in head
