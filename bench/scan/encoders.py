"""How a scan is made: its quick look, its search, and its encoder: trained by a preset, from a file, or timm's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import Control, Defense, Images
from bench.config.config import Config, load_config
from bench.errors import BenchError, counted
from bench.pipeline.pretrain import import_stage, pretrain_stage
from bench.pipeline.stage import Machine, ProgressReport, Stage
from bench.ssl.import_weights import Checkpoint
from bench.ssl.settings import EncoderSettings
from bench.store import ArtifactBuilder

if TYPE_CHECKING:
    from bench.plugins.manager import Plugins

SMALL_SET = 3500
"""Up to so many images the preset `laptop` (20 epochs) fits best, above it `cifar10-cpu` (12): 32 px, on a CPU."""
SEARCH = "poisoncam"
"""The defense that searches where none is named."""
QUICK, ALONE = "recur", "defense.effect=false"
"""The defense of a quick scan, and the setting by which it asks no encoder."""


Channels = tuple[float, float, float]
USUAL: dict[str, Channels] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""ImageNet's (`data.augment`, which loads torch): what nearly everybody trains with."""


class Origin(StrEnum):
    """Where an encoder comes from: trained here, a checkpoint file, timm's pretrained weights. Quick scans: none."""

    TRAINED = "trained"
    FILE = "file"
    TIMM = "timm"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A scan's configuration (its dataset, attack and probe are not used), that of its quick look, which asks no
    encoder, the width in px at which images are judged, and where the encoder comes from."""

    config: Config
    look: Config
    size: int
    origin: Origin
    checkpoint: Checkpoint | None = None

    @property
    def defense(self) -> Defense:
        """What searches; `choose` has made sure that it is one."""
        return _finder(self.config)

    @property
    def normalisation(self) -> dict[str, Channels]:
        """What the encoder's images are normalised by: the `mean` taken from red, green and blue, and the `std`."""
        return {**USUAL, **self.config.encoder.normalisation}

    @property
    def encoder_words(self) -> str:
        """The encoder in words."""
        if self.origin is Origin.NONE:
            return "none"
        if self.origin is Origin.TRAINED:
            return (
                f"trained on these images (preset {self.config.preset}, {counted(self.config.train.epochs, 'epoch')})"
            )
        name = self.checkpoint.path.name if self.checkpoint else f"timm's {self.config.encoder.backbone}"
        return f"{name}, not trained here"


def choose(
    plugins: Plugins,
    count: int,
    *,
    train: str | None = None,
    encoder: str | None = None,
    defense: str | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    size: int | None = None,
    quick: bool = False,
    mean: str | None = None,
    std: str | None = None,
) -> Chosen:
    """The configuration for a folder of `count` files. `encoder`: a checkpoint file or a timm name; `size`: in px;
    `quick`: no encoder, and the defense QUICK; `mean`, `std`: "R,G,B" in [0, 1], what `encoder` normalises by.

    At another size than the preset's, its window gives way to the paper's share of the width, and local views keep
    theirs. Raises BenchError.
    """
    if train and encoder:
        raise BenchError(
            "--train trains an encoder on the images, --encoder takes one: give one of them. For a checkpoint, "
            "--set encoder.backbone=NAME says what it is."
        )
    if (mean or std) and not encoder:
        raise BenchError(
            "--mean and --std say how the images of an --encoder are normalised: give one, or leave them out"
        )
    if quick:
        _check_quick({"--train": train, "--encoder": encoder, "--defense": defense})
        defense, settings = QUICK, [ALONE, *settings]
    _check_settings(settings, encoder, quick)
    preset = train or ("laptop" if count <= SMALL_SET else "cifar10-cpu")
    config = load_config(plugins, preset, choices={"defense": defense or SEARCH}, settings=settings, seed=seed)
    needs = _finder(config).needs
    if quick and "encoder" in needs:
        raise BenchError(f"--quick asks no encoder, so {ALONE} stands: leave out the --set that changes it, or --quick")
    own = [text for text in settings if not text.startswith("defense.")]
    look = (
        config if quick else load_config(plugins, preset, choices={"defense": QUICK}, settings=[ALONE, *own], seed=seed)
    )
    usual = int(getattr(config.dataset, "size", 32))
    width, origin, checkpoint = size or usual, Origin.NONE if quick else Origin.TRAINED, None
    if encoder and (path := Path(encoder).expanduser()).is_file():
        origin, checkpoint = Origin.FILE, Checkpoint.of(path)
    elif encoder:
        from bench.ssl.backbone import pretrained_normalisation

        facts = _timm_facts(encoder)
        width, origin = size or int(facts.input_size[-1]), Origin.TIMM
        config = dataclasses.replace(
            config, encoder=EncoderSettings(backbone=encoder, **pretrained_normalisation(encoder))
        )
    given: dict[str, Any] = {
        "mean": _channels("--mean", mean, USUAL["mean"], least=0),
        "std": _channels("--std", std, USUAL["std"], least=1e-3),
    }
    given = {name: value for name, value in given.items() if value is not None}
    config = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, **given))
    return Chosen(
        config=_resized(config, usual, width),
        look=look,
        size=width,
        origin=origin,
        checkpoint=checkpoint,
    )


def _channels(option: str, text: str | None, usual: Channels, *, least: float) -> Channels | None:
    """Three numbers from `least` to 1; None where nothing was given. Raises BenchError."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(least <= value <= 1 for value in values):
        raise BenchError(
            f"{option} {text}: expected three numbers R,G,B from {least:g} to 1, of images in [0, 1], as "
            f"{','.join(map(str, usual))} (divide numbers up to 255 by 255)"
        )
    return values[0], values[1], values[2]


def _check_settings(settings: Sequence[str], encoder: str | None, quick: bool) -> None:
    """Raises BenchError for a setting that a scan of this kind does not look at."""
    idle = ["attack", "probe"]
    if quick or encoder:
        idle += ["train", "views", "ssl"]
    if quick or (encoder and not Path(encoder).expanduser().is_file()):
        idle += ["encoder"]
    for text in settings:
        section = text.partition(".")[0]
        if section in idle:
            how = " --quick" if quick else " with --encoder" if encoder and section not in ("attack", "probe") else ""
            raise BenchError(f"--set {text}: a scan{how} has no use for {section}.*; leave it out")


def _check_quick(others: Mapping[str, str | None]) -> None:
    given = " and ".join(name for name, value in others.items() if value)
    if given:
        raise BenchError(
            f"--quick and {given} exclude each other: a quick scan has no encoder and searches by {QUICK}. Leave out "
            f"{given} for the quick scan, --quick for the full one."
        )


def _finder(config: Config) -> Defense:
    """The defense of `config`. Raises BenchError where it is none that can search."""
    defense, name = config.defense.filter, config.defense.name
    if not isinstance(defense, Defense):
        what = (
            "a control needs the truth, which a scan has not" if isinstance(defense, Control) else "it removes nothing"
        )
        raise BenchError(f"--defense {name}: {what}. Take poisoncam.")
    if config.defense.training_change is not None or name == "none":
        raise BenchError(f"--defense {name}: expected one that finds poisoned images and no more, as poisoncam does")
    return defense


def _resized(config: Config, usual: int, size: int) -> Config:
    """`config` for images of `size` px where its preset is for `usual`."""
    if size == usual:
        return config
    views = dataclasses.replace(config.views, local_size=max(4, round(config.views.local_size * size / usual)))
    defense: Any = config.defense.filter
    if any(field.name == "window" for field in dataclasses.fields(defense)):
        own = any(text.startswith("defense.") and ".window=" in text for text in config.asked["settings"])
        defense = defense if own else dataclasses.replace(defense, window=None)
    return dataclasses.replace(config, views=views, defense=dataclasses.replace(config.defense, filter=defense))


def _timm_facts(name: str) -> Any:
    """timm's description of its pretrained weights of that name. Raises BenchError where there are none."""
    import difflib

    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise BenchError(f"--encoder {name!r} is neither a file nor a model of timm.{hint}")
    facts = timm.get_pretrained_cfg(name)
    if facts is None or not facts.has_weights:
        raise BenchError(f"--encoder {name}: timm has no weights for it; `timm.list_pretrained()` lists what has some")
    return facts


def encoder_stage(
    chosen: Chosen, images: Callable[[], Images], count: int, fingerprint: str, machine: Machine
) -> Stage:
    """The stage that leaves encoder.safetensors, whichever way."""
    if chosen.origin is Origin.TRAINED:
        inputs = {"dataset": fingerprint, "poison": "none", "kept": "all"}
        return pretrain_stage(chosen.config, images, count, machine, inputs, "train an encoder on the images")
    if chosen.checkpoint is None:
        stage = _timm_stage(chosen.config.encoder, chosen.size)
    else:
        stage = import_stage(chosen.config, chosen.checkpoint, chosen.size)

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
        try:
            stage.make(making, report)
        except BenchError as error:
            raise BenchError(str(error).replace("--threat-checkpoint", "--encoder")) from error

    return dataclasses.replace(stage, make=make)


def _timm_stage(settings: EncoderSettings, size: int) -> Stage:
    """Fetches timm's pretrained weights. Raises BenchError where that fails."""
    import timm

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
        from safetensors.torch import save_file

        from bench.ssl.backbone import sized
        from bench.ssl.train import ENCODER_FILE

        options = sized(settings.backbone, settings.options, size)
        try:
            module = timm.create_model(settings.backbone, pretrained=True, num_classes=0, **options)
        except Exception as error:  # the network, the hub and timm each raise their own kinds
            raise BenchError(f"--encoder {settings.backbone}: its weights cannot be had: {error}") from error
        save_file({name: value.contiguous() for name, value in module.state_dict().items()}, making.dir / ENCODER_FILE)

    facts = timm.get_pretrained_cfg(settings.backbone)
    return Stage(
        name="import",
        title=f"fetch timm's {settings.backbone}",
        config={
            "timm": settings.backbone,
            "tag": str(facts.tag if facts else ""),
            "size": size,
            **settings.normalisation,  # of the same weights, but all that comes after depends on it
        },
        inputs={},
        make=make,
    )
