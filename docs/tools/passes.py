"""What a trigger search costs for each image that it scores, and what it finds: exact and fast, on trained encoders.

    python docs/tools/passes.py docs/measured/passes.toml --output docs/measured/passes.csv

For every cell of a matrix file; its encoder comes from the store, or is trained into it. Passes through the encoder and
seconds of the processor are those of the search alone, without the clusters before it and the classifier after it.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench import Seeds
from bench.defenses.search.search import TriggerSearch
from bench.isolation.view import DefenderView
from bench.matrix.cell import RunContext
from bench.matrix.file import read_matrix
from bench.parallel.threads import computing_with
from bench.pipeline.pipeline import Pipeline
from bench.pipeline.pretrain import encoder_of
from bench.pipeline.runner import make_stage
from bench.pipeline.stage import Machine
from bench.plugins.manager import Plugins
from bench.session.opening import open_store
from bench.ssl.encoder import FrozenEncoder

WAYS = ("exact", "fast")


class Counted:
    """An encoder that counts the images it encodes; those that are differentiated count twice."""

    def __init__(self, encoder: FrozenEncoder) -> None:
        self.encoder, self.passes = encoder, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def __call__(self, images: Tensor) -> Tensor:
        self.passes += len(images)
        return self.encoder(images)

    def prepare(self, images: Tensor) -> Tensor:
        """What is done before the network is called by itself."""
        self.passes += len(images) * (2 if torch.is_grad_enabled() else 1)
        return self.encoder.prepare(images)


def searched(pipeline: Pipeline, defense: TriggerSearch) -> dict[str, Any]:
    """What the search of `defense` costs and finds on the encoder of the pipeline."""
    folder = pipeline.folder(pipeline.threat)
    encoder = Counted(encoder_of(folder, pipeline.config, pipeline.poisoned_train.size, pipeline.machine))
    view = DefenderView(
        pipeline.poisoned_train,
        name=defense.name,
        encoder=lambda device: encoder,
        seeds=Seeds(pipeline.config.seed),
        device=torch.device("cpu"),
        step=lambda name, compute: compute(),
    )
    clustering, settings = defense._clustered(view)
    score = defense._scorer(view, clustering, settings)
    encoder.passes, start = 0, time.process_time()
    found = defense._searched(view, clustering, score, settings)
    count, seconds = len(found.indices), time.process_time() - start
    top = found.indices[np.lexsort((found.indices, -found.scores))]
    poisoned = pipeline.train_manifest.poisoned
    return {
        "images scored": count,
        "passes": round(encoder.passes / count, 1),
        "ms": round(1000 * seconds / count, 1),
        **{f"poisoned of the first {number}": int(poisoned[top[:number]].sum()) for number in (10, 20)},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrix", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    given = parser.parse_args(arguments)
    context, rows = RunContext(open_store(), Machine()), []
    for cell in read_matrix(given.matrix, Plugins.load()):
        pipeline = context.pipeline(cell)
        for stage in (pipeline.poison, pipeline.threat):
            make_stage(stage, context.store, lambda *_, **__: None)
        for way in WAYS:
            defense = dataclasses.replace(pipeline.config.defense.filter, search=way)
            with computing_with(pipeline.config.threads):
                found = searched(pipeline, defense)
            rows.append({"attack": cell.attack, "seed": cell.seed, "defense": defense.name, "search": way, **found})
            pd.DataFrame(rows).to_csv(given.output, index=False)


if __name__ == "__main__":
    main()
