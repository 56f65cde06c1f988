"""The stages of a run: each a pure function of its configuration, its inputs' hashes and its own code version.

poison -> pretrain -> probe                         the attack without defense
       -> clean -> pretrain -> probe                the same, after a defense
Raise a stage's version when its code changes what it makes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.api import Control, Dataset, Defense, Images, Poison, Split, SplitInfo, TrainingDefense, Truth, Verdict
from bench.config.config import Config
from bench.data.images import Subset
from bench.data.manifest import Manifest
from bench.errors import BenchError
from bench.isolation import proctor
from bench.isolation.proctor import Watch
from bench.plugins.identity import identity
from bench.ssl.import_weights import Checkpoint
from bench.ssl.schedule import Schedule
from bench.store import ArtifactBuilder, StepCache, digest, key_of, read_arrays, write_arrays, write_json

if TYPE_CHECKING:
    import torch

    from bench.api import RowMapper, View
    from bench.isolation.view import DefenderView, MakePart
    from bench.parallel.nodes import Meeting, Party
    from bench.parallel.shards import Shards
    from bench.ssl.encoder import FrozenEncoder
    from bench.ssl.settings import EncoderSettings

T = TypeVar("T")


class Report(Protocol):
    """`done` of `total` units of `what` are through; `numbers`: what was measured there, for trackers."""

    def __call__(self, what: str, done: int, total: int, /, **numbers: float) -> None: ...


VERSIONS = {"poison": 1, "pretrain": 1, "import": 1, "probe": 1, "clean": 2, "control": 1}
VERSIONS |= {"images": 1, "evidence": 1}  # of bench/scan


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where stages run: Lightning Fabric's accelerator name, and how many devices a training, a search and the features
    of a probe take. party: the machines that a training spans, each with so many devices; None for this one."""

    accelerator: str = "auto"
    devices: int = 1
    party: Party | None = None

    @property
    def training_devices(self) -> int:
        """How many a training takes, on all machines together."""
        return self.devices * (self.party.count if self.party else 1)

    def together(self, stage: Stage, folder: Path) -> contextlib.AbstractContextManager[Meeting | None]:
        """Around the training of a stage in this work folder: with the other machines, if any."""
        if self.party is None:
            return contextlib.nullcontext()
        return self.party.training(stage.key, folder.relative_to(folder.parents[1]).as_posix())

    @cached_property
    def device(self) -> torch.device:
        """The device of everything that is not shared out."""
        from bench.ssl.train import open_fabric

        device: torch.device = open_fabric(accelerator=self.accelerator, devices=1).device
        return device

    def shards(self) -> Shards:
        """Shares rows out over the devices, within a `with` block."""
        from bench.parallel.shards import Shards

        return Shards(self.devices, self.accelerator)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One artifact to be: `name` for the store, `title` for people, `make(making, report)` to make it."""

    name: str
    title: str
    config: Any
    inputs: dict[str, str]
    make: Callable[[ArtifactBuilder, Report], None] = field(repr=False)
    work: int = 0
    """Its amount of work in its own unit (training: images seen), for estimates."""

    @property
    def key(self) -> str:
        return key_of(self.name, VERSIONS[self.name], self.config, self.inputs)


# --- poison --------------------------------------------------------------------------------------


def poison_stage(config: Config, dataset: Dataset) -> Stage:
    """Decides which images are poisoned, and how: train.jsonl and val-<trigger>.jsonl."""

    def make(making: ArtifactBuilder, report: Report) -> None:
        seeds = config.seeds.child("attack")
        attack, classes = config.attack, dataset.classes
        rows = attack.poison_train(_scene(dataset.train, dataset), seeds.child("train"))
        _check_rows(rows, dataset.train, attack.targets(classes), attack.name)
        Manifest(dataset.train.ids, rows).save(making.dir / "train.jsonl")
        for trigger in range(len(attack.targets(classes))):
            rows = attack.poison_val(trigger, _scene(dataset.val, dataset), seeds.child("val", trigger))
            if len(rows) != len(dataset.val):
                raise BenchError(f"attack {attack.name!r} must trigger every validation image, it did {len(rows)}")
            Manifest(dataset.val.ids, rows).save(making.dir / f"val-{trigger}.jsonl")

    return Stage(
        name="poison",
        title="poison the images",
        config={"attack": identity(config.attack), "seed": config.seed},
        inputs={"dataset": dataset.fingerprint},
        make=make,
        work=len(dataset.train),
    )


def _scene(split: Split, dataset: Dataset) -> SplitInfo:
    return SplitInfo(labels=split.labels.copy(), classes=dataset.classes, size=dataset.size)


def _check_rows(rows: Sequence[Poison], split: Split, targets: tuple[int, ...], attack: str) -> None:
    """What the harness holds an attack to: poisons of its own triggers, only on images of their target class."""
    if not rows:
        raise BenchError(f"attack {attack!r} poisoned no image; a larger attack.rate?")
    for row in rows:
        if not 0 <= row.trigger < len(targets) or row.target != targets[row.trigger]:
            raise BenchError(f"attack {attack!r} names trigger {row.trigger} -> class {row.target}, not a pair of its")
        if split.labels[row.index] != row.target:
            raise BenchError(f"attack {attack!r} poisoned image {row.index}, which is not of the target class")


# --- pretrain ------------------------------------------------------------------------------------


def pretrain_stage(
    config: Config,
    images: Callable[[], Images],
    count: int,
    machine: Machine,
    inputs: dict[str, str],
    title: str,
    change: TrainingDefense | None = None,
) -> Stage:
    """Trains an encoder on `count` images; `inputs` name them (their dataset, poisons, kept rows)."""

    def make(making: ArtifactBuilder, report: Report) -> None:
        from bench.ssl.train import Job, pretrain

        job = Job(
            images=images(),
            method=config.ssl,
            encoder=config.encoder,
            views=config.views,
            train=config.train,
            change=change,
            seeds=config.seeds.child("pretrain"),
            work=making.dir,
            scratch=making.scratch,
        )

        def tell(done: int, total: int, loss: float, rate: float) -> None:
            report("steps", done, total, **{"loss": loss, "learning rate": rate})

        with machine.together(stage, making.dir) as meeting:
            pretrain(job, tell, machine.devices, machine.accelerator, meeting)

    sections = {name: dataclasses.asdict(getattr(config, name)) for name in ("encoder", "views", "train")}
    sections["train"].pop("loader_workers")
    if change is not None:
        sections["change"] = identity(change)
    if machine.training_devices > 1:  # batch normalisation takes its statistics from one device's share
        sections["devices"] = {"count": machine.training_devices}
    stage = Stage(
        name="pretrain",
        title=title,
        config={"ssl": identity(config.ssl), "seed": config.seed, **sections},
        inputs=inputs,
        make=make,
        work=Schedule(config.train, count, config.seeds).steps * config.train.batch,
    )
    return stage


def import_stage(config: Config, checkpoint: Checkpoint, size: int) -> Stage:
    """Makes what a pretrain stage makes from an encoder that was trained elsewhere, for images of `size` px."""

    def make(making: ArtifactBuilder, report: Report) -> None:
        from safetensors.torch import save_file

        from bench.ssl.import_weights import import_encoder
        from bench.ssl.train import ENCODER_FILE

        tensors, left_out = import_encoder(checkpoint.path, config.encoder, size)
        save_file(tensors, making.dir / ENCODER_FILE)
        write_json(making.dir / "import.json", {**checkpoint.facts, "left_out": left_out})

    return Stage(
        name="import",
        title="import the encoder",
        config={"sha256": checkpoint.sha256, "encoder": dataclasses.asdict(config.encoder), "size": size},
        inputs={},
        make=make,
    )


@dataclass(frozen=True)
class EncoderSource:
    """The encoder that a pretrain or an import stage left in `folder`; called with a device, it loads it there."""

    folder: Path
    settings: EncoderSettings
    size: int

    def __call__(self, device: torch.device) -> FrozenEncoder:
        from bench.ssl.encoder import load_encoder
        from bench.ssl.train import ENCODER_FILE

        return load_encoder(self.folder / ENCODER_FILE, self.settings, self.size, device)


def encoder_of(folder: Path, config: Config, size: int, machine: Machine) -> FrozenEncoder:
    """The encoder that a pretrain or an import stage left in `folder`, on the machine's first device."""
    return EncoderSource(folder, config.encoder, size)(machine.device)


# --- probe ---------------------------------------------------------------------------------------


def probe_stage(
    config: Config,
    dataset: Dataset,
    triggered: Callable[[], list[Images]],
    machine: Machine,
    encoder: Callable[[], Path],
    inputs: dict[str, str],
    title: str,
) -> Stage:
    """Linear evaluation: the predictions on the clean and on each triggered validation set."""

    def make(making: ArtifactBuilder, report: Report) -> None:
        from bench.ssl import linear_probe as probe
        from bench.ssl.encoder import feature_maker

        seeds = config.seeds.child("probe")
        rows = probe.labelled_subset(dataset.train.labels, config.probe.fraction, seeds.child("subset"))
        sets = [dataset.val.images, *triggered()]
        report("feature sets", 0, len(sets) + 1)
        found = {}
        with machine.shards() as shards:
            features = feature_maker(EncoderSource(encoder(), config.encoder, dataset.size), machine.device, shards)
            labelled = features(Subset(dataset.train.images, rows))
            fitted = probe.fit(labelled, dataset.train.labels[rows], len(dataset.classes), config.probe, seeds)
            for number, images in enumerate(sets):
                report("feature sets", number + 1, len(sets) + 1)
                found["clean" if number == 0 else f"trigger{number - 1}"] = fitted.predict(features(images))
        write_arrays(making.dir / "predictions.npz", {**found, "labels": dataset.val.labels})
        write_json(making.dir / "probe.json", {"labelled_images": len(rows)})

    return Stage(
        name="probe",
        title=title,
        config={"probe": dataclasses.asdict(config.probe), "seed": config.seed},
        inputs=inputs,
        make=make,
        work=len(dataset.val),
    )


# --- clean ---------------------------------------------------------------------------------------


def clean_stage(
    config: Config,
    defense: Defense,
    poisoned: Callable[[], Images],
    count: int,
    machine: Machine,
    encoder: Callable[[], Path],
    inputs: dict[str, str],
) -> Stage:
    """Lets the defense judge the poisoned training set through its view: verdict.npz and facts.json."""

    def make(making: ArtifactBuilder, report: Report) -> None:
        images = poisoned()
        with machine.shards() as shards:
            asked = sitting(
                config,
                defense,
                images,
                machine,
                encoder,
                making.scratch,
                store=making.dir.parents[1],
                inputs=inputs,
                report=report,
                shards=shards,
            )
            found = asked(defense.clean)
        verdict = check_verdict(found, count, images.size, defense.name)
        write_verdict(asked.unshown(verdict), making.dir)

    return Stage(
        name="clean",
        title=f"find the poison ({defense.name})",
        config={"defense": identity(defense), "seed": config.seed},
        inputs=inputs,
        make=make,
        work=count,
    )


def _watch(config: Config, defense: Defense, store: Path) -> Watch:
    return Watch(
        defense.name,
        proctor.closed_paths(store, vars(config.dataset)),
        allowed=proctor.allowed_paths(store, vars(defense)),
        code=proctor.code_of(defense),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Sitting:
    """A defense asked as a run asks it: by a view in an order that says nothing, in a thread of its own, watched."""

    view: DefenderView
    order: NDArray[np.int64]
    watch: Watch

    def __call__(self, question: Callable[[View], T]) -> T:
        """What the defense answers."""
        from bench.isolation.exam import sit

        return sit(question, self.view, self.watch)

    def places(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the images of the data set at `indices` stand in the view."""
        return self._places[indices]

    def put_back(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the view's images, in the order of the data set."""
        return values[self._places]

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        from bench.isolation.exam import places

        return places(self.order)

    def shown(self, verdict: Verdict) -> Verdict:
        """A verdict on the data set as one on the view; its facts stay as they are."""
        from bench.isolation.exam import rearranged

        return rearranged(verdict, self.order)

    def unshown(self, verdict: Verdict) -> Verdict:
        """A verdict on the view as one on the data set."""
        from bench.isolation.exam import put_back

        return put_back(verdict, self.order)


def sitting(
    config: Config,
    defense: Defense,
    images: Images,
    machine: Machine,
    encoder: Callable[[], Path],
    notebook: Path,
    *,
    store: Path,
    inputs: Mapping[str, str],
    report: Report = lambda *_, **__: None,
    shards: Shards | None = None,
) -> Sitting:
    """Ready to ask `defense` about `images`. inputs: those of its clean stage, which the order of the view hangs on.

    The key of the poison stage is in them, which nobody can work out without the labels and the unpoisoned images (the
    fingerprint of the data set is in that): the run's seed alone is soon guessed.
    """
    from bench.isolation.exam import shuffled

    order = shuffled(config.seeds.child("view", inputs.get("poison") or digest(dict(inputs))), len(images))
    view = defender_view(config, defense, Subset(images, order), machine, encoder, notebook, report, shards)
    return Sitting(view=view, order=order, watch=_watch(config, defense, store))


def defender_view(
    config: Config,
    defense: Defense,
    images: Images,
    machine: Machine,
    encoder: Callable[[], Path],
    notebook: Path,
    report: Report,
    shards: Shards | None = None,
) -> DefenderView:
    """What `defense` may see of `images`; its saved steps lie in `notebook`. Its team is that of `shards`, if any."""
    from bench.isolation.view import DefenderView, Seat, seated

    wanted, seeds = "encoder" in defense.needs, config.seeds.child("defense").sealed()

    def map_rows(shards: Shards, make: MakePart) -> RowMapper:
        source = EncoderSource(encoder(), config.encoder, images.size) if wanted else None
        return shards.map_rows(partial(seated, make, Seat(images, defense.name, source, seeds)))

    return DefenderView(
        images,
        name=defense.name,
        encoder=(lambda: encoder_of(encoder(), config, images.size, machine)) if wanted else None,
        seeds=seeds,
        step=StepCache(notebook).step,
        report=report,
        device=machine.device,
        team=None if shards is None or shards.devices == 1 else partial(map_rows, shards),
    )


def control_stage(
    config: Config,
    control: Control,
    manifest: Callable[[], Manifest],
    reference: Callable[[], Verdict] | None,
    inputs: dict[str, str],
) -> Stage:
    """What a control keeps, in the form of a verdict. Nothing else between poison and metrics sees the truth."""

    def make(making: ArtifactBuilder, report: Report) -> None:
        poisoned = manifest().poisoned
        truth = Truth(poisoned=poisoned, reference_keep=reference().keep if reference else None)
        keep = control.keep(truth, config.seeds.child("control"))
        write_verdict(check_verdict(Verdict(keep=keep), len(poisoned), 0, control.name), making.dir)

    return Stage(
        name="control",
        title=f"choose the images ({control.name}, a control)",
        config={"control": identity(control), "seed": config.seed},
        inputs=inputs,
        make=make,
    )


def write_verdict(verdict: Verdict, folder: Path) -> None:
    """What a clean stage leaves in `folder`."""
    write_arrays(folder / "verdict.npz", verdict.arrays())
    write_json(folder / "facts.json", dict(verdict.facts))


def read_verdict(folder: Path) -> Verdict:
    """What a clean stage left in `folder`."""
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return Verdict(**read_arrays(folder / "verdict.npz"), facts=facts)


def check_verdict(verdict: Verdict, count: int, size: int, defense: str) -> Verdict:
    """The verdict, if it has the promised form; else a BenchError that names what does not fit."""

    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise BenchError(f"defense {defense!r} returned a verdict whose {what}")

    keep = np.asarray(verdict.keep)
    demand(
        keep.dtype == bool and keep.shape == (count,), f"keep is {keep.dtype} {keep.shape}, expected bool ({count},)"
    )
    demand(bool(keep.any()), "keep is all False: it removes the whole training set")
    for name in ("score", "trigger_score"):
        value = getattr(verdict, name)
        if value is not None:
            demand(np.shape(value) == (count,), f"{name} has shape {np.shape(value)}, expected ({count},)")
    if verdict.score is not None:
        demand(bool(np.isfinite(verdict.score).all()), "score holds values that are not finite")
    if verdict.boxes is not None:
        boxes = np.asarray(verdict.boxes)
        demand(boxes.shape == (count, 4), f"boxes have shape {boxes.shape}, expected ({count}, 4)")
        found = boxes[(boxes != -1).any(1)]
        within = ((found >= 0) & (found <= size)).all() and (found[:, :2] + found[:, 2:] <= size).all()
        demand(bool(within), "boxes leave the image")
    return verdict


def kept_digest(keep: NDArray[np.bool_]) -> str:
    """Names a selection by its content; keeping everything is one name, so that it shares the threat model."""
    return "all" if keep.all() else digest(np.packbits(keep).tobytes().hex())
