"""The options of a plugin class: dataclass fields, their meaning, and instances from checked values."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bench.errors import BenchError, in_one_line, nearest

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

P = TypeVar("P")
REQUIRED = dataclasses.MISSING
"""Stands in `Option.default` for an option that must be given."""


@dataclass(frozen=True)
class Option:
    """One option: its type as written in the class, its default (or REQUIRED), and what it does."""

    name: str
    type: str
    default: Any
    doc: str


def options(cls: type) -> list[Option]:
    """The options of a plugin class, or of any dataclass, in the order of its fields."""
    return [
        Option(field.name, _type_text(field), _default(field), _doc(cls, field))
        for field in dataclasses.fields(cls)
        if field.init
    ]


def _type_text(field: dataclasses.Field[Any]) -> str:
    return field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _doc(cls: type, field: dataclasses.Field[Any]) -> str:
    """The metadata "help" of the field, or of the one it overrides; else the class docstring's line "name: text", else
    ''."""
    for base in cls.__mro__:
        known = getattr(base, "__dataclass_fields__", {}).get(field.name)
        if known is not None and "help" in known.metadata:
            return str(known.metadata["help"])
    line = re.compile(rf"^\s*{field.name}(?: \([^)]*\))?:\s+(.+)$", re.MULTILINE)
    found = (line.search(base.__doc__ or "") for base in cls.__mro__)
    return next((match.group(1).strip() for match in found if match), "")


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML document. Raises ValueError where it is none, nested too deep, or has a whole number of over 64 bits."""
    try:
        found = tomllib.loads(text)
        _check_numbers(found)
        return found
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _check_numbers(value: object) -> None:
    if isinstance(value, int) and value.bit_length() > 64:
        raise ValueError("a whole number in it has more than 64 bits")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_numbers(inner)


def toml_value(text: str) -> Any:
    """`text` as a TOML value; as it is where it is none."""
    try:
        found = parse_toml(f"value = {text}")
        return found["value"] if len(found) == 1 else text  # another line is no part of a value
    except ValueError:  # also of a whole number with more digits than Python reads
        return text


def value_of(cls: type, keys: Sequence[str], text: str) -> Any:
    """What `text`, from a command line, means for the option keys[0] of `cls`, or for a key of it that is a table.

    TOML, but text for an option that takes text: there 007, 1e3, true and nan are names of classes or files. An option
    that takes whole numbers, too, gets one where the text is how one is written.
    """
    declared = {option.name: option.type.removesuffix(" | None") for option in options(cls)}
    kind = declared.get(keys[0], "") if len(keys) == 1 else ""
    if kind in _TEXTS:
        return _text(text, kind)
    several = re.fullmatch(r"(?:tuple|list)\[(.+?)(?:, \.\.\.)?\]", kind)
    if several and several[1] in _TEXTS and re.fullmatch(rf"\s*\[{_ITEM}(,{_ITEM})*(,\s*)?\]\s*", text):
        return [_text(item.strip(), several[1]) for item in re.findall(_ITEM, text.strip()[1:-1]) if item.strip()]
    return toml_value(text)


_TEXTS = ("str", "str | int", "int | str")
_ITEM = r"""(?:\s*"(?:[^"\\]|\\.)*"\s*|\s*'[^']*'\s*|[^,"'\[\]]+)"""


def _text(text: str, kind: str) -> str | int:
    value = toml_value(text)
    if isinstance(value, str) or ("int" in kind and type(value) is int and str(value) == text.strip()):
        return value
    return text.strip()


def make(cls: type[P], values: Mapping[str, Any], what: str) -> P:
    """An instance of the dataclass `cls` with `values` as options, converted to their types where that loses nothing.

    Raises BenchError, opening with "bad options for {what}", that names every bad option: what was got, what
    was expected, and for an unknown one the nearest known. A ValueError of the class's own checks, too.
    """
    known = {option.name: option.type for option in options(cls)}
    problems = [f"unknown option {key!r}.{nearest(key, known)}" for key in values if key not in known]
    wrong = [key for key in values if key in known and _is_truth(values[key]) and _NUMBERS.search(known[key])]
    problems += [f"option {key!r}: expected {known[key]}, got {values[key]!r}" for key in wrong]
    made, more = _validated(cls, {key: values[key] for key in values if key in known and key not in wrong}, known)
    if made is None or problems:
        raise BenchError("\n- ".join([f"bad options for {what}:", *problems, *more]))
    return made


_NUMBERS = re.compile(r"^(?!.*\b(bool|Any|object)\b).*\b(int|float)\b")


def _is_truth(value: object) -> bool:
    """Whether it is or holds a truth value, which pydantic would take for the number 1 or 0."""
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_is_truth, value)))


def _validated(cls: type[P], values: dict[str, Any], known: Mapping[str, str]) -> tuple[P | None, list[str]]:
    """The instance, or None and a sentence for every bad option."""
    import pydantic
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    try:
        checker = _checker(cast("Any", cls))
    except Exception as error:  # pydantic's own, and what evaluating an annotation raises
        return None, [f"the types of its options cannot be checked: {in_one_line(error).splitlines()[0]}"]
    try:
        made: P = checker.validate_python(values)
        return made, []
    except pydantic.ValidationError as error:
        return None, _sentences(error.errors(include_url=False), known)
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        return None, [f"the types of its options cannot be checked: {str(error).splitlines()[0]}"]
    except BenchError:
        raise
    except Exception as error:  # a plugin's own check
        return None, [f"its own check failed: {in_one_line(error)}"]


@lru_cache(maxsize=256)  # a large matrix makes the same few plugins thousands of times
def _checker(cls: type) -> TypeAdapter[Any]:
    import pydantic

    return pydantic.TypeAdapter(cls)


def _sentences(errors: list[ErrorDetails], known: Mapping[str, str]) -> list[str]:
    """One sentence for every bad option; of the several errors of a union or tuple the first is told."""
    told: dict[str, str] = {}
    for error in errors:
        name = str(error["loc"][0]) if error["loc"] else ""
        reason = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if not name:
            told.setdefault(name, reason)
        elif error["type"] == "missing" and len(error["loc"]) == 1:
            told.setdefault(name, f"option {name!r} must be given: {known[name]}")
        else:
            told.setdefault(name, f"option {name!r}: expected {known[name]}, {_got(error)} ({reason})")
    return list(told.values())


def _got(error: ErrorDetails) -> str:
    return f"got {error['input']!r}" + (f" at {error['loc'][1:]}" if len(error["loc"]) > 1 else "")
