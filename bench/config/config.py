"""What a run is: a preset (TOML), changed by what the user sets, checked, and turned into plugin instances."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, nearest
from bench.plugins.identity import identity
from bench.plugins.options import make, parse_toml, toml_value, value_of
from bench.seeds import Seeds
from bench.ssl.import_weights import Checkpoint
from bench.ssl.settings import EncoderSettings, ProbeSettings, TrainSettings, ViewSettings
from bench.store import read_text

from .combination import Combination, assign, combine

if TYPE_CHECKING:
    from bench.api import Attack, DatasetPlugin, SSLMethod
    from bench.plugins.manager import Plugins

DEFAULT_PRESET = "laptop"
DETECTION, END = "detection", "end"
UNTIL = (DETECTION, END)
"""Where a run may stop: after the verdict, or after the second training and its measurement."""
_CHOICES = ("dataset", "ssl", "attack", "defense")
"""Kinds of plugins: the `name` in the section of a kind chooses one."""
_TOP = ("seed", "threads")
"""Options outside of the sections."""
MOST_THREADS = 1024
"""Above it torch can crash instead of refusing."""
MOST_SEED = 2**63 - 1
_BY_METHOD = ("views", "train")
"""Sections in which a preset may say something for one SSL method alone, as in [train.byol]."""
_SETTINGS = {"encoder": EncoderSettings, "views": ViewSettings, "train": TrainSettings, "probe": ProbeSettings}


@dataclass(frozen=True, kw_only=True)
class Config:
    """A checked configuration. `resolved` is all of it as JSON-able data: every option, defaults included.

    threads: of the CPU, that every stage computes with whose numbers can depend on that.
    threat_checkpoint: where the threat model is imported from (None: it is trained). until: one of UNTIL, DETECTION of
    a defense that only judges; it decides which stages are made, and changes none of them, so `resolved` does not have
    it.
    asked: the arguments of `load_config` that made it, from which the same configuration can be made again.
    """

    preset: str
    seed: int
    threads: int
    dataset: DatasetPlugin
    ssl: SSLMethod
    attack: Attack
    defense: Combination
    encoder: EncoderSettings
    views: ViewSettings
    train: TrainSettings
    probe: ProbeSettings
    threat_checkpoint: Checkpoint | None = None
    until: str = END
    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def seeds(self) -> Seeds:
        """The root of this run's seeds."""
        return Seeds(self.seed)

    @property
    def resolved(self) -> dict[str, Any]:
        chosen = {name: getattr(self, name) for name in _CHOICES}
        plugins = {k: v.identity() if isinstance(v, Combination) else identity(v) for k, v in chosen.items()}
        sections = {name: dataclasses.asdict(getattr(self, name)) for name in _SETTINGS}
        sections["encoder"] = self.encoder.identity()
        threat = {"threat": self.threat_checkpoint.facts} if self.threat_checkpoint else {}
        return {"seed": self.seed, "threads": self.threads, **plugins, **sections, **threat}


def preset_names() -> list[str]:
    """The presets that ship with the benchmark."""
    return sorted(
        p.name.removesuffix(".toml") for p in files("bench.config.presets").iterdir() if p.name.endswith(".toml")
    )


def read_preset(name: str) -> dict[str, Any]:
    """A preset by name, or a TOML file by its path, as plain data; what `extends` names stands below it. Raises
    BenchError."""
    data = _parse_preset(name)
    seen = [name]
    while "extends" in data:
        base = data.pop("extends")
        if not isinstance(base, str) or base in seen:
            raise BenchError(f"preset {seen[-1]!r}: extends = {base!r}, expected the name of another preset")
        seen.append(base)
        data = _merged(_parse_preset(base), data)
    return data


def _text_of(path: Path) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise BenchError(f"cannot read the preset file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BenchError(f"the preset file {path} is not UTF-8: {error}") from error


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on `base`: sections are merged, anything else replaced."""
    both = {k: _merged(base[k], v) for k, v in over.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {**base, **over, **both}


def _parse_preset(name: str) -> dict[str, Any]:
    if name.endswith(".toml"):
        path = Path(name)
        if not path.exists():
            raise BenchError(f"no preset file {name!r}. Presets by name: {', '.join(preset_names())}.")
        text = _text_of(path)
    elif name in preset_names():
        text = (files("bench.config.presets") / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise BenchError(f"unknown preset {name!r}.{nearest(name, preset_names())}")
    try:
        return copy.deepcopy(_parsed(text))
    except ValueError as error:
        raise BenchError(f"preset {name!r} is not valid TOML: {error}") from error


_parsed = lru_cache(maxsize=32)(parse_toml)  # a matrix reads the same preset for every cell


def parse_setting(text: str) -> tuple[list[str], Any]:
    """'defense.masks=128' -> (['defense', 'masks'], 128). The value is TOML; anything else is a string."""
    path, found, value = text.partition("=")
    keys = path.strip().split(".")
    if not found or not all(keys) or len(keys) > 3:
        raise BenchError(f"--set {text!r} cannot be read. Expected SECTION.OPTION=VALUE, as in defense.masks=128.")
    return keys, toml_value(value)


def load_config(
    plugins: Plugins,
    preset: str = DEFAULT_PRESET,
    *,
    choices: Mapping[str, str | None] | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    until: str = END,
) -> Config:
    """The preset, then the chosen plugins ({"attack": "htba", ...}), then each --set, checked.

    until: one of UNTIL. Options that a preset gives for another plugin of the same kind are left out. Raises BenchError
    naming every bad option of the first bad section.
    """
    data = read_preset(preset)
    _check_sections(data, preset)
    chosen = {kind: name for kind, name in (choices or {}).items() if name is not None}
    names = {kind: chosen.get(kind, data.get(kind, {}).get("name")) for kind in _CHOICES}
    for kind, name in names.items():
        if name is None:
            raise BenchError(f"no {kind} was chosen: give --{kind} NAME")
    values = {kind: _preset_options(plugins, data, kind, name) for kind, name in names.items() if kind != "defense"}
    values |= {section: data.get(section, {}) for section in _SETTINGS}
    values |= {section: _for_method(plugins, values[section], names["ssl"]) for section in _BY_METHOD}
    values["top"] = {"seed": data.get("seed", 0) if seed is None else seed, "threads": data.get("threads", 1)}
    classes = {kind: plugins.get(kind, names[kind]) for kind in _CHOICES if kind != "defense"} | _SETTINGS
    changes = []
    for setting in settings:
        section, keys, text = _checked_setting(setting)
        if section == "defense":
            changes.append((keys, text))
        else:
            values[section] = dict(values[section])
            value = toml_value(text) if section == "top" else value_of(classes[section], keys, text)
            if (section, keys) == ("top", ["seed"]) and seed not in (None, value):
                raise BenchError(f"{setting!r} and a seed of {seed}: give one of them")
            assign(values[section], keys, value)
    asked = {"preset": preset, "choices": chosen, "settings": list(settings), "seed": values["top"]["seed"]}
    defense = combine(plugins, names["defense"], data.get("defense", {}), changes)
    _check_until(until, defense)
    ends = DETECTION if defense.only_judges else until
    return Config(
        preset=Path(preset).stem if preset.endswith(".toml") else preset,
        asked=asked if until == END else {**asked, "until": until},
        until=ends,
        seed=_whole("seed", values["top"]["seed"], 0, MOST_SEED),
        threads=_whole("threads", values["top"]["threads"], 1, MOST_THREADS),
        defense=defense,
        **{kind: plugins.make(kind, names[kind], values[kind]) for kind in ("dataset", "ssl", "attack")},
        **{section: make(cls, values[section], f"[{section}]") for section, cls in _SETTINGS.items()},  # type: ignore[type-var]
    )


def _preset_options(plugins: Plugins, data: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """What a preset says for a plugin: what it says for the one that it is a variant of, then for itself."""
    given, base = data.get(kind, {}), plugins.get(kind, name).variant_of
    return {**given.get(base, {}), **given.get(name, {})}


def _for_method(plugins: Plugins, section: Mapping[str, Any], method: str) -> dict[str, Any]:
    """A preset's section as it is for an SSL method: [train], then [train.byol] where the method is `byol`."""
    known = plugins.names("ssl")
    tables = {name: value for name, value in section.items() if name in known and isinstance(value, dict)}
    return {name: value for name, value in section.items() if name not in tables} | tables.get(method, {})


def _checked_setting(text: str) -> tuple[str, list[str], str]:
    """(section, keys in it, text of the value) of a --set; what is outside of the sections is in the section "top"."""
    (section, *keys), _ = parse_setting(text)
    value = text.partition("=")[2]
    if section in _TOP and not keys:
        return "top", [section], value
    known = [*_CHOICES, *_SETTINGS]
    if section not in known:
        raise BenchError(f"--set {text!r}: unknown section {section!r}.{nearest(section, [*known, *_TOP])}")
    if not keys or keys[0] == "name":
        instead = f"; another {section} is chosen by --{section} NAME" if section in _CHOICES else ""
        raise BenchError(f"--set {text!r}: expected {section}.OPTION=VALUE{instead}")
    return section, keys, value


def _check_sections(data: Mapping[str, Any], preset: str) -> None:
    sections = [*_CHOICES, *_SETTINGS]
    known = [*sections, "purpose", *_TOP]
    for name, section in data.items():
        if name not in known:
            raise BenchError(f"preset {preset!r}: unknown section {name!r}.{nearest(name, known)}")
        if name in sections and not isinstance(section, dict):
            raise BenchError(f"preset {preset!r}: {name} is {section!r}, expected a section [{name}]")
        for key, inner in section.items() if name in _CHOICES else ():
            if not isinstance(inner, str if key == "name" else dict):
                raise BenchError(
                    f"preset {preset!r}: cannot use {key} = {inner!r} in [{name}]. "
                    f'Expected name = "NAME", and the options of each {name} in a section [{name}.NAME]'
                )


def _check_until(until: str, defense: Combination) -> None:
    if until not in UNTIL:
        raise BenchError(f"until is {until!r}; expected one of {', '.join(UNTIL)}.{nearest(str(until), UNTIL)}")
    if until == DETECTION and defense.training_change is not None:
        name = defense.training_change.name
        raise BenchError(
            f"{defense.name}: {name} is only about the new encoder, which a run until {DETECTION} does not make; "
            f"leave out {name}, or run until {END}"
        )


def _whole(name: str, value: object, low: int, high: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        room = f"{low} or more" if high is None else f"{low} to {high}"
        raise BenchError(f"{name} must be a whole number, {room}, got {value!r}")
    return value
