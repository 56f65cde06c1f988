"""Draws docs/laptop.png from a finished default run: `python docs/picture.py [STORE]`. Nothing is trained.

Columns: the ten images that PoisonCAM suspected most. Rows: the image; the attention map (equation 3, recomputed with
the defense's own parts and fresh masks); the image with the window it found (white) and the true trigger (yellow).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from bench import Seeds
from bench.commands import open_store
from bench.config import load_config
from bench.defenses.search.clusters import Clusters, k_means
from bench.defenses.search.masking import ActivationMasking, cyclic_masks, draw
from bench.encoder import normalised_features
from bench.pipeline import Pipeline
from bench.plugins.manager import Plugins
from bench.stages import Machine, encoder_of

COLUMNS, ZOOM, GAP = 10, 3, 6


def attention(pipeline: Pipeline, images: torch.Tensor) -> np.ndarray:
    """Attention maps (n, S, S) of images (n, 3, S, S), each scaled to [0, 1]."""
    size, facts = pipeline.dataset.size, pipeline.verdict.facts
    encoder = encoder_of(pipeline.folder(pipeline.threat), pipeline.config, size, pipeline.machine)
    features = normalised_features(encoder, pipeline.poisoned_train).numpy()
    clusters = Clusters(encoder, torch.tensor(k_means(features, facts["clusters"], 0, gpu=False)), facts["batch"])
    locator = ActivationMasking(clusters=clusters, window=facts["window"], normalise=True)
    masks = cyclic_masks(draw(len(images), 256, size, Seeds(0), strategy="full", blocks=4), size, facts["window"])
    maps = torch.cat([locator.attention(images[i : i + 1], masks[i : i + 1]) for i in range(len(images))]).numpy()
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / np.maximum(high - low, 1e-9)


def framed(picture: Image.Image, boxes: dict[str, np.ndarray]) -> Image.Image:
    """`picture` with a rectangle for each colour's box (top, left, height, width)."""
    pen = ImageDraw.Draw(picture)
    for colour, (top, left, height, width) in boxes.items():
        corners = [left * ZOOM, top * ZOOM, (left + width) * ZOOM - 1, (top + height) * ZOOM - 1]
        pen.rectangle(corners, outline=colour, width=2)
    return picture


def main() -> None:
    store = open_store(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    config = load_config(Plugins.load())
    pipeline = Pipeline(config, config.dataset.load(), store, Machine())
    verdict, truth = pipeline.verdict, pipeline.train_manifest
    chosen = np.argsort(-np.nan_to_num(verdict.trigger_score, nan=-1), kind="stable")[:COLUMNS]
    images = pipeline.poisoned_train.batch(chosen)
    side = images.shape[-1] * ZOOM
    sheet = Image.new("RGB", (COLUMNS * (side + GAP) + GAP, 3 * (side + GAP) + GAP), "white")
    for column, (index, pixels, heat) in enumerate(zip(chosen, images, attention(pipeline, images), strict=True)):
        picture = Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((side, side), Image.Resampling.NEAREST)
        warm = np.stack([255 * heat, 255 * heat**2, 255 * heat**6], -1).astype(np.uint8)
        glow = Image.fromarray(warm).resize((side, side), Image.Resampling.BICUBIC)
        boxes = {"white": verdict.boxes[index]} | ({"yellow": truth.boxes[index]} if truth.poisoned[index] else {})
        for row, part in enumerate((picture, glow, framed(picture.copy(), boxes))):
            sheet.paste(part, (GAP + column * (side + GAP), GAP + row * (side + GAP)))
    sheet.save(Path(__file__).with_name("laptop.png"), optimize=True)


if __name__ == "__main__":
    main()
