"""The manager: who offered what, and that one bad plugin never stops the others. Trackers: pipeline/test_events.py."""

import subprocess
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest

from bench import BenchError, Defense, hookimpl
from bench.plugins.manager import Plugins, Source


@dataclass(frozen=True, kw_only=True)
class KeepAll(Defense):
    """Keeps all."""

    name: ClassVar[str] = "keep-all"

    def clean(self, view):
        raise NotImplementedError


def keep_all(name, decorated=True):
    """Another class, of that name."""
    made = type("Other", (KeepAll,), {"name": name})
    return dataclass(frozen=True, kw_only=True)(made) if decorated else made


Second = keep_all("second")
Unfinished = dataclass(frozen=True, kw_only=True)(type("Unfinished", (Defense,), {"name": "unfinished"}))


def module(name="mine", marked=True, **hooks):
    made = ModuleType(name)
    for hook, function in hooks.items():
        setattr(made, hook, hookimpl(function) if marked else function)
    return made


def source(plugin, name="mine", origin="mine-dist 1.0"):
    return Source(name, origin, lambda: plugin)


def offering(*classes, **kw):
    return module(bench_defenses=lambda: list(classes), **kw)


def test_entries_carry_origin_and_are_sorted():
    plugins = Plugins([source(offering(Second, KeepAll))])
    assert plugins.names("defense") == ["keep-all", "second"]
    entry = plugins.entry("defense", "second")
    assert (entry.kind, entry.origin, entry.cls) == ("defense", "mine-dist 1.0", Second)
    assert (plugins.get("defense", "keep-all"), plugins.broken, plugins.names("attack")) == (KeepAll, [], [])


def test_modules_and_objects_that_are_handed_over_come_after_the_installed_ones():
    class Mine:
        @hookimpl
        def bench_defenses(self):
            return [Second]

    plugins = Plugins.load([offering(KeepAll), Mine()])
    found = {name: plugins.entry("defense", name).origin for name in ("keep-all", "second")}
    assert found == {"keep-all": "mine, not installed", "second": "Mine, not installed"}
    assert plugins.entry("attack", "htba").origin.startswith("ssl-backdoor-bench ")
    assert plugins.get("attack", "htba").__module__ == "bench.attacks.htba"
    assert Plugins.load([Mine()], installed=False).names("attack") == []
    with pytest.raises(BenchError, match="implements no hook"):
        plugins.add(SimpleNamespace())


def test_an_installed_distribution_is_found(tmp_path, monkeypatch):
    text = "from bench import hookimpl\n@hookimpl\ndef bench_attacks():\n    return []\n"
    (tmp_path / "toy_plug.py").write_text(text)
    info = tmp_path / "toy_plug-2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-plug\nVersion: 2.3\n")
    (info / "entry_points.txt").write_text("[bench]\ngood = toy_plug\nbad = toy_plug_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = Plugins.load()
    (broken,) = (broken for broken in plugins.broken if broken.origin == "toy-plug 2.3")
    assert broken.name == "bad"
    assert "toy_plug_that_is_not_there" in broken.error
    assert "htba" in plugins.names("attack")


def test_a_name_offered_twice_is_refused_with_both_origins():
    both = offering(KeepAll), offering(keep_all("keep-all"), Second)
    plugins = Plugins([source(both[0], "a", "a-dist 1"), source(both[1], "b", "b-dist 2")])
    (broken,) = plugins.broken
    assert (broken.name, plugins.names("defense")) == ("keep-all", ["second"])
    with pytest.raises(BenchError, match="offered twice") as caught:
        plugins.get("defense", "keep-all")
    assert all(origin in said for origin in ("a-dist 1", "b-dist 2") for said in (broken.origin, str(caught.value)))


def test_a_hook_of_a_later_version_may_be_marked_optional():
    plugin = offering(KeepAll)
    plugin.bench_of_tomorrow = hookimpl(optionalhook=True)(lambda: [])
    plugins = Plugins([source(plugin, "a"), source(plugin, "b")])
    assert plugins.names("defense") == ["keep-all"]
    assert [broken.name for broken in plugins.broken] == ["b"], "the same module twice"


def fail(error=ZeroDivisionError("in the hook")):  # noqa: B008 - never changed
    raise error


@dataclass(frozen=True, kw_only=True)
class Undeclared(KeepAll):
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Undecided(KeepAll):
    share: float = field(default_factory=fail)


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
        (lambda: offering(keep_all("undecorated", decorated=False)), "not a frozen dataclass"),
        (lambda: offering(int), "not a subclass of bench.Defense"),
        (lambda: offering(KeepAll()), "not a subclass of bench.Defense"),
        (lambda: offering(keep_all(None)), "name is None"),
        (lambda: offering(keep_all("a+b")), "name is 'a+b'"),
        (lambda: offering(keep_all("a" * 65)), "expected up to 64 small letters"),
        (lambda: offering(Unfinished), "does not implement clean"),
        (lambda: offering(Undeclared), "'needs' is an option of it, expected a ClassVar"),
        (
            lambda: offering(Undecided),
            "default of one of its options cannot be made and shown: ZeroDivisionError: in the hook",
        ),
    ],
)
def test_what_is_broken_says_why_and_stops_no_other(load, why):
    plugins = Plugins([Source("bad", "bad-dist 1", load), source(offering(Second))])
    (broken,) = plugins.broken
    assert why in broken.error
    assert plugins.names("defense") == ["second"]
    with pytest.raises(BenchError) as caught:
        plugins.get("defense", "secnd")
    assert str(caught.value).startswith("unknown defense 'secnd'. Did you mean 'second'?")
    assert str(caught.value).endswith(f"Could not be used: {broken.name} (bad-dist 1): {broken.error}")


def test_a_hook_is_called_once_when_it_is_needed_and_one_that_raises_loses_that_hook_only():
    with pytest.raises(BenchError, match="Did you mean 'defense'"):
        Plugins([]).names("defence")
    called = []
    offers = {"bench_defenses": lambda: called.append("defenses") or [KeepAll]}
    plugins = Plugins([source(module(bench_attacks=fail, **offers))])
    assert called == []
    assert plugins.names("defense") == plugins.names("defense") == ["keep-all"]
    assert called == ["defenses"]
    assert [broken.error for broken in plugins.broken] == ["ZeroDivisionError: in the hook"]


def test_marking_hooks_is_cheap():
    code = (
        "import sys; from bench.plugins import hookimpl; import bench.attacks.htba; "
        "print([m for m in ('torch', 'pydantic', 'PIL', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
