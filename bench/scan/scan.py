"""The stages of a scan, and what they leave."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Defense, Images, Verdict
from bench.config.config import Config
from bench.errors import BenchError
from bench.isolation.verdict import read_verdict
from bench.pipeline.clean import DefenseTask
from bench.pipeline.events import Notify
from bench.pipeline.pretrain import encoder_of
from bench.pipeline.runner import make_stage
from bench.pipeline.stage import Machine, ProgressReport, Stage
from bench.report.attention import look_through
from bench.report.tables import patches
from bench.store import ArtifactBuilder, Store, read_arrays, read_json, write_arrays, write_json

from .encoders import Chosen, Origin, encoder_stage
from .listing import Listing
from .lists import shortened, tally
from .picture import opened
from .reading import Gathered, images_stage
from .twins import picture_of

if TYPE_CHECKING:
    from torch import Tensor

    from .evidence import Evidence

LOOK = "look for patches that recur"
FEWEST = 100
"""A search for what many images share needs many images."""


@dataclass(frozen=True)
class Scan:
    """One set of images; a quick look at them, and one encoder and one defense (a quick scan: neither). Nothing is
    computed until `read`, `take_look` and `judge`.

    Each property needs the stages before its own.
    """

    listing: Listing
    chosen: Chosen
    store: Store
    machine: Machine

    def read(self, notify: Notify) -> None:
        """The first stage: read the files. Raises BenchError where too few can be."""
        size = self.chosen.size
        if self.chosen.origin is Origin.TRAINED:
            self.machine.check(self.chosen.config.train)
        needed = len(self.listing.names) * 3 * size * size + self.listing.unpacked
        self.store.check_writable(0 if self.made(self.reading) else needed)
        make_stage(self.reading, self.store, notify)
        if len(self.images) < FEWEST:
            named = "; ".join(shortened(self.unreadable))
            raise BenchError(
                f"{self.listing.source} holds {tally(self.listing.tried, len(self.unreadable), len(self.images))}; "
                f"expected {FEWEST} images or more, better thousands: what is looked for is what many share"
                f"{f'. Unreadable: {named}' if named else ''}"
            )

    def take_look(self, notify: Notify) -> None:
        """The second stage: patches that come back, without an encoder."""
        make_stage(self.look, self.store, notify)

    def judge(self, notify: Notify) -> None:
        """The other stages: what of them is not in the store."""
        for stage in self.stages[2:]:
            make_stage(stage, self.store, notify)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All five, or the two that need no encoder, once the images are read."""
        if self.quick:
            return (self.reading, self.look)
        return (self.reading, self.look, self.encoder, self.search, self.evidence)

    @property
    def quick(self) -> bool:
        """Whether it has no encoder."""
        return self.chosen.origin is Origin.NONE

    @cached_property
    def reading(self) -> Stage:
        return images_stage(self.listing, self.chosen.size)

    @cached_property
    def gathered(self) -> Gathered:
        """What was read."""
        return Gathered(self._folder(self.reading))

    @cached_property
    def unreadable(self) -> list[tuple[str, str]]:
        """Files that cannot be read: path, why."""
        listing = self.listing
        faults = zip(listing.names, self.gathered.faults, strict=True)
        found = [*((name, fault) for name, fault in faults if fault), *listing.gone.items()]
        return sorted((listing.given(name), why) for name, why in found)

    @property
    def images(self) -> Images:
        """Every different image once."""
        return self.gathered.images

    @cached_property
    def encoder(self) -> Stage:
        count, fingerprint = len(self.images), self.gathered.fingerprint
        return encoder_stage(self.chosen, lambda: self.images, count, fingerprint, self.machine)

    @cached_property
    def picture(self) -> NDArray[np.int64]:
        """Which picture each image is, near-duplicates counted as one; see twins.py."""
        return picture_of(self.images)

    @cached_property
    def task(self) -> DefenseTask:
        """The defense on the images that were read, with the encoder."""
        return self._task(self.chosen.config, {"encoder": self.encoder.key})

    def _task(self, config: Config, encoder: dict[str, str]) -> DefenseTask:
        defense = config.defense.filter
        assert isinstance(defense, Defense)
        return DefenseTask(
            config=config,
            defense=defense,
            images=lambda: self.images,
            count=len(self.images),
            machine=self.machine,
            encoder=lambda: self._folder(self.encoder),
            inputs={"dataset": self.gathered.fingerprint, **encoder},
        )

    @cached_property
    def look(self) -> Stage:
        """The quick look."""
        return dataclasses.replace(self._task(self.chosen.look, {}).stage(), title=LOOK)

    @cached_property
    def seen(self) -> Verdict:
        """What the quick look says of each image."""
        return read_verdict(self._folder(self.look))

    @cached_property
    def patches(self) -> list[dict[str, Any]]:
        """The patches that recur, as the quick look found them: "picture" (a PNG in base64), "size" (height and width
        in px), "images" (how many bear it) and more."""
        found = self.seen.facts.get("triggers", ())
        return [each for each in found if patches({"triggers": [each]})]

    @cached_property
    def pictures(self) -> list[Tensor]:
        """Each of `patches` as uint8 (3, h, w)."""
        return [opened(each, self.images.size) for each in self.patches]

    @cached_property
    def bears(self) -> NDArray[np.int64]:
        """Which of `patches` each image bears, (N,): its place, -1 for none."""
        found, rows = np.full(len(self.images), -1, np.int64), np.flatnonzero(~self.seen.keep)
        if self.patches and self.seen.boxes is not None:
            from .matching import borne

            found[rows] = borne(self.images, rows, self.seen.boxes[rows], self.pictures)
        return found

    def alone(self) -> Scan:
        """Its quick look as a scan of its own."""
        chosen = dataclasses.replace(self.chosen, config=self.chosen.look, origin=Origin.NONE, checkpoint=None)
        found = dataclasses.replace(self, chosen=chosen)
        vars(found).update(gathered=self.gathered, picture=self.picture)
        return found

    @cached_property
    def search(self) -> Stage:
        return self.task.stage()

    @cached_property
    def verdict(self) -> Verdict:
        """What the defense said of each image; of a quick scan, what the quick look says."""
        return self.seen if self.quick else read_verdict(self._folder(self.search))

    @cached_property
    def evidence(self) -> Stage:
        """Measures, and maps of the most suspicious images for the page."""
        config = self.chosen.config

        def make(making: ArtifactBuilder, report: ProgressReport) -> None:
            from .evidence import gather

            encoder = encoder_of(self._folder(self.encoder), config, self.chosen.size, self.machine)
            progress = lambda done, total: report("windows", done, total)  # noqa: E731
            seeds = config.seeds.child("scan")
            found = gather(
                self.images, encoder, self.verdict, seeds, progress, picture=self.picture, patches=self.pictures
            )
            write_json(making.dir / "evidence.json", found.facts)
            write_arrays(making.dir / "evidence.npz", {**found.arrays, **self._maps(found.suspects, making)})

        return Stage(
            name="evidence",
            title="weigh the evidence",
            config={"seed": config.seed, "threads": config.threads},
            inputs={"look": self.look.key, "search": self.search.key, "encoder": self.encoder.key},
            make=make,
        )

    def _maps(self, suspects: NDArray[np.int64], making: ArtifactBuilder) -> dict[str, NDArray[Any]]:
        """Where the defense looks on its suspects, {"maps": (n, S, S) float32}; {} where it locates nothing."""
        if not len(suspects):
            return {}
        isolated = self.task.isolated(making.apart / "attention", self.store.root)
        found = look_through(isolated, self.chosen.defense, suspects)
        return {} if found is None else {"maps": found.maps}

    def weighed(self) -> tuple[Evidence, NDArray[np.float32] | None]:
        """What the last stage left: the evidence, and the maps (n, S, S) of its suspects where there are any."""
        from .evidence import Evidence, unweighed

        if self.quick:
            return unweighed(self.verdict, self.picture), None
        folder = self._folder(self.evidence)
        arrays = read_arrays(folder / "evidence.npz")
        return Evidence.of(read_json(folder / "evidence.json"), arrays), arrays.get("maps")

    def made(self, stage: Stage) -> bool:
        """Whether it is in the store."""
        return self.store.find(stage.name, stage.key) is not None

    def seconds(self) -> dict[str, float]:
        """What each stage took when it was made, by its title."""
        found = {stage.title: self.store.meta(stage.name, stage.key) for stage in self.stages}
        return {title: float(meta["seconds"]) for title, meta in found.items() if meta}

    def _folder(self, stage: Stage) -> Path:
        found = self.store.find(stage.name, stage.key)
        if found is None:
            raise BenchError(f"stage {stage.title!r} has gone from the store {self.store.root}; run the command again")
        return found
