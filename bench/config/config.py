"""What a run is: a preset (TOML), changed by what the user sets, checked, and turned into plugin instances."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, nearest
from bench.plugins.identity import identity
from bench.plugins.options import make
from bench.seeds import Seeds
from bench.ssl.import_weights import Checkpoint
from bench.ssl.settings import EncoderSettings, ProbeSettings, TrainSettings, ViewSettings

from .combination import Combination, assign, combine

if TYPE_CHECKING:
    from bench.api import Attack, DatasetPlugin, SSLMethod
    from bench.plugins.manager import Plugins

DEFAULT_PRESET = "laptop"
_CHOICES = {"dataset": "dataset", "ssl": "ssl", "attack": "attack", "defense": "defense"}
"""Section of the configuration -> kind of plugin that its `name` chooses."""
_SETTINGS = {"encoder": EncoderSettings, "views": ViewSettings, "train": TrainSettings, "probe": ProbeSettings}


@dataclass(frozen=True, kw_only=True)
class Config:
    """A checked configuration. `resolved` is all of it as JSON-able data: every option, defaults included.

    threat_checkpoint: where the threat model is imported from (None: it is trained).
    asked: the arguments of `load_config` that made it, from which the same configuration can be made again.
    """

    preset: str
    seed: int
    dataset: DatasetPlugin
    ssl: SSLMethod
    attack: Attack
    defense: Combination
    encoder: EncoderSettings
    views: ViewSettings
    train: TrainSettings
    probe: ProbeSettings
    threat_checkpoint: Checkpoint | None = None
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
        threat = {"threat": self.threat_checkpoint.facts} if self.threat_checkpoint else {}
        return {"seed": self.seed, **plugins, **sections, **threat}


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


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on `base`: sections are merged, anything else replaced."""
    both = {k: _merged(base[k], v) for k, v in over.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {**base, **over, **both}


def _parse_preset(name: str) -> dict[str, Any]:
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise BenchError(f"no preset file {name!r}. Presets by name: {', '.join(preset_names())}.")
        text = path.read_text(encoding="utf-8")
    elif name in preset_names():
        text = (files("bench.config.presets") / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise BenchError(f"unknown preset {name!r}.{nearest(name, preset_names())}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BenchError(f"preset {name!r} is not valid TOML: {error}") from error


def parse_setting(text: str) -> tuple[list[str], Any]:
    """'defense.masks=128' -> (['defense', 'masks'], 128). The value is TOML; anything else is a string."""
    path, found, value = text.partition("=")
    keys = path.strip().split(".")
    if not found or not all(keys) or len(keys) > 3:
        raise BenchError(f"--set {text!r} cannot be read. Expected SECTION.OPTION=VALUE, as in defense.masks=128.")
    try:
        return keys, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return keys, value


def load_config(
    plugins: Plugins,
    preset: str = DEFAULT_PRESET,
    *,
    choices: Mapping[str, str | None] | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
) -> Config:
    """The preset, then the chosen plugins ({"attack": "htba", ...}), then each --set, checked.

    Options that a preset gives for another plugin of the same kind are left out. Raises BenchError naming every
    bad option of the first bad section.
    """
    data = read_preset(preset)
    _check_sections(data, preset)
    chosen = {kind: name for kind, name in (choices or {}).items() if name is not None}
    sections = {name: _section(data, name, chosen.get(name)) for name in (*_CHOICES, *_SETTINGS)}
    top = {"seed": data.get("seed", 0) if seed is None else seed}
    defense, changes = sections.pop("defense"), []
    for text in settings:
        keys, value = parse_setting(text)
        if keys[0] == "defense":
            changes.append((_option_keys(keys, text), value))
        else:
            _apply(sections, top, keys, value, text)
    return Config(
        preset=Path(preset).stem if preset.endswith(".toml") else preset,
        seed=_seed(top["seed"]),
        asked={"preset": preset, "choices": chosen, "settings": list(settings), "seed": top["seed"]},
        defense=combine(plugins, defense["name"], data.get("defense", {}), changes),
        **{name: _plugin(plugins, kind, sections[name]) for name, kind in _CHOICES.items() if name in sections},
        **{name: make(cls, sections[name], f"[{name}]") for name, cls in _SETTINGS.items()},  # type: ignore[type-var]
    )


def _section(data: Mapping[str, Any], name: str, chosen: str | None) -> dict[str, Any]:
    """One section's options. Plugins: {"name": ..., options of that plugin}; the preset holds them by name."""
    section = data.get(name, {})
    if name not in _CHOICES:
        return dict(section)
    selected = chosen or section.get("name")
    if selected is None:
        raise BenchError(f"no {name} was chosen: give --{name} NAME")
    return {**section.get(selected, {}), "name": selected}


def _option_keys(keys: list[str], text: str) -> list[str]:
    """What follows the section in a --set. Raises BenchError where nothing does, or the plugin's name."""
    if len(keys) == 1 or keys[1] == "name":
        raise BenchError(f"--set {text!r}: expected {keys[0]}.OPTION=VALUE" + _choose_instead(keys[0]))
    return keys[1:]


def _apply(sections: dict[str, dict[str, Any]], top: dict[str, Any], keys: list[str], value: Any, text: str) -> None:
    if keys == ["seed"]:
        top["seed"] = value
        return
    if keys[0] not in sections:
        known = [*sections, "defense", "seed"]
        raise BenchError(f"--set {text!r}: unknown section {keys[0]!r}.{nearest(keys[0], known)}")
    assign(sections[keys[0]], _option_keys(keys, text), value)


def _choose_instead(section: str) -> str:
    return f"; another {section} is chosen by --{section} NAME" if section in _CHOICES else ""


def _check_sections(data: Mapping[str, Any], preset: str) -> None:
    tables, known = [*_CHOICES, *_SETTINGS], [*_CHOICES, *_SETTINGS, "purpose", "seed"]
    for name, section in data.items():
        if name not in known:
            raise BenchError(f"preset {preset!r}: unknown section {name!r}.{nearest(name, known)}")
        if name in tables and not isinstance(section, dict):
            raise BenchError(f"preset {preset!r}: {name} is {section!r}, expected a section [{name}]")
        for key, inner in section.items() if name in _CHOICES else ():
            if (key == "name") == isinstance(inner, dict):
                raise BenchError(
                    f"preset {preset!r}: cannot use {key} = {inner!r} in [{name}]. "
                    f'Expected name = "NAME", and the options of each {name} in a section [{name}.NAME]'
                )


def _plugin(plugins: Plugins, kind: str, section: Mapping[str, Any]) -> Any:
    return plugins.make(kind, section["name"], {k: v for k, v in section.items() if k != "name"})


def _seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BenchError(f"seed must be a whole number, 0 or more, got {value!r}")
    return value
