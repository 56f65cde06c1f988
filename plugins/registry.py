"""What plugins offer: the kinds, the classes that can be used, and what is wrong with the others."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from bench import api as types
from bench.errors import in_one_line

from .options import options


class Kind(NamedTuple):
    """A kind of plugin: the hook that offers it, its word in messages, the bases that its classes may have."""

    hook: str
    word: str
    bases: tuple[type[types.Plugin], ...]


KINDS = {
    "attack": Kind("bench_attacks", "attack", (types.Attack,)),
    "defense": Kind("bench_defenses", "defense", get_args(types.AnyDefense)),
    "dataset": Kind("bench_datasets", "dataset", (types.DatasetPlugin,)),
    "ssl": Kind("bench_ssl_methods", "SSL method", (types.SSLMethod,)),
}
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Names go into command lines, file names and combinations ("a+b"): no space, no '/', no '+'."""
FACTS = {"name", "paper", "url", "needs", "baseline", "variant_of"}
"""What is said of a class, and so is no option of it."""
_KINDS_OF_FACTS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "needs": ((frozenset, set), 'a frozenset of names, as in frozenset({"encoder"})'),
    "variant_of": (str, "a text"),
    "baseline": (bool, "True or False"),
    "__doc__": (str, "a text"),
}
URL = re.compile(r"https?://[^\s\"'<>]+")
LONGEST = 500
"""Characters of a plugin's paper or url."""


@dataclass(frozen=True)
class Entry:
    """A class that can be used, and the distribution that offers it ("ssl-backdoor-bench 0.1.0")."""

    name: str
    kind: str
    origin: str
    cls: type[types.Plugin]


@dataclass(frozen=True)
class Broken:
    """A plugin, or one class of it, that cannot be used, and why."""

    name: str
    origin: str
    error: str

    def __str__(self) -> str:
        return f"{self.name} ({self.origin}): {self.error}"


def offers(hook: Callable[[], Any], kind: str, origin: str) -> Iterator[Entry | Broken]:
    """What one plugin's `hook` says, class by class; a hook that raises or returns no list is one Broken."""
    try:
        offered = hook()
        if not isinstance(offered, list | tuple):
            raise TypeError(f"it returned {type(offered).__name__}, expected a list of classes")
    except Exception as error:
        yield Broken(KINDS[kind].hook, origin, in_one_line(error))
        return
    for cls in offered:
        try:
            place, problem = path(cls), class_problem(cls, KINDS[kind].bases)
        except Exception as error:  # what is shown of it cannot be
            place, problem = f"a {type(cls).__name__}", f"it is too odd to say why: {in_one_line(error)}"
        if problem is None:
            yield Entry(cls.name, kind, origin, cls)
        else:
            yield Broken(place, origin, problem)


def class_problem(cls: object, bases: tuple[type[types.Plugin], ...]) -> str | None:
    """Why `cls` cannot be used as a kind of one of `bases`, or None."""
    if not (inspect.isclass(cls) and issubclass(cls, bases)):
        return f"it is not a subclass of {' or '.join(f'bench.{base.__name__}' for base in bases)}"
    if inspect.isabstract(cls):
        return f"it does not implement {', '.join(sorted(getattr(cls, '__abstractmethods__', ())))}"
    # Not dataclasses.is_dataclass: with only a parent decorated, its own options would be lost silently.
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        return "it is not a frozen dataclass: decorate it with @dataclass(frozen=True, kw_only=True)"
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        example = 'name: ClassVar[str] = "mine"'
        return f"its name is {name!r}, expected up to 64 small letters, digits, -, _ or ., as in {example}"
    return _option_problem(cls) or _fact_problem(cls) or _source_problem(cls)


def _option_problem(cls: type) -> str | None:
    """What is wrong with its options, or None: they are listed, and set by name."""
    try:
        known = options(cls)
        repr(known)
    except Exception as error:
        return f"the default of one of its options cannot be made and shown: {in_one_line(error)}"
    taken = sorted(FACTS & {option.name for option in known})
    return f"{taken[0]!r} is an option of it, expected a ClassVar, as of every plugin" if taken else None


def _fact_problem(cls: type) -> str | None:
    """What is wrong with what it says of itself, or None."""
    for name, (kind, words) in _KINDS_OF_FACTS.items():
        value = getattr(cls, name, None)
        if value is not None and not isinstance(value, kind):
            return f"its {name} is {value!r}, expected {words}"
    return None


def _source_problem(cls: type) -> str | None:
    """What is wrong with where the class says that it comes from, or None: pages link to it."""
    paper, url = getattr(cls, "paper", ""), getattr(cls, "url", "")
    if not isinstance(paper, str) or len(paper) > LONGEST:
        return f"its paper is {paper!r}, expected a text of at most {LONGEST} characters"
    if url != "" and not (isinstance(url, str) and len(url) <= LONGEST and URL.fullmatch(url)):
        return f"its url is {url!r}, expected one that begins with https:// or http://, without spaces"
    return None


def path(cls: object) -> str:
    """The full name of a class, or the repr of what should have been one."""
    return f"{cls.__module__}.{cls.__qualname__}" if inspect.isclass(cls) else repr(cls)
