"""Tables: what meets in one, what is averaged, what is counted once, and that no name breaks the markdown."""

from __future__ import annotations

import hashlib
import json
import re
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt
from scipy import stats

from bench.boards import Group, escape, rows, tables
from bench.boards.markdown import markdown
from bench.boards.rows import UNDEFINED
from bench.boards.tables import anchors
from bench.boards.titles import FIRST
from bench.config.config import DEFAULT_PRESET, load_config
from bench.errors import BenchError
from bench.plugins.manager import Plugins
from bench.records.record import validate

FIXTURE = Path(__file__).parents[1] / "fixtures" / "records" / "v4-hit.json"
LAPTOP = Group("scenes", "a" * 64, "htba", '{"rate":"0.5"}', "laptop", 1, "moco_v3")


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
    asked=None,
    poison=None,
    train=None,
    data="scenes",
    root="",
    ssl="moco_v3",
    **scores,
):
    """A record that the schema accepts. The threat model depends on the attack's options and the seed. asked: the
    settings of its command. scores: more of the detection, by their keys."""
    threat = key(attack, preset, fingerprint, seed, attack_options, ssl)
    names = ("removed", "precision", "recall", "f1")
    record = json.loads(FIXTURE.read_text()) | {"status": status, "metric_version": metric_version, "schema_version": 5}
    record["run"] |= {"attack": attack, "defense": defense, "preset": preset, "seed": seed}
    record["run"] |= {"control": control, "baseline": baseline, "until": until}
    record["config"] = {
        "seed": seed,
        "dataset": {"name": data, "root": root},
        "attack": {"name": attack, "rate": 0.5, **(attack_options or {})},
        "defense": {"name": defense, **(options or {})},
        "ssl": {"name": ssl},
        "train": {"epochs": 20, "loader_workers": 0, **(train or {})},
    }
    record["run"].pop("asked", None)
    if asked is not None:
        record["run"]["asked"] = {"preset": preset, "settings": asked}
    record["poison"] |= poison or {}
    record["dataset"] |= {"fingerprint": fingerprint, "name": data}
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
        {"ssl": "byol"},
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


def test_the_cost_of_a_repair_stands_in_its_own_line_and_its_word_where_there_is_one():
    """90 seconds after a first training of 100."""
    repaired = make("recur+distill")
    repaired["run"]["repair"] = True
    table = only([make(), repaired])
    assert {name: line["repair cost"] for name, line in table.items()} == {
        "none": UNDEFINED,
        "poisoncam": UNDEFINED,
        "recur+distill": "90.0",
    }
    word = "- **repair cost**: seconds"
    assert word in markdown(tables([make(), repaired]))
    assert word not in markdown(tables([make()]))


def test_one_seed_has_no_interval():
    table = only([make()])
    assert table["poisoncam"] == {
        **{"seeds": "1", "ACC": "69.0", "ASR": "1.0", "ACC triggered": "66.0", "ASR triggered": "3.0"},
        "points lost": UNDEFINED,  # no oracle to compare with
        "repair cost": UNDEFINED,  # it was trained again
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
    assert table.parts()[0].note == "By the colours alone one reaches AP 100.0 (colour), so detection is not ranked."


def test_what_a_combination_detects_counts_once_where_its_filter_has_a_line_of_its_own():
    alone = [make(seed=seed) for seed in range(3)]
    both = [make("poisoncam+icutmix", seed=seed) for seed in range(3)]
    other = [make("patchsearch+icutmix", seed=seed) for seed in range(3)]
    for record, single in zip(both, alone, strict=True):
        record["stages"]["defense"]["key"] = single["stages"]["defense"]["key"]
    (table,) = tables([*alone, *both, *other])
    ranked = ["patchsearch+icutmix", "poisoncam"]
    assert [part.lines for part in table.parts()[:3]] == [table.parts()[0].lines] * 3
    assert sorted(line.defense for line in table.parts()[0].lines) == ranked
    assert sorted(line.defense for line in table.summary().ranks) == ranked
    assert [line.cell("AP") for line in table.summary().lines if line.repeats] == ["98.0 ± 0.0"], "shown all the same"
    assert "poisoncam+icutmix" in {line.defense for line in table.parts()[-1].lines}, "what it trained is its own"


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
        f"poisoncam (masks={UNDEFINED})": "1",
        "poisoncam (masks=64)": "2",
    }
    cut = [make(options=dict.fromkeys("abcde", value)) for value in (1, 2)]
    names = [name for name in only(cut) if name != "none"]
    assert len(set(names)) == 2
    assert all(name.startswith("poisoncam (a=") and len(name) < 60 for name in names)


def test_versions_of_a_plugin_are_told_apart_by_hashes_short_enough_to_type():
    versions = [make(options={"code_sha256": digit * 64}) for digit in "ab"]
    assert [name for name in only(versions) if name != "none"] == [
        f"poisoncam (code_sha256={digit * 12})" for digit in "ab"
    ]


def test_an_attack_with_other_options_has_a_table_of_its_own_whose_title_says_which():
    """The hash of a trigger is said only where nothing else differs."""
    records = [
        make(none=(70, 2, 40, 60), attack_options={"trigger_sha256": "a" * 8}),
        make(none=(70, 2, 40, 90), attack_options={"rate": 1.0, "trigger_sha256": "b" * 8}),
        make(attack="ctrl"),
    ]
    found = {table.title.partition("; ")[2]: table.lines[-1].cell("ASR triggered") for table in tables(records)}
    words = "one trigger on 50 % of 'red stripes'"
    assert found == {
        f"htba: {words} (rate 0.5)": "60.0",
        f"htba: {words} (rate 1.0)": "90.0",
        f"ctrl: {words}": "90.0",
    }
    found = tables([make(attack_options={"trigger_sha256": letter * 8}) for letter in "ab"])
    assert [table.title.partition("' (")[2] for table in found] == [f"trigger_sha256 {letter * 8})" for letter in "ab"]
    found = tables([make(), make(preset="smoke")])
    assert [table.title.partition("' (")[2] for table in found] == ["preset laptop)", "preset smoke)"]


def test_how_a_trigger_looks_tells_tables_apart_before_any_other_option():
    looks = {"plain": {"rate": 0.5, "saturation": 1.0}, "muted": {"rate": 1.0, "saturation": 0.35}}
    found = tables([make(attack_options=options) for options in looks.values()])
    assert sorted(table.short for table in found) == ["htba", "htba (saturation 0.35)"]
    looks["half muted"] = {"rate": 0.5, "saturation": 0.35}
    found = tables([make(attack_options=options) for options in looks.values()])
    assert sorted(table.short for table in found) == [
        "htba (rate 0.5, saturation 0.35)",
        "htba (rate 0.5, saturation 1.0)",
        "htba (rate 1.0, saturation 0.35)",
    ]


def triggers(*rates, count=10):
    every = [{"target": f"c{place}", "count": count, "rate_of_target": rate} for place, rate in enumerate(rates)]
    return {"count": count * len(rates), "targets": [each["target"] for each in every], "triggers": every}


def test_titles_are_words_and_the_default_table_comes_first():
    two = {"attack": "multi-target", "attack_options": {"target_classes": [9, 6]}, "poison": triggers(70.0, 70.0)}
    three = {
        "attack": "multi-target",
        "attack_options": {"target_classes": [9, 6, 4]},
        "poison": triggers(70.0, 5.02, 9.0),
    }
    records = [
        make(attack="no-attack", poison=triggers(0.0, count=0)),
        make(data="folder", root="/home/me/cifar10/", preset="cifar10-cpu"),
        make(**three),
        make(**two),
        make(),
    ]
    images = "160 images of 32 px"
    assert [table.title for table in tables(records)] == [
        f"Drawn scenes, {images}; htba: one trigger on 50 % of 'red stripes'",
        f"Drawn scenes, {images}; multi-target: two triggers, each on 70 % of its class: 'c0', 'c1'",
        f"Drawn scenes, {images}; multi-target: three triggers, each on 5 to 70 % of its class: 'c0', 'c1', 'c2'",
        f"Drawn scenes, {images}; no-attack: nothing is poisoned",
        f"CIFAR-10 (folder), {images}; htba: one trigger on 50 % of 'red stripes'",
    ]


def test_a_folder_with_stickers_is_called_so():
    plain = make(data="folder", root="/home/me/cifar10", preset="cifar10-cpu")
    stuck = make(data="folder", root="/home/me/cifar10", preset="cifar10-stickers")
    stuck["config"]["dataset"]["stickers"] = 0.05
    names = [table.title.partition(",")[0] for table in tables([plain])]
    assert names == ["CIFAR-10 (folder)"]
    assert tables([stuck])[0].title.startswith("CIFAR-10 (folder, with stickers), 160 images")


def test_tables_of_several_ssl_methods_are_called_by_them():
    """Rows of one defense that differ in nothing else stand in tables of their own, without that difference in them."""
    found = tables([make(ssl="dino"), make(), make(ssl="byol")])
    words = "Drawn scenes, 160 images of 32 px; htba: one trigger on 50 % of 'red stripes'"
    assert [table.title for table in found] == [f"{words} (SSL method {name})" for name in ("moco_v3", "byol", "dino")]
    assert {line.label for table in found for line in table.lines} == {"poisoncam", "none"}
    assert [table.title for table in tables([make(ssl="dino")])] == [words]
    assert anchors(found) == ["htba-scenes-laptop", "htba-scenes-laptop-byol", "htba-scenes-laptop-dino"]


def test_the_table_that_comes_first_is_what_bench_run_makes():
    config = load_config(Plugins.load(), DEFAULT_PRESET)
    chosen = {kind: getattr(config, kind).name for kind in ("dataset", "attack", "ssl")}
    assert {"preset": config.preset, **chosen} == FIRST


def test_only_large_data_are_not_called_small():
    large = make()
    large["dataset"] |= {"counts": {"train": 100_000, "val": 1}, "image_size": 224}
    assert "small" in tables([make()])[0].note
    assert "small" not in tables([large])[0].note


def test_what_users_changed_is_part_of_the_name_and_the_presets_own_value_is_not():
    """Also where every run of a defense has the change. What all lines of a table share is said of the table, and so
    is what its title says."""
    usual = make(options={"window": 12, "masks": 8}, asked=[])
    changed = make(options={"window": 14, "masks": 8}, asked=["defense.window=14", 'dataset.root="x"'])
    other = make("patchsearch", options={"window": 14}, asked=["defense.window=14", "attack.rate=0.5"])
    found = {"poisoncam", "poisoncam (window=14)", "patchsearch (window=14)", "none"}
    assert set(only([usual, changed, other])) == found
    both = make("a+b", options={"a": {"name": "a", "window": 3}, "b": {"name": "b"}}, asked=["defense.window=3"])
    assert list(only([both])) == ["a+b (a.window=3)", "none"]
    shorter = {"train": {"epochs": 5}, "asked": ["train.epochs=5"]}
    (table,) = tables([make(**shorter), make("patchsearch", **shorter)])
    assert {line.label for line in table.lines} == {"poisoncam", "patchsearch", "none"}
    assert "preset laptop with train.epochs=5" in table.about
    (table,) = tables([make(**shorter), make("patchsearch", seed=1, asked=[])])
    assert {line.label for line in table.lines} == {
        "poisoncam (train.epochs=5)",
        "patchsearch",
        "none (train.epochs=5)",
        "none",
    }


def marked(records):
    """{(label, column): how it is marked} of the summary."""
    (table,) = tables(records)
    part = table.summary()
    cells = [(line, title, name) for line in part.lines for title, name in part.columns.items()]
    best = {(line.label, title): "best" for line, title, name in cells if part.best(line, name)}
    return best | {(line.label, title): "alike" for line, title, name in cells if part.alike(line, name)}


def test_the_best_means_and_those_not_told_apart_from_them_are_marked():
    """AP: b is best, c not told apart (one seed of it is far off), a far below; a control is never best. Equal columns
    and those with a value in some of the seeds only have no mark."""
    values = {"a": (20.0, 21.0, 20.0), "b": (90.0, 91.0, 90.0), "c": (88.0, 10.0, 92.0)}
    records = [
        make(
            name,
            seed=seed,
            average_precision=value,
            detection=(5, None if (name, seed) == ("b", 1) else 9.0, 50.0, 9.0),
        )
        for name, found in values.items()
        for seed, value in enumerate(found)
    ]
    records += [make("oracle", seed=seed, control=True, average_precision=100.0) for seed in range(3)]
    found = {place: mark for place, mark in marked(records).items() if place[1] in ("AP", "recall", "precision")}
    assert found == {("b", "AP"): "best", ("c", "AP"): "alike"}


def test_fewer_is_better_where_an_arrow_says_so():
    records = [
        make(name, seed=seed, defended=(69, 1, 66, asr + seed))
        for name, asr in (("a", 3), ("b", 30))
        for seed in (0, 1, 2)
    ]
    assert marked(records)["a", "ASR triggered"] == "best"
    (table,) = tables(records)
    assert list(table.summary().headings) == [
        "AP \u2191",
        "precision \u2191",
        "recall \u2191",
        "ACC \u2191",
        "ASR triggered \u2193",
    ]
    assert "removed" in table.parts()[1].headings, "neither"
    assert "IoU@10 \u2191" in table.parts()[2].headings


def test_an_imported_threat_model_is_never_averaged_with_a_trained_one():
    imported = make(none=(70, 2, 40, 80), defended=(69, 1, 66, 5))
    imported["config"]["threat"] = {"checkpoint": "a.pth", "sha256": "d" * 64}
    imported["stages"]["threat_model"]["key"] = key("imported")
    validate(imported)
    table = only([make(), imported])
    assert seeds(table) == {
        f"{defense} (threat.checkpoint={name}, threat.sha256={sha})": "1"
        for defense in ("none", "poisoncam")
        for name, sha in ((UNDEFINED, UNDEFINED), ("a.pth", "d" * 12))
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
    records = [make(), make(seed=1, defended=(71.0, 1, 66, 5)), make("colour", baseline=True, average_precision=94.0)]
    records += [make("patchsearch", seed=seed, average_precision=50.0, until="detection") for seed in range(2)]
    names = ["records/a b.json", "records/c.json", "d.json", "e.json", "f.json"]
    lines = markdown(tables(records, names)).splitlines()
    title = "Drawn scenes, 160 images of 32 px; htba: one trigger on 50 % of 'red stripes'"
    first = "rank 1 of the defenses: poisoncam, patchsearch"
    assert lines[0] == f"- [{title}](#htba-scenes-laptop): {first}"
    assert '<a id="htba-scenes-laptop"></a>' in lines
    place = lines.index(f"## {title}")
    assert lines[place + 2] == "Attack htba; data set scenes; preset laptop; SSL method moco_v3; 20 epochs."
    took = "0.2 hours of computing in all, a stage that rows share counted once."  # 2 x 230 s + 120 s
    assert lines[place + 3].endswith(f" {took} Every line is measured.")
    table = lines[place + 5 : place + 13]
    assert len({len(line) for line in table}) == 1, "columns are aligned"
    assert cells(table[0])[:6] == ["rank", "defense", "seeds", "AP \u2191", "precision \u2191", "recall \u2191"]
    assert table[1].startswith("|--")
    assert cells(table[2])[:4] == ["1", "poisoncam", "2", "**98.0 ± 0.0**"]
    assert cells(table[3])[:4] == ["1", "patchsearch", "2", "\u2248 50.0 ± 0.0"], "of two seeds"
    assert cells(table[4])[:2] == ["", "*baselines*"]
    assert cells(table[5])[:3] == [UNDEFINED, "colour", "1"], "there is no other baseline"
    assert cells(table[6])[:2] == ["", "*controls*"]
    titles = [line for line in lines if line.startswith("**")]
    assert [title.partition(":")[0] for title in titles] == ["**Detection"] * 3 + ["**Full runs"]
    full = lines.index(titles[-1])
    rates = ["ACC \u2191", "ASR \u2193", "ACC triggered \u2191", "ASR triggered \u2193", "seconds \u2193"]
    assert cells(lines[full + 2]) == ["defense", "seeds", *rates]
    assert cells(lines[full + 4])[:3] == ["poisoncam", "2", f"70.0 ± {half(69, 71)}"], "compared with nobody"
    assert "- records of poisoncam: [seed 0][r4], [seed 1][r5]" in lines
    assert (
        lines.index("<details><summary>All numbers, records and settings</summary>") < full < lines.index("</details>")
    )
    assert lines[-5:-1] == ["[r1]: d.json", "[r2]: e.json", "[r3]: f.json", "[r4]: records/a%20b.json"]


def test_a_plugin_links_to_its_page_in_markdown_and_somebody_elses_says_whose_it_is():
    mine, theirs = make("mine+slow"), make("evil")
    about = {"kind": "defense", "distribution": "bench-mine", "version": "1.2", "author": "", "paper": 'A "b" <i>'}
    mine["plugins"] = [about | {"name": "mine", "url": "https://x.org/<a>(b)"}]
    theirs["plugins"] = [about | {"name": "evil", "url": "javascript:alert(1)", "paper": ""}]
    text = markdown(tables([mine, theirs]))
    assert "| [mine][p1]+slow (bench-mine 1.2) |" in text
    assert "| evil (bench-mine 1.2)" in text
    assert text.endswith('[p1]: https://x.org/%3Ca%3E%28b%29 "A &quot;b&quot; &#60;i&#62;"\n')
    assert '<a href="https://x.org/%3Ca%3E%28b%29" title="A &quot;b&quot; &lt;i&gt;">mine</a>' in render(text)
    assert "javascript" not in text


def test_columns_without_a_number_are_left_out_and_so_is_a_table_of_nothing():
    text = markdown(tables([make("none")])).split("## How")[0]
    assert "points lost" not in text
    assert text.count("| defense") == 2, "the summary, and the full runs"
    assert "| removed" not in text
    both = markdown(tables([make(), make("mine", status="submitted")])).split("## How")[0]
    assert both.count("| status") == 5, "where lines differ in it"


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
    poison = triggers(50.0)
    poison["triggers"][0]["target"] = evil
    text, legend, _ = markdown(tables([make(evil, attack=evil, preset=evil, poison=poison)])).partition(
        "## How to read it"
    )
    html = render(text)
    tags = {part.split(">")[0].split()[0].strip("/") for part in html.split("<")[1:]}
    assert tags <= {
        "h2",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
        "em",
        "a",
        "details",
        "summary",
    } | {
        "ul",
        "li",
        "code",
    }
    assert not any(evil in code for code in re.findall("<code>(.*?)</code>", html)), (
        "only plain lists of options are code"
    )
    parts = html.split("</table>")[:5]
    assert [part.count("<tr>") for part in parts] == [4, 2, 2, 2, 4]  # the defense; of runs also "controls", and none
    assert [part.count("<td") // part.count("<th ") for part in parts] == [3, 1, 1, 1, 3]
    assert (html.count("<h2>"), html.count("<em>"), bool(legend)) == (1, 2, True)
    assert all(re.fullmatch(r'(href="#|id=")[a-z0-9-]+"', link) for link in re.findall("<a ([^>]*)>", html))


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
