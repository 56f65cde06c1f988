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
from bench.errors import BenchError, nearest

from . import hookspecs
from .options import REQUIRED, Option, make, options
from .registry import KINDS, Broken, Entry, in_one_line, offers, path

__all__ = ["REQUIRED", "Broken", "Entry", "Option", "Plugins", "options"]

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
        self._known: dict[str, list[Entry | Broken]] = {}
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
        if len(self._unloaded) > before:
            raise BenchError(str(self._unloaded.pop()))

    def _register(self, source: Source) -> None:
        """Import one plugin and check its hooks; a plugin with any bad hook is left out as a whole."""
        try:
            problem = self._add(source.load(), source)
        except (Exception, SystemExit) as error:  # a module may call sys.exit while it is imported
            problem = in_one_line(error)
        if problem is not None:
            self._unloaded.append(Broken(source.name, source.origin, problem))

    def _add(self, plugin: object, source: Source) -> str | None:
        """Register `plugin` and return None, or leave nothing registered and return the problem in words."""
        if self._pm.is_registered(plugin):
            return "the same module or object is loaded already, under another name; drop one of the two"
        label = f"{source.name} #{len(self._origins) + len(self._unloaded)}"
        try:
            self._pm.register(plugin, label)
            problem = _hook_problem(self._pm, plugin)
        except pluggy.PluginValidationError as error:
            problem = str(error)
        if problem is not None:
            if self._pm.is_registered(plugin):  # newer versions of pluggy unregister it themselves
                self._pm.unregister(plugin)
            return problem
        self._origins[label] = source.origin
        return None

    def _offered(self, kind: str) -> list[Entry | Broken]:
        """What every plugin offers of `kind`, in order of loading, names offered twice included."""
        if kind not in KINDS:
            raise BenchError(f"unknown kind of plugin {kind!r}.{nearest(kind, KINDS)}")
        if kind not in self._known:
            self._known[kind] = [
                offer
                for call in self._calls(KINDS[kind].hook)
                for offer in offers(call.function, kind, self._origins[call.plugin_name])
            ]
        return self._known[kind]

    def _calls(self, hook: str) -> list[pluggy.HookImpl]:
        """The implementations of `hook`, one by plugin, in order of loading."""
        caller: pluggy.HookCaller = getattr(self._pm.hook, hook)
        return caller.get_hookimpls()

    def _clashes(self, kind: str) -> dict[str, str]:
        """Names of `kind` that are offered more than once -> where from."""
        places: dict[str, list[str]] = {}
        for offer in self._offered(kind):
            if isinstance(offer, Entry):
                places.setdefault(offer.name, []).append(f"{offer.origin} ({path(offer.cls)})")
        return {name: " and ".join(found) for name, found in places.items() if len(found) > 1}

    @property
    def broken(self) -> list[Broken]:
        """Everything that cannot be used, names offered twice included. Loads the classes of every kind."""
        found = list(self._unloaded)
        for kind in KINDS:
            found += [offer for offer in self._offered(kind) if isinstance(offer, Broken)]
            clashes = self._clashes(kind).items()
            found += [Broken(name, places, _clash(kind, name)) for name, places in clashes]
        return found

    def entries(self, kind: str) -> list[Entry]:
        """The usable classes of `kind` ("attack", "defense", "dataset", "ssl"), by name."""
        clashes = self._clashes(kind)
        offered = [offer for offer in self._offered(kind) if isinstance(offer, Entry)]
        return sorted((e for e in offered if e.name not in clashes), key=lambda entry: entry.name)

    def names(self, kind: str) -> list[str]:
        """The names of the usable classes of `kind`, sorted."""
        return [entry.name for entry in self.entries(kind)]

    def entry(self, kind: str, name: str) -> Entry:
        """The entry of that name. Raises BenchError with the nearest name and what is broken."""
        for entry in self.entries(kind):
            if entry.name == name:
                return entry
        places = self._clashes(kind).get(name)
        if places:
            raise BenchError(f"{_clash(kind, name)}: {places}. Rename one, or uninstall it (leave its --plugin out).")
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
            if call.plugin_name not in self._muted:
                self._call(call, [facts[name] for name in call.argnames])

    def _call(self, call: pluggy.HookImpl, values: list[Any]) -> None:
        try:
            call.function(*values)
        except Exception as error:
            self._muted.add(call.plugin_name)
            place = f"{call.function.__name__} of {self._origins[call.plugin_name]}"
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


def _hook_problem(pm: pluggy.PluginManager, plugin: object) -> str | None:
    """Why the hooks of a plugin that was just registered cannot be right, or None."""
    implemented = [caller.name for caller in pm.get_hookcallers(plugin) or []]
    try:
        pm.check_pending()  # lets pass what is marked optionalhook=True, for hooks of a later version
    except pluggy.PluginValidationError:
        unknown = next(hook for hook in implemented if hook not in HOOKS)
        return f"there is no hook {unknown!r}.{nearest(unknown, HOOKS)}"
    for hook in HOOKS:
        if hook not in implemented and inspect.isroutine(getattr(plugin, hook, None)):
            return f"{hook} is not marked as a hook: decorate it with @bench.hookimpl"
    return None if implemented else f"it implements no hook.{nearest('', HOOKS)}"


def _clash(kind: str, name: str) -> str:
    return f"{KINDS[kind].word} {name!r} is offered twice, so neither is used"
