"""What PoisonCAM and PatchSearch share: one search with a locator, a poison score and a cluster score."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from bench import (
    Arrays,
    BenchError,
    Defense,
    Grouping,
    ProgressCallback,
    RowFunction,
    Seeds,
    Verdict,
    View,
    nearest,
)

from .defaults import Scale, ScaledOptions, in_range, option, planned, scale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .clusters import Clustering
    from .iterate import Scored
    from .locator import Locator

GROUP = 32  # images located and flip-tested with one seed; part of the outcome, hence no option
EDITION = 2  # of search="fast": another gives other verdicts


class Scoring(NamedTuple):
    """A request: the poison scores of the images at `indices` (n,) and where their candidates are, or of the candidates
    in `boxes` (n, 4), on a part (start, stop) of the flip set."""

    indices: NDArray[np.int64]
    seeds: Seeds
    boxes: NDArray[np.int64] | None
    part: tuple[int, int | None]


@dataclass(frozen=True, kw_only=True)
class TriggerSearch(ScaledOptions, Defense):
    """Clusters, candidate triggers, flip test, search, classifier. None = by the rule of search/defaults.py."""

    needs = frozenset({"encoder"})
    locates: ClassVar[str]
    flip_kind: ClassVar[str]
    cluster_score: ClassVar[str]

    samples: int = option(2, "images scored per live cluster and round")
    drop: float = option(0.25, "share of live clusters dropped per round, in (0, 1]")
    leave_out: float = option(0.1, "share of scored images, the highest, kept out of training, in [0, 1)")
    members: int = option(5, "networks in the poison classifier")
    search: Literal["exact", "folded", "bf16", "fast"] = option("exact", "exact, or quicker: see search/quick.py")

    def __post_init__(self) -> None:
        one_of(self, "search")
        in_range("samples", self.samples, 1)
        in_range("members", self.members, 1)
        if not 0 < self.drop <= 1:
            raise BenchError(f"drop={self.drop}: expected a share in (0, 1]")
        if not 0 <= self.leave_out < 1:
            raise BenchError(f"leave_out={self.leave_out}: expected a share in [0, 1)")

    def identity(self) -> dict[str, Any]:
        """See Plugin. The exact search is not named in it: it is what there was before there was a choice."""
        named = {"fast": f"fast, edition {EDITION}"}
        found = super().identity() | {"search": named.get(self.search, self.search)}
        return {name: value for name, value in found.items() if (name, value) != ("search", "exact")}

    @abstractmethod
    def passes(self, size: int, window: int) -> int:
        """How many images the locator encodes for each image that it looks at."""

    @abstractmethod
    def locator(self, clustering: Clustering, settings: Scale) -> Locator:
        """The part that finds each image's candidate trigger."""

    def clean(self, view: View) -> Verdict:
        """Remove every image for which the mean logit of the poison classifier's networks is over 0."""
        clustering, settings = self._clustered(view)
        scored = self._searched(view, clustering, self._scorer(view, clustering, settings), settings)
        return self._verdict(view, clustering, scored, settings)

    def _searched(self, view: View, clustering: Clustering, score: Callable[..., Any], settings: Scale) -> Scored:
        """The images that the search looks at, with their poison scores."""
        from .iterate import Search

        search = Search(samples=self.samples, drop=self.drop, cluster_score=self.cluster_score)
        scored = search(view, clustering.labels, score)
        return self._tested_on(view, clustering, scored, score, settings) if self.search == "fast" else scored

    def attention(
        self, view: View, indices: Sequence[int] | NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """For pictures: the locator's maps (n, S, S) of the images at `indices`, and their windows (n, 4).

        Needs the view that `clean` had (its seeds; without its saved steps the clusters are learnt again, the same).
        PoisonCAM's masks are drawn anew, for each image from a seed of its own: in the search they depend on the round,
        so that its windows there can be some pixels off these.
        """
        import torch

        from .locator import best_window

        clustering, settings = self._clustered(view)
        locate = self.locator(clustering, settings)
        maps = []
        for index in np.asarray(indices, np.int64):
            own = torch.tensor(clustering.labels[[index]], device=view.device)
            images = view.batch([index]).to(view.device)
            maps.append(locate.maps(images, own, view.seeds("attention", int(index))))
        found = torch.cat(maps)
        return found.cpu().numpy(), best_window(found, settings.window).cpu().numpy()

    def grouping(self, view: View, verdict: Verdict) -> Grouping | None:
        """For pictures: the clusters, and their scores as the search left them.

        Needs the view that `clean` had, as `attention` does.
        """
        if verdict.trigger_score is None:
            return None
        clustering, settings = self._clustered(view)
        add, word = (np.nansum, "sum") if self.cluster_score == "sum" else (np.nanmax, "highest")
        groups = [verdict.trigger_score[clustering.labels == number] for number in range(settings.clusters)]
        score = np.array([np.nan if np.isnan(group).all() else add(group) for group in groups])
        return Grouping(clustering.labels, score, f"{word} of the trigger scores of its scored images")

    def forwards(self, count: int, size: int) -> int:
        """All images once, and for every image scored the locator's passes and the flip set."""
        settings = self.settings(size, count)
        each = self.encoded(size, settings.window) + self.flips(settings, self.scored(size, count))
        return count + settings.flip_set + round(self.scored(size, count) * each)

    def trained_on(self, count: int, size: int) -> int:
        """The poison classifier's members times their batches. A member stops between the first chance to and the last
        batch; the geometric mean of the two stands for it (measured: 256 of 300 on average)."""
        from .classifier import BATCH, CHECK_EVERY, FLAT_CHECKS

        most = self.settings(size, count).iterations
        return round(self.members * sqrt(min(most, CHECK_EVERY * FLAT_CHECKS) * most) * BATCH)

    def scored(self, size: int, count: int) -> int:
        """How many of `count` images the search scores, if no cluster runs out."""
        return min(count, planned(self.settings(size, count).clusters, self.samples, self.drop))

    def flips(self, settings: Scale, scored: int) -> float:
        """How many images of the flip set each of `scored` candidates is pasted on, on average."""
        from .halving import seen_on_average

        if self.search != "fast":
            return settings.flip_set
        return seen_on_average(settings.flip_set, scored, settings.top_k)

    def encoded(self, size: int, window: int) -> float:
        """How many of the locator's passes are left to make: `passes`, less those expected to repeat another."""
        return self.passes(size, window)

    def _clustered(self, view: View) -> tuple[Clustering, Scale]:
        from .clusters import learn

        settings = self.settings(view.size, len(view))
        return learn(view, settings.clusters, settings.batch), settings

    def in_force(self, count: int, size: int) -> dict[str, Any]:
        """The options, with what search/defaults.py chooses where they leave it to the rule."""
        return {**asdict(self), **asdict(self.settings(size, count))}

    def settings(self, size: int, count: int) -> Scale:
        """The parameters in force for `count` images of `size` px."""
        names = {item.name for item in fields(Scale)} | {"samples", "drop"}
        return scale(size, count, **{name: getattr(self, name) for name in names})

    def _scorer(self, view: View, clustering: Clustering, settings: Scale) -> Callable[..., Any]:
        """Indices -> poison scores and boxes, GROUP images at a time (see iterate.ScoreImages). With search="fast" the
        scores are pulls, the flips are what else is known, both on the first images of the flip set, or on those and in
        the boxes that are given."""
        from .halving import SEEN

        fast = self.search == "fast"
        rows = view.map_rows(partial(self.scoring, clustering.facts, settings))
        first = (0, SEEN[0] if fast else None)

        def score(
            indices: NDArray[np.int64],
            seeds: Seeds,
            tell: Callable[[int], None],
            boxes: NDArray[np.int64] | None = None,
            part: tuple[int, int | None] = first,
        ) -> Arrays:
            found: Arrays = rows(Scoring(indices, seeds, boxes, part), len(indices), GROUP, tell)
            pulls = found.pop("pulls")
            return found | {"scores": pulls, "flips": found["scores"]} if fast else found

        return score

    def _tested_on(
        self, view: View, clustering: Clustering, scored: Scored, score: Callable[..., Any], settings: Scale
    ) -> Scored:
        """The same images, their scores those of all of the flip set: see halving.py. One saved step a rung."""
        from .flip_test import flip_set
        from .halving import Outcome, halved

        def test(rows: NDArray[np.int64], start: int, stop: int) -> Outcome:
            def compute() -> Arrays:
                tell = lambda done: view.progress(f"flip test, {stop} images", done, len(rows))  # noqa: E731
                which, seeds = scored.indices[rows], view.seeds("flips", stop)
                found: Arrays = score(which, seeds, tell, scored.boxes[rows], (start, stop))
                return found

            found = view.step(f"flips-{stop}", compute)
            return Outcome(found["flips"], found["scores"])

        seeds = view.seeds("flip set")
        whole = len(flip_set(clustering.labels, clustering.distances, settings.flip_set, seeds))
        scores = halved(Outcome(scored.more["flips"], scored.scores.astype(np.float64)), whole, settings.top_k, test)
        return replace(scored, scores=scores)

    def scoring(self, facts: Arrays, settings: Scale, view: View) -> RowFunction:
        """What makes scores (n,) and boxes (n, 4), both int64, and pulls (n,) float64 (see flip_test.py) of a Scoring,
        GROUP images with one seed."""
        import torch

        from .clusters import restored
        from .flip_test import FlipTest, cut, flip_set
        from .quick import quickened

        clustering = restored(view, facts, settings.batch)
        quick = replace(clustering, clusters=quickened(clustering.clusters, self.search))
        locate = self.locator(quick, settings)
        chosen = flip_set(clustering.labels, clustering.distances, settings.flip_set, view.seeds("flip set"))
        test_images = view.batch(chosen).to(view.device)
        flip = FlipTest(quick.clusters, test_images, self.flip_kind)

        def score(what: Scoring, start: int, stop: int, done: ProgressCallback) -> Arrays:
            indices, seeds, given, seen = what
            scores = np.empty(stop - start, dtype=np.int64)
            boxes = np.empty((stop - start, 4), dtype=np.int64)
            pulls = np.empty(stop - start)
            for first in range(start, stop, GROUP):
                rows = slice(first, min(first + GROUP, stop))
                group, part = indices[rows], slice(rows.start - start, rows.stop - start)
                images = view.batch(group).to(view.device)
                own = torch.tensor(clustering.labels[group], device=view.device)
                if given is None:
                    found = locate(images, own, seeds.child("locate", first))
                else:
                    found = torch.tensor(given[rows], device=view.device)
                tested = flip.tested(cut(images, found), own, seeds.child("flip", first), *seen)
                scores[part], pulls[part] = (each.cpu().numpy() for each in tested)
                boxes[part] = found.cpu().numpy()
                done(len(group))
            return {"scores": scores, "boxes": boxes, "pulls": pulls}

        return score

    def _verdict(self, view: View, clustering: Clustering, scored: Scored, settings: Scale) -> Verdict:
        import torch

        from .classifier import TrainingData, ensemble, split
        from .flip_test import cut

        parts = split(len(view), scored.indices, scored.scores, settings.top_k, self.leave_out)
        trigger_score, boxes = np.full(len(view), np.nan), np.full((len(view), 4), -1, dtype=np.int64)
        trigger_score[scored.indices], boxes[scored.indices] = scored.scores, scored.boxes
        lesson = TrainingData(
            patches=cut(view.batch(parts.top), torch.tensor(boxes[parts.top])),
            pool=parts.pool,
            held_out=view.batch(np.concatenate([parts.top, parts.bottom])),
            truth=np.arange(2 * settings.top_k) < settings.top_k,
        )
        opinion = ensemble(view, lesson, settings, self.members)
        facts = {
            **asdict(settings),
            "clusters_filled": len(np.unique(clustering.labels)),
            "passes_per_image": self.passes(view.size, settings.window),
            "images_scored": len(scored.indices),
            "rounds": scored.rounds,
            "classifier_images": len(parts.pool),
            "classifier_f1": [history[-1] for history in opinion.f1],
            "classifier_checks": [len(history) for history in opinion.f1],
        }
        keep, score = opinion.margin <= 0, opinion.probability
        return Verdict(keep=keep, score=score, trigger_score=trigger_score, boxes=boxes, facts=facts)


def one_of(options: Any, name: str) -> None:
    """Raises BenchError when the value of the option `name` is none of its type's, a Literal."""
    value, known = getattr(options, name), get_args(get_type_hints(type(options))[name])
    if value not in known:
        raise BenchError(f"{name}={value!r} is not known.{nearest(str(value), known)}")
