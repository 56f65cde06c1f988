"""What `--defense` names: one plugin, "filter+change" or "filter+repair"; and the options that each part gets."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.api import Control, Defense, Detector, EncoderTest, Judge, Plugin, Repair, TrainingDefense
from bench.errors import BenchError, nearest
from bench.plugins.identity import identity
from bench.plugins.options import options, value_of

if TYPE_CHECKING:
    from bench.plugins.manager import Plugins

Setting = tuple[list[str], str]
"""The keys behind "defense." of a --set, one or two, and the text of its value."""


@dataclass(frozen=True, kw_only=True)
class Combination:
    """Who chooses the images (a filter or a control), and what changes the second training or, a repair, takes its
    place, if anything does. Or who only judges, test images or the encoder: then nothing is chosen, and nothing trained
    again.

    Two filters, or two changes, are refused: each filter judges the whole set by the encoder trained on all of it, so
    an order would mean nothing; so is a change with a repair, which has a loss of its own. The order of the names does
    not matter.
    """

    filter: Judge | Control
    training_change: TrainingDefense | Repair | None = None
    reference: Defense | None = None
    """The defense that a control is measured against."""

    @property
    def name(self) -> str:
        """Canonical: "poisoncam+icutmix", in whichever order it was requested; a change alone has its own name."""
        return "+".join(part.name for part in self.parts)

    @property
    def parts(self) -> list[Plugin]:
        """Those that do something, the filter first; with no change the filter, even "none"."""
        if self.training_change is None:
            return [self.filter]
        return [*([self.filter] if self.filter.name != "none" else []), self.training_change]

    @property
    def control(self) -> bool:
        """Whether it sees the truth."""
        return isinstance(self.filter, Control)

    @property
    def only_judges(self) -> bool:
        """Whether it is a detector or an encoder test: the run ends with what it says."""
        return isinstance(self.filter, Detector | EncoderTest)

    @property
    def baseline(self) -> bool:
        """Whether it is a plain score to compare defenses with; one that also changes the training is not."""
        return self.training_change is None and isinstance(self.filter, Judge) and self.filter.baseline

    def identity(self) -> dict[str, Any]:
        """JSON-able: a single plugin's own identity, else one under each part's name."""
        reference = {"rival": identity(self.reference)} if self.reference else {}  # the key is part of stored results
        if len(self.parts) == 1:
            return {**identity(self.parts[0]), **reference}
        return {"name": self.name, **{part.name: identity(part) for part in self.parts}, **reference}


def combine(plugins: Plugins, text: str, presets: Mapping[str, Any], settings: Sequence[Setting]) -> Combination:
    """The combination that `text` names, with the options of the preset and of each --set.

    A --set goes to every part that has the option ("masks"), or to the part it names ("poisoncam.masks"). Raises
    BenchError for a combination that cannot be, and for an option that no part has.
    """
    builder = _Builder(plugins, presets, settings)
    parts = [builder.make(name.strip()) for name in text.split("+")]
    _check_alone(text, parts)
    filters = [part for part in parts if isinstance(part, Judge | Control)]
    changes = [part for part in parts if isinstance(part, TrainingDefense | Repair)]
    for found, what in ((filters, "defenses that choose images"), (changes, "training changes or repairs")):
        if len(found) > 1:
            names = " and ".join(repr(part.name) for part in found)
            raise BenchError(f"--defense {text}: {names} are both {what}; a combination has one of each at most")
    chosen = filters[0] if filters else builder.make("none")
    reference = None
    if isinstance(chosen, Control) and chosen.reference:
        name = getattr(chosen, chosen.reference)
        reference = builder.make(name)
        if not isinstance(reference, Defense):
            raise BenchError(f"{chosen.name}: {chosen.reference} is {name!r}, expected a defense that removes images")
    builder.check_all_used()
    return Combination(filter=chosen, training_change=changes[0] if changes else None, reference=reference)


def _check_alone(text: str, parts: Sequence[Plugin]) -> None:
    """Raises BenchError for a combination with a detector or an encoder test, which chooses no images."""
    found = next((part for part in parts if isinstance(part, Detector | EncoderTest)), None)
    if found is not None and len(parts) > 1:
        what = "scores test images" if isinstance(found, Detector) else "judges the encoder"
        raise BenchError(
            f"--defense {text}: {found.name!r} {what}, and nothing is trained on what it says: it goes with no other "
            f"defense. Run them one by one: --defense {found.name}"
        )


def own_keys(name: str, keys: list[str]) -> list[str]:
    """What a setting means for the part of that name: without the name, where it begins with it."""
    return keys[1:] if keys[0] == name and len(keys) > 1 else keys


def reaches(keys: list[str], known: Mapping[str, Container[str]]) -> bool:
    """Whether a part has the option that a setting sets; `known`: the options of each part by its name."""
    return any(own_keys(name, keys)[0] in options for name, options in known.items())


def assign(options: dict[str, Any], keys: list[str], value: Any) -> None:
    """options[keys[0]] = value, or options[keys[0]][keys[1]] = value for an option that is a table."""
    if len(keys) == 1:
        options[keys[0]] = value
        return
    inner = options.get(keys[0], {})
    options[keys[0]] = {**(inner if isinstance(inner, dict) else {}), keys[1]: value}


class _Builder:
    """Makes the parts of one combination, and knows which settings found a part."""

    def __init__(self, plugins: Plugins, presets: Mapping[str, Any], settings: Sequence[Setting]) -> None:
        self._plugins, self._presets, self._settings = plugins, presets, settings
        self._known: dict[str, list[str]] = {}

    def make(self, name: str) -> Any:
        """The plugin of that name with its options."""
        cls: type[Plugin] = self._plugins.get("defense", name)
        self._known[name] = [option.name for option in options(cls)]
        values = dict(self._presets.get(name, {}))
        for keys, text in self._settings:
            own = own_keys(name, keys)
            if own[0] in self._known[name]:
                assign(values, own, value_of(cls, own, text))
        return self._plugins.make("defense", name, values)

    def check_all_used(self) -> None:
        """Raises BenchError for the first setting that no part knows."""
        every = sorted({option for known in self._known.values() for option in known})
        for keys, _ in self._settings:
            if not reaches(keys, self._known):
                named = keys[0] in self._known and len(keys) > 1
                wanted, owners = (keys[1], [keys[0]]) if named else (keys[0], list(self._known))
                names = " or ".join(repr(owner) for owner in owners)
                raise BenchError(
                    f"bad options for defense {names}:\n- unknown option {wanted!r}.{nearest(wanted, every)}"
                )
