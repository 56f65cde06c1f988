"""Tables: what meets in one, what is averaged, what is counted once, and that no name breaks the markdown."""

from __future__ import annotations

import hashlib
import json
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt
from scipy import stats

from bench.boards import Group, escape, rows, tables
from bench.boards.markdown import markdown
from bench.boards.rows import UNDEFINED
from bench.errors import BenchError
from bench.records.record import validate

FIXTURE = Path(__file__).parents[1] / "fixtures" / "records" / "v4-hit.json"
LAPTOP = Group("scenes", "a" * 64, "htba", '{"rate":"0.5"}', "laptop", 1)


def rates(acc, asr, acc_triggered, asr_triggered):
    return {"clean": {"acc": acc, "asr": asr}, "poisoned": {"acc": acc_triggered, "asr": asr_triggered}}


def key(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def make(
    defense="poisoncam",
    seed=0,
    *,
    attack="htba",
    preset="laptop",
    fingerprint="a" * 64,
    metric_version=1,
    none=(70.0, 2.0, 40.0, 90.0),
    defended=(69.0, 1.0, 66.0, 3.0),
    detection=(100, 90.0, 95.0, 92.4),
    localisation=None,
    options=None,
    attack_options=None,
    control=False,
    baseline=False,
    status="measured",
    until="end",
    **scores,
):
    """A record that the schema accepts. The threat model depends on the attack's options and the seed. scores: more of
    the detection, by their keys."""
    threat = key(attack, preset, fingerprint, seed, attack_options)
    names = ("removed", "precision", "recall", "f1")
    record = json.loads(FIXTURE.read_text()) | {"status": status, "metric_version": metric_version, "schema_version": 5}
    record["run"] |= {"attack": attack, "defense": defense, "preset": preset, "seed": seed}
    record["run"] |= {"control": control, "baseline": baseline, "until": until}
    record["config"] = {
        "seed": seed,
        "dataset": {"name": "scenes"},
        "attack": {"name": attack, "rate": 0.5, **(attack_options or {})},
        "defense": {"name": defense, **(options or {})},
        "train": {"epochs": 20, "loader_workers": 0},
    }
    record["dataset"]["fingerprint"] = fingerprint
    record["metrics"] = {
        "none": rates(*none),
        "defended": rates(*defended),
        "detection": {**dict(zip(names, detection, strict=True)), "auroc": 99.0, "average_precision": 98.0, **scores},
        "localisation": {"10": {"accuracy": 100.0, "iou": 60.0, "cr": 80.0}} if localisation is None else localisation,
    }
    stages = {
        "threat_model": (threat, 100.0),
        "threat_probe": (key("probe", threat), 10.0),
        "defense": (key(defense, options, threat), 30.0),
        "retraining": (key("again", defense, options, threat), 90.0),
    }
    if until == "detection":
        del record["metrics"]["defended"], stages["retraining"]
    record["stages"] = {n: {"key": k, "seconds": spent, "peak_memory_mb": None} for n, (k, spent) in stages.items()}
    record = json.loads(json.dumps(record))
    validate(record)
    return record


def only(records):
    (table,) = tables(records)
    return texts(table)


def texts(table):
    """{defense: {column: text}} of every cell of a table, in order."""
    columns = {**table.rates, **table.removed, **table.scored, **table.placed}
    return {
        line.label: {"seeds": str(line.seeds), **{title: line.cell(name) for title, name in columns.items()}}
        for line in table.lines
    }


def lost(records):
    return {(row.defense, row.seed): row.values.get("points lost") for row in rows(records)}


def half(*values):
    """Half the width of the 95 % interval of a mean, by scipy."""
    low, high = stats.t.interval(0.95, len(values) - 1, loc=0, scale=stats.sem(values))
    return f"{(high - low) / 2:.1f}"


def test_a_record_gives_a_row_for_its_defense_and_one_for_none():
    none, defended = rows([make()])
    assert (none.defense, defended.defense, none.seed, none.group) == ("none", "poisoncam", 0, LAPTOP)
    names = ("ACC", "ASR", "ACC triggered", "ASR triggered", "seconds")
    assert [none.values[name] for name in names] == [70, 2, 40, 90, 110]
    names = ("ACC", "ASR triggered", "removed", "F1", "AUROC", "AP", "10.accuracy", "10.iou", "10.cr", "seconds")
    assert [defended.values[name] for name in names] == [69, 3, 100, 92.4, 99, 98, 100, 60, 80, 230]
    assert "removed" not in none.values


def test_what_counts_once():
    """A stage that both lines share; a threat model however many defenses depend on it; the same outcome again."""
    record = make()
    record["stages"]["retraining"] = record["stages"]["threat_model"]
    assert [row.values["seconds"] for row in rows([record])] == [110, 140]
    several = rows([make("poisoncam"), make("patchsearch"), make("none"), make("poisoncam", seed=1)])
    assert [row.seed for row in several if row.defense == "none"] == [0, 1]
    assert len(several) == 5
    again = make()
    again["created"], again["hardware"] = "2026-01-01T00:00:00Z", {"cores": 64}
    again["stages"]["defense"]["seconds"] = 1.0
    assert len(rows([make(), again])) == 2


def test_no_records_no_tables():
    assert (tables([]), markdown([])) == ([], "No records.\n")


@pytest.mark.parametrize(
    "other",
    [
        {"attack": "ctrl"},
        {"preset": "smoke"},
        {"fingerprint": "b" * 64},
        {"metric_version": 2},
        {"attack_options": {"rate": 1.0}},
    ],
)
def test_what_cannot_be_compared_never_meets(other):
    found = tables([make(), make(**other)])
    assert len(found) == 2
    assert LAPTOP in [table.group for table in found]
    assert [[line.defense for line in table.lines] for table in found] == [["poisoncam", "none"]] * 2
    assert {line.seeds for table in found for line in table.lines} == {1}


def test_mean_and_its_interval_over_seeds():
    """By hand: t of two degrees of freedom is 4.303, the deviation of 2, 3, 7 is 2.646: 4.303 x 2.646 / sqrt 3."""
    table = only([make(seed=seed, defended=(60 + seed, 1, 50, asr)) for seed, asr in enumerate((2.0, 3.0, 7.0))])
    assert table["poisoncam"]["seeds"] == table["none"]["seeds"] == "3"
    assert table["poisoncam"]["ASR triggered"] == f"4.0 ± {half(2, 3, 7)}" == "4.0 ± 6.6"
    assert table["poisoncam"]["ACC"] == "61.0 ± 2.5"
    assert table["none"]["ASR triggered"] == "90.0 ± 0.0"


def test_points_lost_are_counted_against_the_oracle_on_the_same_threat_model():
    """Seed 0: ASR 30 - 10, ACC 71 - 69: 22. Seed 1: ASR is below the oracle's, ACC 70 - 50: 20, so that who deletes a
    class loses what the class is worth. Seed 2 has no oracle."""
    records = [
        make(defended=(69, 1, 66, 30)),
        make("oracle", defended=(71, 1, 66, 10), control=True),
        make(seed=1, none=(70, 2, 40, 50), defended=(50, 1, 66, 2)),
        make("oracle", seed=1, none=(70, 2, 40, 50), defended=(70, 1, 66, 30), control=True),
        make(seed=2),
    ]
    found = lost(records)
    assert [found["poisoncam", seed] for seed in range(3)] == [22, 20, None]
    assert [found["oracle", seed] for seed in range(2)] == [0, 0]
    assert [found["none", seed] for seed in range(3)] == [81, 20, None]
    assert only(records)["poisoncam"]["points lost"] == f"21.0 ± {half(22, 20)}"


def test_what_is_no_oracle_judges_nobody():
    """A defense of that name, one without a second training, and one that was sent in, for what was measured here."""
    assert set(lost([make(), make("oracle", defended=(69, 1, 66, 50))]).values()) == {None}
    assert set(lost([make(), make("oracle", control=True, until="detection")]).values()) == {None}
    oracle = make("oracle", defended=(69, 1, 66, 50), control=True, status="submitted")
    found = lost([make(), oracle, make("mine", defended=(69, 1, 66, 70), status="submitted")])
    assert (found["poisoncam", 0], found["mine", 0]) == (None, 20)


def test_one_seed_has_no_interval():
    table = only([make()])
    assert table["poisoncam"] == {
        **{"seeds": "1", "ACC": "69.0", "ASR": "1.0", "ACC triggered": "66.0", "ASR triggered": "3.0"},
        "points lost": UNDEFINED,  # no oracle to compare with
        **{"seconds": "230", "removed": "100", "precision": "90.0", "recall": "95.0", "F1": "92.4"},
        **{"AUROC": "99.0", "AP": "98.0", "top-10": "100.0", "IoU@10": "60.0", "CR@10": "80.0"},
        **dict.fromkeys(("hit@10", "clean removed", "P@P", "R@1%"), UNDEFINED),  # an older record does not say
    }
    assert {table["none"][name] for name in ("removed", "AP", "top-10", "CR@10")} == {UNDEFINED}


def test_undefined_values_are_passed_over():
    table = only([make(detection=(0, None, 0, 0)), make(seed=1, detection=(10, 50, 5, 9))])
    found = [table["poisoncam"][name] for name in ("precision", "recall", "removed")]
    assert found == ["50.0", f"2.5 ± {half(0, 5)}", f"5.0 ± {half(0, 10)}"]


def other_threat(record):
    record["stages"]["threat_model"]["key"] = "9" * 64


def other_rates(record):
    record["metrics"]["none"]["clean"]["acc"] = 55.0


def other_verdict(record):
    record["stages"]["defense"]["key"] = "9" * 64


def other_removal(record):
    record["metrics"]["detection"]["recall"] = 12.0


def other_result(record):
    record["metrics"]["defended"]["clean"]["acc"] = 12.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_threat, r"of none, seed 3, .*their threat models are others \(stages [0-9a-f]{12} and 9{12}\)"),
        (other_rates, r"of none, seed 3, .*what was measured of their one threat model"),
        (other_verdict, r"of poisoncam, seed 3, .*their verdicts are others \(stages"),
        (other_removal, r"of poisoncam, seed 3, .*their verdicts are others \(recall 95 and 12\)"),
        (other_result, r"of poisoncam, seed 3, .*their results are others \(ACC 69 and 12\)"),
    ],
)
def test_two_results_of_one_line_and_seed_never_meet_in_a_mean(change, said):
    first, second = make(seed=3), make(seed=3)
    change(second)
    with pytest.raises(BenchError, match=f"two results {said}") as refusal:
        tables([first, second, make(seed=1)], files=["a.json", "b.json", "c.json"])
    assert "a.json and b.json" in str(refusal.value)
    assert "Leave one of the files out" in str(refusal.value)


def test_a_run_until_detection_and_the_same_run_to_the_end_are_one_result():
    """The verdict of either counts; the rates come from the one to the end. So with an older record of the same run."""
    short, again = make(until="detection", false_removal=1.5), make()
    for records in ([short, again], [again, short]):
        cells = only(records)["poisoncam"]
        names = ("seeds", "recall", "clean removed", "ACC", "seconds")
        assert [cells[name] for name in names] == ["1", "95.0", "1.5", "69.0", "230"]
    (table,) = tables([short, make(seed=1), make(seed=1, until="detection")], ["s", "f", "t"])
    line = table.lines[0]
    assert [line.cell(name) for name in ("recall", "ACC")] == ["95.0 ± 0.0", "69.0"]
    detection, _, _, full = table.parts()
    assert [[each.source for each in part.results(line)] for part in (detection, full)] == [["s", "f"], ["f"]]
    (alone,) = tables([short])
    assert [line.label for line in alone.parts()[-1].lines] == ["none"]
    assert [line.label for line in alone.parts()[0].lines] == ["poisoncam"]


def test_defenses_then_baselines_then_controls_each_by_what_ranks_it():
    records = [make(name, average_precision=ap) for name, ap in {"a": 30.0, "b": 90.0, "c": None}.items()]
    records += [make("colour", baseline=True, average_precision=100.0)]
    records += [make("oracle", control=True, auroc=None, average_precision=None), make("none")]
    (table,) = tables(records)
    found = {part.title.partition(":")[2].split()[-1]: [line.label for line in part.lines] for part in table.parts()}
    assert found["images"] == ["b", "a", "c", "colour"]
    assert found["removed"] == ["b", "a", "c", "colour", "oracle (control)"]
    assert found["do"] == ["a", "b", "c", "colour", "none", "oracle (control)"]
    kinds = [[line.kind for line in same] for same in table.parts()[1].kinds()]
    assert kinds == [["defense"] * 3, ["baseline"], ["control"]]
    assert table.parts()[0].note == "A colour statistic alone (colour) reaches AP 100.0."


def test_who_neither_scores_nor_removes_has_no_place_in_the_detection():
    unscored = {"detection": (0, None, 0.0, 0.0), "auroc": None, "average_precision": None, "localisation": {}}
    (table,) = tables([make(), make("icutmix", **unscored)])
    assert [[line.label for line in part.lines] for part in table.parts()[1::2]] == [
        ["poisoncam"],
        ["icutmix", "poisoncam", "none"],
    ]


def test_a_table_without_poison_shows_what_was_removed_and_how_many_clean_ones():
    records = [
        make(
            name,
            detection=(count, 0.0, None, 0.0),
            false_removal=share,
            **dict.fromkeys(("auroc", "average_precision")),
        )
        for name, count, share in (("a", 20, 2.0), ("b", 5, 0.5))
    ]
    for record in records:
        record["poison"] |= {"count": 0}
    (table,) = tables(records)
    first, full = table.parts()
    assert (first.title, list(first.columns)) == ("Detection: what was removed", ["removed", "clean removed"])
    assert [(line.label, line.cell("clean removed")) for line in first.lines] == [("b", "0.5"), ("a", "2.0")]
    assert not first.ranks
    assert not full.ranks


def seeds(table):
    return {label: cells["seeds"] for label, cells in table.items()}


def test_other_settings_make_another_row_named_after_them():
    table = only([make(), make(options={"masks": 64}), make(seed=1, options={"masks": 64})])
    assert seeds(table) == {
        "none": "2",
        f"poisoncam (defense.masks={UNDEFINED})": "1",
        "poisoncam (defense.masks=64)": "2",
    }
    cut = [make(options=dict.fromkeys("abcde", value)) for value in (1, 2)]
    names = [name for name in only(cut) if name != "none"]
    assert len(set(names)) == 2
    assert all(name.startswith("poisoncam (defense.a=") and len(name) < 60 for name in names)


def test_an_attack_with_other_options_has_a_table_of_its_own_whose_title_says_which():
    """The hash of a trigger is said only where nothing else differs."""
    records = [
        make(none=(70, 2, 40, 60), attack_options={"trigger_sha256": "a" * 8}),
        make(none=(70, 2, 40, 90), attack_options={"rate": 1.0, "trigger_sha256": "b" * 8}),
        make(attack="ctrl"),
    ]
    found = {table.title: table.lines[-1].cell("ASR triggered") for table in tables(records)}
    assert found == {
        "ctrl on scenes, preset laptop": "90.0",
        "htba (rate 0.5) on scenes, preset laptop": "60.0",
        "htba (rate 1.0) on scenes, preset laptop": "90.0",
    }
    found = tables([make(attack_options={"trigger_sha256": letter * 8}) for letter in "ab"])
    assert [table.title.partition(" on ")[0] for table in found] == [
        f"htba (trigger_sha256 {letter * 8})" for letter in "ab"
    ]


def test_an_imported_threat_model_is_never_averaged_with_a_trained_one():
    imported = make(none=(70, 2, 40, 80), defended=(69, 1, 66, 5))
    imported["config"]["threat"] = {"checkpoint": "a.pth", "sha256": "d" * 64}
    imported["stages"]["threat_model"]["key"] = key("imported")
    validate(imported)
    table = only([make(), imported])
    assert seeds(table) == {
        f"{defense} (threat.checkpoint={name}, threat.sha256={sha})": "1"
        for defense in ("none", "poisoncam")
        for name, sha in ((UNDEFINED, UNDEFINED), ("a.pth", "d" * 64))
    }
    assert sorted(cells["ASR triggered"] for cells in table.values()) == ["3.0", "5.0", "80.0", "90.0"]


def test_workers_and_where_the_data_lay_make_no_difference():
    other = make(seed=1)
    other["config"]["train"]["loader_workers"] = 8
    other["config"]["dataset"]["root"] = "/elsewhere"
    assert list(only([make(), other])) == ["poisoncam", "none"]


def placed(*ks):
    return {str(k): {"accuracy": float(k), "iou": 1.0, "cr": 2.0} for k in ks}


@pytest.mark.parametrize(
    ("localisations", "expected"),
    [
        ([placed(5, 10, 20)], {"top-10": "10.0"}),
        ([placed(5)], {"top-5": "5.0"}),
        ([placed(5, 10), placed(5)], {"top-5": "5.0 ± 0.0"}),
        ([placed(5, 10), {}], {"top-10": "10.0"}),
        ([{}], {"top-10": UNDEFINED}),
        ([placed(20)], {"top-10": UNDEFINED}),
        ([{"10": {"accuracy": 80.0, "iou": None, "cr": None}}], {"top-10": "80.0", "IoU@10": UNDEFINED}),
    ],
)
def test_one_k_for_the_whole_table(localisations, expected):
    table = only([make(seed=seed, localisation=found) for seed, found in enumerate(localisations)])["poisoncam"]
    assert [name for name in table if name.startswith("top-")] == [next(iter(expected))]
    assert {name: table[name] for name in expected} == expected


def test_what_was_sent_in_never_mixes_with_what_was_measured_and_of_one_result_the_measured_counts():
    sent = make(seed=1, none=(70, 2, 40, 80), defended=(69, 1, 66, 1), status="submitted", localisation=placed(5))
    (table,) = tables([sent, make(status="submitted"), make()], ["sent.json", "again.json", "ours.json"])
    lines = [(line.defense, line.status, line.cell("ASR triggered"), line.results[0].source) for line in table.lines]
    assert lines == [
        ("poisoncam", "submitted", "1.0", "sent.json"),
        ("poisoncam", "measured", "3.0", "ours.json"),
        ("none", "submitted", "80.0", "sent.json"),
        ("none", "measured", "90.0", "ours.json"),
    ]
    assert table.k == 10, "that of what was measured"


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_markdown_of_one_table():
    records = [make(), make(seed=1, defended=(71.0, 1, 66, 5)), make("colour", baseline=True)]
    lines = markdown(tables(records, ["records/a b.json", "records/c.json", "d.json"])).splitlines()
    assert lines[0] == "## htba on scenes, preset laptop"
    took = "0.2 hours of computing in all, a stage that rows share counted once."  # 2 x 230 s + 120 s
    assert lines[2] == f"Dataset fingerprint aaaaaaaaaaaa, metric version 1. {took} Every line is measured."
    assert lines[4].startswith(
        "**Detection: how the scores order the images.** A colour statistic alone (colour) reaches"
    )
    assert cells(lines[6]) == ["rank", "defense", "seeds", "AUROC", "AP"]
    assert len({len(line) for line in lines[6:11]}) == 1, "columns are aligned"
    assert lines[7].startswith("|--")
    assert cells(lines[8]) == ["1", "poisoncam", "2 ([0][r2], [1][r3])", "99.0 ± 0.0", "98.0 ± 0.0"]
    assert cells(lines[9]) == ["", "*baselines*", "", "", ""]
    assert cells(lines[10])[:3] == ["1", "colour", "1 ([0][r1])"]
    titles = [line for line in lines if line.startswith("**")]
    assert [title.partition(":")[0] for title in titles] == ["**Detection"] * 3 + ["**Full runs"]
    full = lines.index(titles[-1])
    rates = ["ACC", "ASR", "ACC triggered", "ASR triggered", "seconds"]
    assert cells(lines[full + 2]) == ["defense", "seeds", *rates]
    assert cells(lines[full + 4])[:3] == ["poisoncam", "2 ([0][r2], [1][r3])", f"70.0 ± {half(69, 71)}"]
    assert lines[full + 10] == "## How to read it"
    assert lines[-3:] == ["[r1]: d.json", "[r2]: records/a%20b.json", "[r3]: records/c.json"]


def test_columns_without_a_number_are_left_out_and_so_is_a_table_of_nothing():
    text = markdown(tables([make("none")])).split("## How")[0]
    assert "points lost" not in text
    assert text.count("| defense") == 1
    assert "| removed" not in text
    both = markdown(tables([make(), make("mine", status="submitted")])).split("## How")[0]
    assert both.count("| status") == 4, "where lines differ in it"


def render(text):
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


EVIL = [
    "a|b",
    "a\\|b",
    "a\\",
    "x\n| y | z |",
    "x\r\ny",
    "<script>alert(1)</script>",
    "&lt;b&gt;",
    "[l](javascript:alert(1))",
    "![i](http://x)",
    "`code`",
    "**bold** _em_ ~~gone~~",
    "https://x.org www.x.org a@b.c",
    "\u202eevil\u2028line",
    "| --- |",
    "# heading",
    "$x$",
]


@pytest.mark.parametrize("evil", EVIL)
def test_no_name_breaks_the_table_or_becomes_markup(evil):
    text, legend, _ = markdown(tables([make(evil, attack=evil, preset=evil)])).partition("## How to read it")
    html = render(text)
    tags = {part.split(">")[0].split()[0].strip("/") for part in html.split("<")[1:]}
    assert tags <= {"h2", "p", "table", "thead", "tbody", "tr", "th", "td", "strong", "em"}
    parts = html.split("</table>")[:4]
    assert [part.count("<tr>") for part in parts] == [2, 2, 2, 4]  # of full runs: the defense, "controls", and none
    assert [part.count("<td") // part.count("<th ") for part in parts] == [1, 1, 1, 3]
    assert (html.count("<h2>"), html.count("<em>"), bool(legend)) == (1, 1, True)


@pytest.mark.parametrize("name", ["multi_target", "poisoncam+icutmix", "a b (c=0.5, d=1)", "x-1.2", "größe"])
def test_plain_names_stay_readable(name):
    assert escape(name) == name
    assert escape(" \n\t") == "(no name)"


@settings(deadline=None, max_examples=80)
@given(st.text(max_size=30))
def test_any_name_is_one_cell_that_reads_as_that_name(name):
    html = render(f"| h |\n|---|\n| {escape(name)} |\n")
    assert html.count("<td>") == 1
    assert html.count("<tr>") == 2
    inner = html.split("<td>")[1].split("</td>")[0]
    assert "<" not in inner
    assert unescape(inner) == unescape(escape(name))
