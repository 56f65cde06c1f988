"""What names a plugin that was typed into a notebook or a session, where there is no file: the text of its code.

Read are the functions of its class and of the typed classes that it comes from, then the typed functions, classes and
data that they name, and so on. A cell may be run again without a change: the text is the same, and so is the digest.
"""

from __future__ import annotations

import dataclasses
import dis
import hashlib
import inspect
import pickle
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from bench.errors import BenchError

_NO_CODE = {"paper", "url", "_abc_impl"}
_GENERATED = {"__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__replace__"}
_GENERATED |= {"__lt__", "__le__", "__gt__", "__ge__"}
"""What dataclass makes of the options, where it is code that was read nowhere."""


def typed_digest(cls: type) -> str:
    """Hex SHA-256 of the code of a class without a file. Raises BenchError where its text cannot be read."""
    parts: dict[str, bytes] = {}
    todo: list[tuple[str, Any]] = [(cls.__qualname__, cls)]
    while todo:
        name, value = todo.pop()
        if name in parts or isinstance(value, ModuleType):
            continue
        if not isinstance(value, type | FunctionType):
            parts[name] = _data(name, value, cls)
        elif value.__module__ == cls.__module__:
            parts[name], more = _of_class(value) if isinstance(value, type) else _of_function(name, value, cls)
            todo += more
    hasher = hashlib.sha256()
    for name in sorted(parts):
        for part in (name.encode(), parts[name]):
            hasher.update(len(part).to_bytes(8, "little"))
            hasher.update(part)
    return hasher.hexdigest()


def _of_class(cls: type) -> tuple[bytes, list[tuple[str, Any]]]:
    """A class has no text of its own: all that it is made of follows."""
    more: list[tuple[str, Any]] = [(base.__qualname__, base) for base in cls.__mro__[1:]]
    fields = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    for name, value in vars(cls).items():
        for function in _functions(value):
            written = inspect.unwrap(function).__code__.co_filename != "<string>"
            if written or name not in _GENERATED:
                more.append((f"{cls.__qualname__}.{name}", function))
        plain = not callable(value) and not isinstance(value, staticmethod | classmethod | property)
        if plain and not name.startswith("__") and name not in {*fields, *_NO_CODE}:
            more.append((f"{cls.__qualname__}.{name}", value))
    return b"class", more


def _functions(value: Any) -> Iterator[FunctionType]:
    inner = (getattr(value, name, None) for name in ("__func__", "func", "fget", "fset", "__wrapped__"))
    yield from (each for each in (value, *inner) if isinstance(each, FunctionType))


def _of_function(name: str, function: FunctionType, cls: type) -> tuple[bytes, list[tuple[str, Any]]]:
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        raise BenchError(
            f"the code of {name} cannot be read, so results of {cls.__name__} could not be told from those of another "
            "version: write it in a notebook's cell, or in a file (plugins=[...], --plugin)"
        ) from None
    known: Mapping[str, Any] = {**function.__globals__, **_closure(function)}
    more = [(each, known[each]) for each in sorted(set(_names(function.__code__))) if each in known]
    defaults = {"defaults": function.__defaults__, "keywords": function.__kwdefaults__}
    return text.encode(), [*more, *((f"{name}.{each}", value) for each, value in defaults.items() if value)]


def _closure(function: FunctionType) -> dict[str, Any]:
    return dict(inspect.getclosurevars(function).nonlocals) if function.__closure__ else {}


def _names(code: CodeType) -> Iterator[str]:
    """The global and enclosing names that the code reads, that of inner functions included."""
    yield from (str(each.argval) for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_DEREF"))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _data(name: str, value: Any, cls: type) -> bytes:
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"{value.dtype} {value.shape}".encode() + value.tobytes()
    if isinstance(value, set | frozenset):
        value = sorted(map(repr, value))
    if isinstance(value, str | int | float | bool | tuple | list | None):
        return repr(value).encode()
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise BenchError(
            f"{cls.__name__} uses {name!r}, a {type(value).__name__} that cannot be stored, so its results could not "
            "be told from others: make it an option, or in the method that uses it"
        ) from error
