"""The stages of a scan, and what they leave."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Images, Verdict
from bench.errors import BenchError
from bench.isolation.verdict import read_verdict
from bench.pipeline.clean import DefenseTask
from bench.pipeline.events import Notify
from bench.pipeline.pretrain import encoder_of
from bench.pipeline.runner import make_stage
from bench.pipeline.stage import Machine, ProgressReport, Stage
from bench.report.attention import look_through
from bench.store import ArtifactBuilder, Store, read_arrays, read_json, write_arrays, write_json

from .encoders import Chosen, Origin, encoder_stage
from .listing import Listing
from .reading import Gathered, images_stage

if TYPE_CHECKING:
    from .evidence import Evidence

FEWEST = 100
"""A search for what many images share needs many images."""


@dataclass(frozen=True)
class Scan:
    """One folder, one encoder (a quick scan: none), one defense. Nothing is computed until `read` and `judge`.

    Each property needs the stages before its own.
    """

    listing: Listing
    chosen: Chosen
    store: Store
    machine: Machine

    def read(self, notify: Notify) -> None:
        """The first stage: read the files. Raises BenchError where too few can be."""
        size = self.chosen.size
        self.machine.check(self.chosen.config.train)
        self.store.check_writable(0 if self.made(self.reading) else len(self.listing.names) * 3 * size * size)
        make_stage(self.reading, self.store, notify)
        if len(self.images) < FEWEST:
            faulty = sum(map(bool, self.gathered.faults)) + len(self.listing.gone)
            raise BenchError(
                f"{self.listing.root} has {len(self.images)} different images that can be read ({faulty} files "
                f"cannot); expected {FEWEST} or more, better thousands: what is looked for is what many share"
            )

    def judge(self, notify: Notify) -> None:
        """The other stages: what of them is not in the store."""
        for stage in self.stages[1:]:
            make_stage(stage, self.store, notify)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All four, or the two that need no encoder, once the images are read."""
        if self.quick:
            return (self.reading, self.search)
        return (self.reading, self.encoder, self.search, self.evidence)

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

    @property
    def images(self) -> Images:
        """Every different image once."""
        return self.gathered.images

    @cached_property
    def encoder(self) -> Stage:
        count, fingerprint = len(self.images), self.gathered.fingerprint
        return encoder_stage(self.chosen, lambda: self.images, count, fingerprint, self.machine)

    @cached_property
    def task(self) -> DefenseTask:
        """The defense on the images that were read."""
        encoder = {} if self.quick else {"encoder": self.encoder.key}
        return DefenseTask(
            config=self.chosen.config,
            defense=self.chosen.defense,
            images=lambda: self.images,
            count=len(self.images),
            machine=self.machine,
            encoder=lambda: self._folder(self.encoder),
            inputs={"dataset": self.gathered.fingerprint, **encoder},
        )

    @cached_property
    def search(self) -> Stage:
        return self.task.stage()

    @cached_property
    def verdict(self) -> Verdict:
        """What the defense said of each image."""
        return read_verdict(self._folder(self.search))

    @cached_property
    def evidence(self) -> Stage:
        """Measures, and maps of the most suspicious images for the page."""
        config = self.chosen.config

        def make(making: ArtifactBuilder, report: ProgressReport) -> None:
            from .evidence import gather

            encoder = encoder_of(self._folder(self.encoder), config, self.chosen.size, self.machine)
            progress = lambda done, total: report("windows", done, total)  # noqa: E731
            found = gather(self.images, encoder, self.verdict, config.seeds.child("scan"), progress)
            write_json(making.dir / "evidence.json", found.facts)
            write_arrays(
                making.dir / "suspects.npz", {"suspects": found.suspects, **self._maps(found.suspects, making)}
            )

        return Stage(
            name="evidence",
            title="weigh the evidence",
            config={"seed": config.seed, "threads": config.threads},
            inputs={"search": self.search.key, "encoder": self.encoder.key},
            make=make,
        )

    def _maps(self, suspects: NDArray[np.int64], making: ArtifactBuilder) -> dict[str, NDArray[Any]]:
        """Where the defense looks on its suspects, {"maps": (n, S, S) float32}; {} where it locates nothing."""
        if not len(suspects):
            return {}
        isolated = self.task.isolated(making.scratch / "attention", self.store.root)
        found = look_through(isolated, self.chosen.defense, suspects)
        return {} if found is None else {"maps": found.maps}

    def weighed(self) -> tuple[Evidence, NDArray[np.float32] | None]:
        """What the last stage left: the evidence, and the maps (n, S, S) of its suspects where there are any."""
        from .evidence import Evidence, unweighed

        if self.quick:
            return unweighed(self.verdict), None
        folder = self._folder(self.evidence)
        arrays = read_arrays(folder / "suspects.npz")
        return Evidence.of(read_json(folder / "evidence.json"), arrays["suspects"]), arrays.get("maps")

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
