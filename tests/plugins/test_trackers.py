"""TensorBoard by the real library; the examples of docs/howto/trackers.md against modules of the same interface."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing import event_accumulator

from bench.errors import BenchError
from bench.plugins.from_file import load_plugins
from bench.plugins.manager import Plugins
from bench.plugins.tensorboard import TensorBoard

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "trackers.md"
EXAMPLES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S))
STAGE = {"stage": "pretrain", "key": "k", "title": "train"}
CONFIG = {"seed": 3, "attack": {"name": "htba"}, "defense": {"name": "poisoncam"}}
ROW = {"clean": {"acc": 70.0, "asr": 1.0}, "poisoned": {"acc": 60.0, "asr": 40.5}}
RECORD = {
    "metrics": {"none": ROW, "defended": {**ROW, "per_trigger": [ROW]}, "detection": {"auroc": None, "found": True}}
}


def play(plugins):
    """A run of one training of two steps."""
    plugins.notify("run_started", config=CONFIG)
    plugins.notify("stage_started", **STAGE, cached=False)
    for step, loss in ((1, 2.5), (2, 1.5)):
        plugins.notify("stage_progress", **STAGE, what="steps", done=step, total=2)
        plugins.notify("stage_measured", **STAGE, step=step, numbers={"loss": loss, "learning rate": 0.1})
    plugins.notify("stage_finished", **STAGE, seconds=7.0)
    plugins.notify("run_finished", record=RECORD)


def test_tensorboard_gets_curves_metrics_and_the_configuration(tmp_path):
    plugins = Plugins([])
    plugins.add(TensorBoard(tmp_path, "poisoncam-seed3"))
    play(plugins)
    events = event_accumulator.EventAccumulator(str(tmp_path / "poisoncam-seed3")).Reload()
    points = {tag: [(e.step, round(e.value, 4)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    rows = ("none", "defended")
    expected = {f"metrics/{r}/{s}/{m}": [(0, ROW[s][m])] for r in rows for s in ROW for m in ("acc", "asr")}
    assert points == {
        "train/loss": [(1, 2.5), (2, 1.5)],
        "train/learning rate": [(1, 0.1), (2, 0.1)],
        "train/per cent of steps": [(1, 50.0), (2, 100.0)],
        "train/seconds": [(0, 7.0)],
        **expected,
    }
    (text,) = events.Tensors("config/text_summary")
    assert b'"name": "poisoncam"' in text.tensor_proto.string_val[0]


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BenchError, match=r"pip install 'ssl-backdoor-bench\[tensorboard\]'"):
        TensorBoard(tmp_path, "x")


MLFLOW = {
    "set_experiment": lambda experiment_name: experiment_name,
    "start_run": lambda *, run_name: run_name,
    "log_dict": lambda dictionary, artifact_file: artifact_file,
    "log_metrics": lambda metrics, step=None: (metrics, step),
    "end_run": lambda status="FINISHED": status,
}
MLFLOW_CALLS = [
    ("set_experiment", "ssl-backdoor-bench"),
    ("start_run", "htba poisoncam seed 3"),
    ("log_dict", "config.json"),
    ("log_metrics", ({"train/loss": 2.5, "train/learning rate": 0.1}, 1)),
    ("log_metrics", ({"train/loss": 1.5, "train/learning rate": 0.1}, 2)),
    ("log_metrics", ({"none ACC": 70.0, "none ASR": 40.5}, None)),
    ("log_metrics", ({"defended ACC": 70.0, "defended ASR": 40.5}, None)),
    ("log_dict", "record.json"),
    ("end_run", "FINISHED"),
]
WANDB = {
    "init": lambda *, project, name, config: (project, name, config["seed"]),
    "define_metric": lambda name, step_metric=None: (name, step_metric),
    "log": lambda data, step=None: data,
    "finish": lambda: None,
    "summary.update": lambda values: values,
}
WANDB_CALLS = [
    ("init", ("ssl-backdoor-bench", "poisoncam", 3)),
    ("define_metric", ("train/*", "train/step")),
    ("log", {"train/step": 1, "train/loss": 2.5, "train/learning rate": 0.1}),
    ("log", {"train/step": 2, "train/loss": 1.5, "train/learning rate": 0.1}),
    ("summary.update", {"metrics": RECORD["metrics"]}),
    ("finish", None),
]


@pytest.mark.parametrize(
    ("module", "functions", "expected"), [("mlflow", MLFLOW, MLFLOW_CALLS), ("wandb", WANDB, WANDB_CALLS)]
)
def test_an_example_calls_functions_of_the_real_parameters(module, functions, expected, tmp_path, monkeypatch, caplog):
    calls = []

    def called(name, call):
        return lambda *args, **kwargs: calls.append((name, call(*args, **kwargs)))

    fake = SimpleNamespace(**{name.partition(".")[0]: called(name, call) for name, call in functions.items()})
    if "summary.update" in functions:
        fake.summary = SimpleNamespace(update=fake.summary)
    monkeypatch.setitem(sys.modules, module, fake)
    (tmp_path / "example.py").write_text(EXAMPLES[f"{module}_tracker.py"])
    play(load_plugins([tmp_path / "example.py"]))
    assert calls == expected
    assert caplog.text == ""
    assert len([line for line in EXAMPLES[f"{module}_tracker.py"].splitlines() if line.strip()]) <= 20
