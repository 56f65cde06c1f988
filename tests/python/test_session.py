"""`bench.run`, its Result and the tables: from Python as from the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import bench as public
from bench import BenchError, Defense, Verdict
from bench.records import record
from bench.session.objects import as_settings, toml


def typed():
    """Two classes that no other process can import, as a notebook's."""

    @dataclass(frozen=True, kw_only=True)
    class Bright(Defense):
        """Removes the brightest images; a window at the top left of each."""

        name: ClassVar[str] = "bright"
        paper: ClassVar[str] = "Nobody, Nothing, 2020"
        share: float = 0.1
        like: str | None = None

        def clean(self, view):
            score = view.batch(range(len(view))).double().mean((1, 2, 3)).numpy()
            boxes = np.full((len(view), 4), -1)
            boxes[score > np.median(score)] = (0, 0, 2, 3)
            return Verdict(keep=score <= np.quantile(score, 1 - self.share), score=score, boxes=boxes)

    @dataclass(frozen=True, kw_only=True)
    class Colour(Defense):
        """Bears the name of a built-in one."""

        name: ClassVar[str] = "colour"

        def clean(self, view):
            return Verdict(keep=np.ones(len(view), bool))

    return Bright, Colour


Bright, Colour = typed()


@pytest.fixture
def run(copied):
    """bench.run in a store where the stages of `smoke` lie."""
    return lambda **more: public.run(**{"preset": "smoke", "store": copied, "progress": False} | more)


def test_the_same_run_from_python_and_from_the_command_line_has_the_same_record(run, bench, copied, tmp_path):
    settings = ["--set", "probe.epochs=1"]
    bench("run", "--preset", "smoke", "--store", copied, *settings, "--record", tmp_path / "command.json")
    result = run(settings={"probe": {"epochs": 1}})
    result.save(tmp_path / "python.json")
    one, other = (record.load(tmp_path / f"{name}.json") for name in ("command", "python"))
    assert {**one, "created": ""} == {**other, "created": ""}
    assert json.loads(result.path.read_text())["metrics"] == result.record["metrics"]


def test_what_a_result_shows(run, smoke):
    result, (pipeline, _) = run(), smoke
    located = result.record["metrics"]["localisation"]
    k = next(iter(located))
    assert result.metrics["none.clean.acc"] == result.record["metrics"]["none"]["clean"]["acc"]
    assert result.metrics[f"localisation.{k}.iou"] == located[k]["iou"]
    images = result.images()
    assert list(images.columns[:6]) == ["id", "class", "poisoned", "kept", "score", "trigger_score"]
    assert images["poisoned"].sum() == result.record["poison"]["count"]
    assert (~images["kept"]).sum() == result.record["metrics"]["detection"]["removed"]
    first = int(np.flatnonzero(pipeline.verdict.boxes[:, 0] >= 0)[0])
    box = images.loc[first, ["box_top", "box_left", "box_height", "box_width"]].tolist()
    assert box == pipeline.verdict.boxes[first].tolist()
    assert images["box_top"].isna().sum() == (pipeline.verdict.boxes[:, 0] < 0).sum() > 0
    assert "poisoncam against htba on scenes, seed 0" in repr(result)
    shown = result._repr_html_()
    assert f"<td>{result.metrics['none.clean.acc']:.1f} %</td>" in shown
    figure = result.figure("poisoncam", count=3)
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["image", "poisoncam"]
    with pytest.raises(BenchError, match="a control looks nowhere"):
        result.figure(["oracle"])


def test_an_object_takes_the_place_of_a_name(run):
    """With its own options, whatever a preset says; it works in a process of its own."""
    result = run(defense=Bright(share=0.25), until="detection")
    assert result.record["run"]["asked"]["settings"] == ["defense.share=0.25"]
    assert result.record["config"]["defense"]["share"] == 0.25
    assert "in_place" not in result.record["facts"]
    assert result.metrics["detection.removed"] == 40
    (entry,) = [each for each in result.record["plugins"] if each["kind"] == "defense"]
    assert (entry["paper"], entry["distribution"]) == ("Nobody, Nothing, 2020", "")
    assert run(defense=Bright(share=0.25), until="detection", in_place=True).path == result.path, "found in the store"
    images = result.images()
    assert (images["box_width"].notna() == (images["score"] > images["score"].median())).all()


def test_tables_of_results_and_files(run, tmp_path):
    colour = run(defense="colour", until="detection")
    bright = run(defense=Bright(), until="detection")
    colour.save(tmp_path / "colour.json")
    bright.save(tmp_path / "bright.json")
    frame = public.leaderboard([colour, bright.record])
    assert frame["defense"].tolist() == ["bright", "colour", "none"]
    row = frame.set_index("defense").loc["bright"]
    assert (row["removed"], row["seeds"], row["settings"]) == (bright.metrics["detection.removed"], 1, "")
    assert np.isnan(row["removed half"]), "one seed has no interval"
    assert public.leaderboard(tmp_path).equals(frame)
    found = public.compare("bright", "colour", [colour, bright]).set_index("metric")
    assert found.loc["removed", "mean_a"] == bright.metrics["detection.removed"]
    with pytest.raises(BenchError, match="Did you mean"):
        public.compare("brigt", None, tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"defense": "brigt"}, "unknown defense 'brigt'"),
        ({"defense": Bright}, r"defense is the class Bright; give an object of it: Bright\(\.\.\.\)"),
        ({"defense": 3}, "defense = 3 cannot be used: it is not a subclass of bench.Defense"),
        ({"attack": Bright()}, "it is not a subclass of bench.Attack"),
        ({"defense": Colour()}, "there is another defense 'colour': ssl-backdoor-bench"),
        ({"defense": Bright(share="much")}, "option 'share': expected float"),
        ({"defense": Bright(), "settings": {"defense.share": 0.2}}, "given as an object, which has its own options"),
        ({"settings": "train.epochs=1"}, "settings is 'train.epochs=1', expected a dict or a list"),
        ({"settings": {"train.epochs": None}}, r"an option cannot be None \(NoneType\); expected a number"),
        ({"devices": 0}, "devices is 0, expected a whole number, 1 or more"),
        ({"plugins": ["nowhere.py"]}, "nowhere.py: there is no such file"),
    ],
)
def test_wrong_input_is_a_bench_error(options, said):
    with pytest.raises(BenchError, match=said):
        public.run(**{"preset": "smoke", **options})


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ("nowhere", "no record file or folder 'nowhere'"),
        ([], "there is no record"),
        ([3], "records holds 3"),
        ({}, "is a required property"),
    ],
)
def test_tables_of_nothing(records, said):
    with pytest.raises(BenchError, match=said):
        public.leaderboard(records)


def test_settings_as_python_data():
    given = {"train": {"epochs": 3, "schedule": "cosine"}, "attack.target_classes": (1, 2), "encoder.pretrained": False}
    texts = ["train.epochs=3", 'train.schedule="cosine"', "attack.target_classes=[1, 2]", "encoder.pretrained=false"]
    assert as_settings(given) == texts == as_settings(texts)
    assert [toml(value) for value in (np.float64(0.5), np.int64(2), float("inf"), 'a"b')] == [
        "0.5",
        "2",
        "inf",
        '"a\\"b"',
    ]
