"""What a finished scan says of every file, as plain data: for the page, the lists and report.json."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.report.tables import patches

from .decide import Decision, decide, decide_quick
from .evidence import Evidence
from .lists import number
from .scan import Scan

ListLine = tuple[str, ...]


@dataclass(frozen=True)
class ScanResult:
    """A finished scan: its evidence, with the images suspected most, and where the defense looks on them, (n, S, S)."""

    scan: Scan
    evidence: Evidence
    maps: NDArray[np.float32] | None

    @cached_property
    def decision(self) -> Decision:
        return decide_quick(len(self.patches)) if self.scan.quick else decide(self.evidence)

    @cached_property
    def patches(self) -> list[dict[str, Any]]:
        """Of a quick scan the patches that recur: "picture", "size", "images"."""
        return patches(self.scan.verdict.facts) if self.scan.quick else []

    @cached_property
    def keep(self) -> NDArray[np.bool_]:
        """Of the N different images, which to keep (N,): all where nothing was found, else as the defense says."""
        found = self.scan.verdict.keep
        return np.ones_like(found) if self.decision.finding.clears else found

    @cached_property
    def paths(self) -> list[str]:
        """Each file's path, as the user would write it."""
        return [self.scan.listing.given(name) for name in self.scan.listing.names]

    @cached_property
    def rows(self) -> tuple[list[ListLine], list[ListLine]]:
        """Files to keep, and to remove, by name: path, score, trigger score. Copies share theirs."""
        kept: list[ListLine] = []
        removed: list[ListLine] = []
        verdict, digits = self.scan.verdict, 4 if self.scan.quick else 0
        for path, owner in zip(self.paths, self.scan.gathered.owner.tolist(), strict=True):
            if owner >= 0:
                scores = (number(_at(verdict.score, owner)), number(_at(verdict.trigger_score, owner), digits))
                (kept if self.keep[owner] else removed).append((path, *scores))
        return kept, removed

    def unreadable(self) -> list[ListLine]:
        """Files that cannot be read: path, why."""
        faults = zip(self.paths, self.scan.gathered.faults, strict=True)
        gone = [(self.scan.listing.given(name), why) for name, why in self.scan.listing.gone.items()]
        return sorted([(path, fault) for path, fault in faults if fault] + gone)

    def duplicates(self) -> list[list[str]]:
        """The paths of each content that several files have."""
        return [[self.paths[place] for place in group] for group in self.scan.gathered.duplicates()]

    def duplicate_rows(self) -> list[ListLine]:
        """Path, SHA-256 of the content: one group after the other."""
        gathered = self.scan.gathered
        places = [place for group in gathered.duplicates() for place in group]
        return [(self.paths[place], gathered.digests[gathered.owner[place]]) for place in places]

    def suspects(self) -> list[dict[str, Any]]:
        """The most suspicious images, most first: paths (all copies), scores, box, whether removed."""
        verdict, owner = self.scan.verdict, self.scan.gathered.owner
        return [
            {
                "paths": [self.paths[place] for place in np.flatnonzero(owner == image)],
                "score": _at(verdict.score, image),
                "trigger_score": _at(verdict.trigger_score, image),
                "box": None if verdict.boxes is None else verdict.boxes[image].tolist(),
                "removed": not bool(self.keep[image]),
            }
            for image in self.evidence.suspects
        ]

    def counts(self) -> dict[str, int]:
        """Files and images by what became of them."""
        (kept, removed), copies = self.rows, self.duplicates()
        return {
            "files": len(self.scan.listing.names) + len(self.scan.listing.gone),
            "unreadable": len(self.unreadable()),
            "images": len(self.scan.images),
            "duplicate_groups": len(copies),
            "duplicate_files": sum(map(len, copies)),
            "passed_over": sum(self.scan.listing.others.values()),
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
            "folder": str(self.scan.listing.root),
            "verdict": decision.finding.value,
            "because": decision.because,
            "evidence": {
                **self.evidence.facts,
                "limits": {step.name: [step.limits.low, step.limits.high] for step in decision.steps},
            },
            "counts": self.counts(),
            "passed_over": self.scan.listing.others,
            "suspects": self.suspects(),
            "settings": {
                "encoder": chosen.encoder_words,
                "preset": chosen.config.preset,
                "size": chosen.size,
                "seed": chosen.config.seed,
                "defense": chosen.defense.identity(),
                "checkpoint": chosen.checkpoint.facts if chosen.checkpoint else None,
            },
            "search": dict(self.scan.verdict.facts),
            "fingerprint": self.scan.gathered.fingerprint,
            "seconds": self.scan.seconds(),
        }


def _at(values: NDArray[np.float64] | None, image: int) -> float | None:
    """The score of an image; None where there is none."""
    return None if values is None or not np.isfinite(values[image]) else float(values[image])
