"""Which plugins are there, and what does each offer? Finds them, and makes instances from options.

One broken plugin never stops the others: it is kept in `Plugins.broken` with its error.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from bench.api import Plugin
from bench.errors import BenchError, in_one_line, nearest

from . import hookspecs
from .options import make
from .registry import KINDS, Broken, Entry, offers, path

__all__ = ["Entry", "Plugins"]

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("bench_"))
log = logging.getLogger("bench.plugins")


@dataclass(frozen=True)
class Source:
    """A plugin that was found and is not imported yet."""

    name: str
    origin: str
    load: Callable[[], object]


class Plugins:
    """The plugins of one run. Modules are imported at once; a kind's classes when they are first needed."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._pm = pluggy.PluginManager("bench")
        self._pm.add_hookspecs(hookspecs)
        self._origins: dict[str, str] = {}
        self._known: dict[str, tuple[list[Entry], list[Broken]]] = {}
        self._muted: set[str] = set()
        self._unloaded: list[Broken] = []
        for source in sources:
            self._register(source)

    @classmethod
    def load(cls, extra: Sequence[object] = (), *, installed: bool = True) -> Plugins:
        """Every installed plugin, then those in `extra`: modules, objects, or sources."""
        return cls([*(installed_sources() if installed else ()), *map(given_source, extra)])

    def add(self, plugin: object) -> None:
        """One more, for instance a tracker. Raises BenchError where it cannot be used."""
        before = len(self._unloaded)
        self._register(given_source(plugin))
        self._known.clear()
        if len(self._unloaded) > before:
            raise BenchError(str(self._unloaded.pop()))

    def _register(self, source: Source) -> None:
        """Import one plugin and check its hooks; a plugin with any bad hook is left out as a whole."""
        label = f"{source.name} #{len(self._origins)}"
        try:
            plugin = source.load()
            if self._pm.is_registered(plugin):
                raise BenchError("the same module or object is loaded already, under another name; drop one of the two")
            self._pm.register(plugin, label)
            _check_hooks(self._pm, plugin)
        except (Exception, SystemExit) as error:  # a module may call sys.exit while it is imported
            if self._pm.has_plugin(label):
                self._pm.unregister(name=label)
            said = isinstance(error, BenchError | pluggy.PluginValidationError)
            self._unloaded.append(Broken(source.name, source.origin, str(error) if said else in_one_line(error)))
        else:
            self._origins[label] = source.origin

    def _offered(self, kind: str) -> tuple[list[Entry], list[Broken]]:
        """What every plugin offers of `kind`: the usable, by name, and the others, names offered twice included."""
        if kind not in KINDS:
            raise BenchError(f"unknown kind of plugin {kind!r}.{nearest(kind, KINDS)}")
        if kind not in self._known:
            by_name: dict[str, list[Entry]] = {}
            broken = []
            for call in self._calls(KINDS[kind].hook):
                for offer in offers(call.function, kind, self._origins[call.plugin_name]):
                    if isinstance(offer, Entry):
                        by_name.setdefault(offer.name, []).append(offer)
                    else:
                        broken.append(offer)
            for name, same in by_name.items():
                if len(same) > 1:
                    places = " and ".join(f"{entry.origin} ({path(entry.cls)})" for entry in same)
                    clash = f"{KINDS[kind].word} {name!r} is offered twice, so neither is used"
                    broken.append(Broken(name, places, clash))
            self._known[kind] = [by_name[name][0] for name in sorted(by_name) if len(by_name[name]) == 1], broken
        return self._known[kind]

    def _calls(self, hook: str) -> list[pluggy.HookImpl]:
        """The implementations of `hook`, one by plugin, in order of loading."""
        caller: pluggy.HookCaller = getattr(self._pm.hook, hook)
        return caller.get_hookimpls()

    @property
    def broken(self) -> list[Broken]:
        """Everything that cannot be used, names offered twice included. Loads the classes of every kind."""
        return [*self._unloaded, *(broken for kind in KINDS for broken in self._offered(kind)[1])]

    def entries(self, kind: str) -> list[Entry]:
        """The usable classes of `kind` ("attack", "defense", "dataset", "ssl"), by name."""
        return self._offered(kind)[0]

    def names(self, kind: str) -> list[str]:
        """The names of the usable classes of `kind`, sorted."""
        return [entry.name for entry in self.entries(kind)]

    def entry(self, kind: str, name: str) -> Entry:
        """The entry of that name. Raises BenchError with the nearest name and what is broken."""
        entries, unusable = self._offered(kind)
        for entry in entries:
            if entry.name == name:
                return entry
        for clash in unusable:
            if clash.name == name:
                mend = "Rename one, or uninstall it (leave its --plugin out)."
                raise BenchError(f"{clash.error}: {clash.origin}. {mend}")
        excuse = "".join(f"\nCould not be used: {broken}" for broken in self.broken)
        raise BenchError(f"unknown {KINDS[kind].word} {name!r}.{nearest(name, self.names(kind))}{excuse}")

    def get(self, kind: str, name: str) -> type[Plugin]:
        """The class of that name; raises as `entry` does."""
        return self.entry(kind, name).cls

    def make(self, kind: str, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """An instance with these options, type-checked. Raises BenchError naming every bad option."""
        return make(self.get(kind, name), options or {}, f"{KINDS[kind].word} {name!r}")

    def notify(self, event: str, **facts: Any) -> None:
        """Send a run event to every tracker ("stage_started"). One that raises is named and left alone."""
        hook = f"bench_{event.removeprefix('bench_')}"
        if hook not in HOOKS:
            raise ValueError(f"unknown run event {event!r}.{nearest(hook, HOOKS)}")
        for call in self._calls(hook):
            values = [facts[name] for name in call.argnames]
            try:
                if call.plugin_name not in self._muted:
                    call.function(*values)
            except Exception as error:
                self._muted.add(call.plugin_name)
                place = f"{hook} of {self._origins[call.plugin_name]}"
                log.warning("%s failed and gets no more events: %s", place, in_one_line(error))


def installed_sources() -> list[Source]:
    """The entry points of the group "bench", by distribution and name."""
    found = sorted(entry_points(group="bench"), key=lambda point: (_origin(point), point.name))
    return [Source(point.name, _origin(point), point.load) for point in found]


def given_source(plugin: object) -> Source:
    """A plugin that is handed over instead of being installed."""
    if isinstance(plugin, Source):
        return plugin
    name = getattr(plugin, "__name__", type(plugin).__name__)
    return Source(name, f"{name}, not installed", lambda: plugin)


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"


def _check_hooks(pm: pluggy.PluginManager, plugin: object) -> None:
    """Raises BenchError where the hooks of a plugin that was just registered cannot be right."""
    implemented = [caller.name for caller in pm.get_hookcallers(plugin) or []]
    try:
        pm.check_pending()  # lets pass what is marked optionalhook=True, for hooks of a later version
    except pluggy.PluginValidationError:
        unknown = next(hook for hook in implemented if hook not in HOOKS)
        raise BenchError(f"there is no hook {unknown!r}.{nearest(unknown, HOOKS)}") from None
    for hook in HOOKS:
        if hook not in implemented and inspect.isroutine(getattr(plugin, hook, None)):
            raise BenchError(f"{hook} is not marked as a hook: decorate it with @bench.hookimpl")
    if not implemented:
        raise BenchError(f"it implements no hook.{nearest('', HOOKS)}")
