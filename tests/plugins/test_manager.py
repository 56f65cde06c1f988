"""The manager: who offered what, and that one bad plugin never stops the others."""

import logging
import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

import pytest

from bench import BenchError, Defense, Verdict, hookimpl
from bench.plugins.manager import Plugins, Source


@dataclass(frozen=True, kw_only=True)
class KeepAll(Defense):
    """Keeps all."""

    name: ClassVar[str] = "keep-all"

    def clean(self, view):
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Other(KeepAll):
    """Another class of the same name."""


@dataclass(frozen=True, kw_only=True)
class Second(KeepAll):
    """Another name."""

    name: ClassVar[str] = "second"


def module(name="mine", marked=True, **hooks):
    made = ModuleType(name)
    for hook, function in hooks.items():
        setattr(made, hook, hookimpl(function) if marked else function)
    return made


def source(plugin, name="mine", origin="mine-dist 1.0"):
    return Source(name, origin, lambda: plugin)


def offering(*classes, **kw):
    return module(bench_defenses=lambda: list(classes), **kw)


def only(plugins):
    (broken,) = plugins.broken
    return broken


def test_entries_carry_origin_and_are_sorted():
    plugins = Plugins([source(offering(Second, KeepAll))])
    assert plugins.names("defense") == ["keep-all", "second"]
    entry = plugins.entry("defense", "second")
    assert (entry.kind, entry.origin, entry.cls) == ("defense", "mine-dist 1.0", Second)
    assert plugins.get("defense", "keep-all") is KeepAll
    assert plugins.broken == []
    assert plugins.names("attack") == []


def test_extra_plugins_come_after_the_installed_ones():
    plugins = Plugins.load([offering(KeepAll)])
    assert plugins.entry("defense", "keep-all").origin == "mine, not installed"
    assert plugins.entry("attack", "htba").origin.startswith("ssl-backdoor-bench ")
    assert plugins.get("attack", "htba").__module__ == "bench.attacks.htba"


def test_an_installed_distribution_is_found(tmp_path, monkeypatch):
    (tmp_path / "toy_plug.py").write_text(
        "from bench import hookimpl\n@hookimpl\ndef bench_attacks():\n    return []\n"
    )
    info = tmp_path / "toy_plug-2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-plug\nVersion: 2.3\n")
    (info / "entry_points.txt").write_text("[bench]\ngood = toy_plug\nbad = toy_plug_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = Plugins.load()
    mine = [broken for broken in plugins.broken if broken.origin == "toy-plug 2.3"]
    assert [broken.name for broken in mine] == ["bad"]
    assert "toy_plug_that_is_not_there" in mine[0].error
    assert "htba" in plugins.names("attack")


def test_a_name_offered_twice_is_refused_with_both_origins():
    plugins = Plugins([source(offering(KeepAll), "a", "a-dist 1"), source(offering(Other, Second), "b", "b-dist 2")])
    with pytest.raises(BenchError, match="offered twice") as caught:
        plugins.get("defense", "keep-all")
    assert "a-dist 1" in str(caught.value)
    assert "b-dist 2" in str(caught.value)
    assert plugins.names("defense") == ["second"]
    broken = only(plugins)
    assert broken.name == "keep-all"
    assert "a-dist 1" in broken.origin
    assert "b-dist 2" in broken.origin


def test_a_hook_of_a_later_version_may_be_marked_optional():
    plugin = offering(KeepAll)
    plugin.bench_of_tomorrow = hookimpl(optionalhook=True)(lambda: [])
    plugins = Plugins([source(plugin)])
    assert plugins.broken == []
    assert plugins.names("defense") == ["keep-all"]


def test_an_object_with_methods_is_a_plugin():
    class Mine:
        @hookimpl
        def bench_defenses(self):
            return [KeepAll]

    assert Plugins.load([Mine()], installed=False).names("defense") == ["keep-all"]


def test_the_same_module_twice_is_told():
    plugin = offering(KeepAll)
    plugins = Plugins([source(plugin, "a"), source(plugin, "b")])
    assert only(plugins).name == "b"
    assert plugins.get("defense", "keep-all") is KeepAll


def fail(error=ZeroDivisionError("in the hook")):  # noqa: B008 - never changed
    raise error


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (lambda: fail(ImportError("no such module")), "ImportError: no such module"),
        (lambda: fail(SystemExit(3)), "SystemExit: 3"),
        (lambda: ModuleType("empty"), "it implements no hook"),
        (lambda: module(marked=False, bench_defenses=lambda: [KeepAll]), "decorate it with @bench.hookimpl"),
        (lambda: module(bench_defences=lambda: [KeepAll], bench_attacks=lambda: []), "Did you mean 'bench_defenses'?"),
        (lambda: module(bench_stage_started=lambda stage, colour: None), "colour"),
        (lambda: module(bench_defenses=lambda: KeepAll), "returned ABCMeta, expected a list"),
        (lambda: module(bench_attacks=fail), "ZeroDivisionError: in the hook"),
    ],
)
def test_what_is_broken_says_why_and_stops_no_other(load, why):
    plugins = Plugins([Source("bad", "bad-dist 1", load), source(offering(Second))])
    assert why in only(plugins).error
    assert plugins.names("defense") == ["second"]


def test_a_hook_that_raises_loses_that_hook_only():
    plugins = Plugins([source(module(bench_attacks=fail, bench_defenses=lambda: [KeepAll]))])
    assert plugins.names("defense") == ["keep-all"]


class Undecorated(KeepAll):
    name: ClassVar[str] = "undecorated"


@dataclass(kw_only=True)
class Thawed(Verdict.__class__):
    """Not a plugin at all."""


@dataclass(frozen=True, kw_only=True)
class Nameless(Defense):
    """Has no name."""

    def clean(self, view):
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class BadName(KeepAll):
    """Has a name that is no name."""

    name: ClassVar[str] = "a+b"


@dataclass(frozen=True, kw_only=True)
class Unfinished(Defense):
    """Has no clean()."""

    name: ClassVar[str] = "unfinished"


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Undecorated, "not a frozen dataclass"),
        (Thawed, "not a subclass of bench.Defense"),
        (KeepAll(), "not a subclass of bench.Defense"),
        ("keep-all", "not a subclass of bench.Defense"),
        (Nameless, "name is None"),
        (BadName, "name is 'a\\+b'"),
        (Unfinished, "does not implement clean"),
    ],
)
def test_a_bad_class_is_left_out_and_told(cls, why):
    plugins = Plugins([source(offering(cls, Second))])
    assert plugins.names("defense") == ["second"]
    with pytest.raises(BenchError, match=why):
        plugins.get("defense", "unheard-of")


def test_an_unknown_name_gives_the_nearest_and_what_is_broken():
    plugins = Plugins([source(offering(KeepAll)), source(ModuleType("empty"), "empty", "empty-dist 0.1")])
    with pytest.raises(BenchError) as caught:
        plugins.get("defense", "keepall")
    text = str(caught.value)
    assert text.startswith("unknown defense 'keepall'. Did you mean 'keep-all'?")
    assert "empty (empty-dist 0.1): it implements no hook" in text


def test_kinds_are_asked_only_when_needed():
    with pytest.raises(BenchError, match="Did you mean 'defense'"):
        Plugins([]).names("defence")
    asked = []
    plugin = module(bench_attacks=lambda: asked.append("attack") or [], bench_defenses=lambda: asked.append("d") or [])
    plugins = Plugins([source(plugin)])
    assert asked == []
    plugins.names("attack")
    plugins.names("attack")
    assert asked == ["attack"]


def test_trackers_get_the_arguments_they_name():
    seen = []
    plugin = module(
        bench_stage_started=lambda stage, cached: seen.append((stage, cached)),
        bench_stage_progress=lambda done, total: seen.append((done, total)),
        bench_stage_finished=lambda seconds: seen.append(seconds),
    )
    plugins = Plugins([source(plugin)])
    plugins.notify("stage_started", stage="probe", key="ab", cached=True)
    plugins.notify("bench_stage_progress", stage="probe", what="epochs", done=1, total=4)
    plugins.notify("stage_finished", stage="probe", key="ab", seconds=2.5)
    assert seen == [("probe", True), (1, 4), 2.5]


def test_a_tracker_that_raises_is_warned_of_once_and_left_alone(caplog):
    calls, seen = [], []

    def fail(done):
        calls.append(done)
        raise OSError("server is gone")

    plugins = Plugins([
        source(module(bench_stage_progress=fail), "bad", "bad-tracker 1"),
        source(module(bench_stage_progress=lambda done: seen.append(done)), "good"),
    ])  # fmt: skip
    with caplog.at_level(logging.WARNING):
        for done in range(3):
            plugins.notify("stage_progress", stage="s", what="w", done=done, total=3)
    assert calls == [0]
    assert seen == [0, 1, 2]
    (record,) = caplog.records
    assert "bad-tracker 1" in record.getMessage()
    assert "server is gone" in record.getMessage()


def test_an_unknown_event_is_a_programming_error():
    with pytest.raises(ValueError, match="bench_stage_started"):
        Plugins([]).notify("stage_start", stage="s", key="k", cached=False)


def test_marking_hooks_is_cheap():
    code = (
        "import sys; from bench.plugins import hookimpl; import bench.attacks.htba; "
        "print([m for m in ('torch', 'pydantic', 'PIL', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
