"""What a finished scan says of every file, as plain data: for the page, the lists and report.json."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decide import Decision, Finding, decide, decide_quick
from .evidence import Evidence
from .lists import number
from .picture import packed
from .scan import Scan
from .twins import groups_of

ListLine = tuple[str, ...]


@dataclass(frozen=True)
class ScanResult:
    """A finished scan: its evidence, with the images suspected most, and where the defense looks on them, (n, S, S).
    goes_on: it is the quick look of a full scan, and the rest is to follow."""

    scan: Scan
    evidence: Evidence
    maps: NDArray[np.float32] | None
    goes_on: bool = False

    @cached_property
    def decision(self) -> Decision:
        return decide_quick(len(self.scan.patches), self.goes_on) if self.scan.quick else decide(self.evidence)

    @cached_property
    def bears(self) -> NDArray[np.int64]:
        """Which of `patches` each image bears, (N,): its number, from 1; 0 for none."""
        found = self.scan.bears + 1
        return np.where((found == 0) & self._of_windows, len(self.patches), found)

    @cached_property
    def _of_windows(self) -> NDArray[np.bool_]:
        """Which images hold the patch of the windows, where that counts and the quick look has not seen it: (N,)."""
        held = self.evidence.holders if self.decision.windows else np.zeros_like(self.evidence.holders)
        known = (self.scan.bears >= 0) & held
        return held if known.sum() < held.sum() / 2 else np.zeros_like(held)

    @cached_property
    def patches(self) -> list[dict[str, Any]]:
        """The patches that recur: "picture" (a PNG in base64), "size" in words, "images", "pull" and "usual_pull" (None
        where no encoder was asked), "by" (what found it), "counts" (whether what bears it is removed)."""
        evidence, asked = self.evidence, bool(self.evidence.pulls)
        found = [
            {
                "picture": each["picture"],
                "size": of_width(each["size"][0], each["size"][1], self.scan.images.size),
                "images": each["images"],
                "pull": evidence.pulls[place] if asked else None,
                "usual_pull": evidence.usual_pulls[place] if asked else None,
                "by": "the quick look",
                "counts": place in self.decision.patches,
            }
            for place, each in enumerate(self.scan.patches)
        ]
        if self._of_windows.any() and evidence.top and evidence.usual and self.scan.verdict.boxes is not None:
            first = evidence.suspects[evidence.alike][0]
            top, left, height, width = self.scan.verdict.boxes[first].tolist()
            window = self.scan.images.batch([first])[0][:, top : top + height, left : left + width]
            found.append(
                {
                    "picture": packed(window),
                    "size": of_width(height, width, self.scan.images.size),
                    "images": int(self._of_windows.sum()),
                    "pull": evidence.top.pull,
                    "usual_pull": evidence.usual.pull,
                    "by": self.scan.chosen.defense.name,
                    "counts": True,
                }
            )
        return found

    @cached_property
    def keep(self) -> NDArray[np.bool_]:
        """Of the N different images, which to keep (N,): all but those that bear a patch that counts. Where the defense
        locates nothing, as it says."""
        decision = self.decision
        if decision.finding is Finding.UNCLEAR and not decision.windows:
            return self.scan.verdict.keep
        gone = np.isin(self.scan.bears, decision.patches)
        return ~(gone | self.evidence.holders) if decision.windows else ~gone

    @cached_property
    def twins(self) -> list[list[str]]:
        """Near-duplicates: of each picture that several images are, a path of each, the largest group first."""
        owner = self.scan.gathered.owner
        first = {int(image): place for place, image in reversed(list(enumerate(owner)))}
        return [[self.paths[first[int(image)]] for image in group] for group in groups_of(self.scan.picture)]

    @cached_property
    def paths(self) -> list[str]:
        """Each file's path, as the user would write it."""
        return [self.scan.listing.given(name) for name in self.scan.listing.names]

    @cached_property
    def rows(self) -> tuple[list[ListLine], list[ListLine]]:
        """Files to keep, and to remove, by name: path, score, trigger score, number of the patch that it bears. Copies
        share theirs."""
        kept: list[ListLine] = []
        removed: list[ListLine] = []
        verdict = self.scan.verdict
        digits = 0 if "flip_set" in verdict.facts else 4  # a number of images, or of the defense's own making
        for path, owner in zip(self.paths, self.scan.gathered.owner.tolist(), strict=True):
            if owner >= 0:
                scores = (number(_at(verdict.score, owner)), number(_at(verdict.trigger_score, owner), digits))
                patch = str(self.bears[owner]) if self.bears[owner] else ""
                (kept if self.keep[owner] else removed).append((path, *scores, patch))
        return kept, removed

    def unreadable(self) -> list[ListLine]:
        """Files that cannot be read: path, why."""
        return list(self.scan.unreadable)

    def duplicates(self) -> list[list[str]]:
        """The paths of each content that several files have."""
        return [[self.paths[place] for place in group] for group in self.scan.gathered.duplicates()]

    def duplicate_rows(self) -> list[ListLine]:
        """Path, SHA-256 of the content: one group after the other."""
        gathered = self.scan.gathered
        places = [place for group in gathered.duplicates() for place in group]
        return [(self.paths[place], gathered.digests[gathered.owner[place]]) for place in places]

    def suspects(self) -> list[dict[str, Any]]:
        """The most suspicious images, most first: paths (all copies), scores, box, whether it is one of the group of
        alike windows, whether removed."""
        verdict, owner = self.scan.verdict, self.scan.gathered.owner
        return [
            {
                "paths": [self.paths[place] for place in np.flatnonzero(owner == image)],
                "score": _at(verdict.score, image),
                "trigger_score": _at(verdict.trigger_score, image),
                "box": None if verdict.boxes is None else verdict.boxes[image].tolist(),
                "alike": bool(alike) and self.decision.windows,
                "removed": not bool(self.keep[image]),
            }
            for image, alike in zip(self.evidence.suspects, self.evidence.alike, strict=True)
        ]

    def counts(self) -> dict[str, int]:
        """Files and images by what became of them."""
        (kept, removed), copies = self.rows, self.duplicates()
        return {
            "files": self.scan.listing.tried,
            "unreadable": len(self.unreadable()),
            "images": len(self.scan.images),
            "duplicate_groups": len(copies),
            "duplicate_files": sum(map(len, copies)),
            "near_duplicate_groups": len(self.twins),
            "near_duplicate_images": sum(map(len, self.twins)),
            "passed_over": sum(self.scan.listing.others.values()),
            "links_back": self.scan.listing.again,
            "kept": len(kept),
            "removed": len(removed),
        }

    def facts(self) -> dict[str, Any]:
        """report.json."""
        from bench import __version__

        chosen, decision = self.scan.chosen, self.decision
        return {
            "format": 1,
            "version": __version__,
            "folder": self.scan.listing.source,
            "verdict": decision.finding.value,
            "because": decision.because,
            "evidence": {
                **self.evidence.facts,
                "limits": {step.name: [step.limits.low, step.limits.high] for step in decision.steps},
            },
            "patches": self.patches,
            "counts": self.counts(),
            "passed_over": self.scan.listing.others,
            "suspects": self.suspects(),
            "settings": {
                "encoder": chosen.encoder_words,
                "preset": chosen.config.preset,
                "size": chosen.size,
                "seed": chosen.config.seed,
                "defense": chosen.defense.identity(),
                "normalisation": None if self.scan.quick else chosen.normalisation,
                "checkpoint": chosen.checkpoint.facts if chosen.checkpoint else None,
            },
            "look": dict(self.scan.seen.facts),
            "search": dict(self.scan.verdict.facts),
            "fingerprint": self.scan.gathered.fingerprint,
            "seconds": self.scan.seconds(),
        }


def of_width(height: int, width: int, size: int) -> str:
    """How large a patch is where images are judged at `size` px, in words: their photographs may be of any size."""
    shares = dict.fromkeys(f"{100 * side / size:.0f}" for side in (height, width))
    return f"{' x '.join(shares)} % of the image's width ({height} x {width} px at {size} px)"


def _at(values: NDArray[np.float64] | None, image: int) -> float | None:
    """The score of an image; None where there is none."""
    return None if values is None or not np.isfinite(values[image]) else float(values[image])
