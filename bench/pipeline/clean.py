"""The stage in which a defense judges the poisoned training images, through its view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.api import Defense, Images, Verdict
from bench.config.config import Config
from bench.data.images import Subset
from bench.isolation import proctor
from bench.isolation.proctor import Watch
from bench.isolation.verdict import check_verdict, write_verdict
from bench.plugins.identity import identity
from bench.store import ArtifactBuilder, StepCache, digest

from .pretrain import EncoderSource, encoder_of
from .stage import Machine, ProgressReport, Stage

if TYPE_CHECKING:
    from bench.api import RowMapper, View
    from bench.isolation.view import DefenderView, MakePart
    from bench.parallel.shards import Shards

T = TypeVar("T")


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

    def make(making: ArtifactBuilder, report: ProgressReport) -> None:
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
    report: ProgressReport = lambda *_, **__: None,
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
    report: ProgressReport,
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
