"""`bench list`: kinds, one plugin with the values in force, presets, what is broken; and a shell's completion."""

from __future__ import annotations

import pytest

from bench.cli.main import app
from bench.plugins.manager import Plugins


def test_alone_it_shows_a_line_for_every_plugin_and_preset(bench):
    out = bench("list")
    for heading in ("attacks", "defenses", "datasets", "SSL methods", "presets"):
        assert f"\n{heading}\n" in out
    for line in ("  htba  ", "  none  ", "  poisoncam  ", "  scenes  ", "  folder  ", "  cifar10  ", "  moco_v3  "):
        assert line in out
    assert "(ssl-backdoor-bench 0.1.0)" in out
    assert "  smoke  Seconds: every stage at its smallest" in out
    assert " = " not in out


@pytest.mark.parametrize(
    ("words", "shown", "not_shown"),
    [
        ("attack", "      rate = 0.5  poisoned share of the TARGET class, in (0, 1]", "poisoncam"),
        ("ssl", "      temperature = 0.2  temperature of InfoNCE", "htba"),
        ("datasets", "      class_list = ''", "htba"),
        ("presets", "  laptop  The default", "htba"),
        ("defense oracle", "It has no options.", " = "),
        ("defense icutmix", "      alpha = 1.0 ", "poisoncam"),
        ("ssl moco_v3", "  momentum = 0.9  momentum at the start; rises to 1 by a cosine (default 0.99)", "htba"),
        ("dataset folder", "      root = ''  the directory", "htba"),
        ("defense poisoncam --preset cifar10", "None: a rule chooses, for which the dataset must be there", "htba"),
        ("defense poisoncam --preset smoke", "      clusters = 10  k-means", "2,000"),
        ("defense poisoncam --preset smoke", "(160 training images of 32 px)", "2,000"),
        ("preset smoke", 'purpose = "Seconds', "laptop"),
        ("metrics", "  P@P  ", "poisoncam"),
        ("metrics", "  told apart  the paired t interval", "poisoncam"),
        ("metric AP", "Higher is better.", "P@P"),
    ],
)
def test_of_one_kind_or_one_plugin_it_shows_the_options(bench, words, shown, not_shown):
    out = bench("list", *words.split())
    assert shown in out
    assert not_shown not in out


def test_one_plugin_is_shown_with_the_values_of_the_presets_run(bench):
    out = bench("list", "defense", "poisoncam")
    assert out.startswith("defense poisoncam\nFinds triggers by cluster activation masking, ")
    assert "Cluster Activation Masking, 2023\nhttps://arxiv.org/abs/2312.07955\n" in out
    assert "\nFrom ssl-backdoor-bench 0.1.0: bench.defenses.poisoncam.PoisonCAM\n" in out
    assert "Options, as a run with preset laptop uses them (2,000 training images of 32 px):\n" in out
    assert "      clusters = 32  k-means" in out, "a rule's"
    assert "      normalise = True " in out, "the preset's"
    assert "(default False)" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("defence", "unknown kind 'defence'. Did you mean 'defense'?"),
        ("defense poisoncan", "unknown defense 'poisoncan'. Did you mean 'poisoncam'?"),
        ("metrics AQ", "no metric is called 'AQ'. Did you mean 'AP'?"),
        ("presets smok", "unknown preset 'smok'. Did you mean 'smoke'?"),
        ("attack htba --preset smok", "unknown preset 'smok'. Did you mean 'smoke'?"),
    ],
)
def test_what_is_not_there(refused, words, said):
    assert said in refused("list", *words.split())


def test_broken_plugins_are_named_with_their_reason(bench, monkeypatch):
    class Nothing:
        """It implements no hook."""

    broken = Plugins.load([Nothing()])
    monkeypatch.setattr(Plugins, "load", classmethod(lambda cls, extra: broken))
    bench("list", errors=f"cannot be used: {broken.broken[0]}")
    assert str(broken.broken[0]).startswith("Nothing (Nothing, not installed): it implements no hook.")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bench list d", ["defense", "dataset"]),
        ("bench list defense po", ["poisoncam"]),
        ("bench list presets sm", ["smoke"]),
        ("bench run --attack ht", ["htba", "htba-muted", "htba-varied"]),
        ("bench plan --preset sm", ["smoke"]),
    ],
)
def test_names_are_completed(monkeypatch, capsys, words, offered):
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    monkeypatch.setenv("_BENCH_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit):
        app([], prog_name="bench")
    assert capsys.readouterr().out.split() == offered
