"""Object masks: of scenes, of folders, through every wrapper of images."""

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.folder import Folder
from bench.data.images import ArrayImages, Decoded, Resized, Subset
from bench.data.scenes import Scenes
from bench.errors import BenchError


def draw(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of two images, 6 rows of 8 px; the first image of "cat" has a mask: its left 4 columns."""
    for number, name in enumerate(("cat/0", "cat/1", "dog/0", "dog/1")):
        for split in ("train", "val"):
            draw(tmp_path / "images" / split / f"{name}.jpg", np.full((6, 8, 3), 40 * number, np.uint8))
    mask = np.zeros((6, 8), np.uint8)
    mask[:, :4] = 255
    draw(tmp_path / "masks" / "train" / "cat" / "0.png", mask)
    return tmp_path


def load(folder, **options):
    return Folder(root=str(folder / "images"), size=6, **options).load()


def test_a_mask_of_scenes_is_where_colours_are():
    """The background is grey to within the noise of 0.06 of each channel, an object is not."""
    split = Scenes(size=48, classes=4, train_per_class=3, val_per_class=1).split("train", 3)
    for index, image in enumerate(split.images.batch(range(12))):
        mask = split.images.mask(index)
        assert (mask.shape, mask.dtype) == ((48, 48), torch.bool)
        spread = (image.max(0).values.long() - image.min(0).values.long()).float()
        assert spread[~mask].max() <= 17  # 0.06 x 255 = 15.3, and rounding
        assert spread[mask].mean() > 40
    with pytest.raises(IndexError):
        split.images.mask(12)


def test_a_folder_of_masks(folder):
    plain, data = load(folder), load(folder, masks=str(folder / "masks"))
    mask = data.train.images.mask(0)
    assert mask.tolist() == [[True] * 3 + [False] * 3] * 6, "of the middle 6 of 8 columns, the first 3"
    assert [data.train.images.mask(index) for index in (1, 2, 3)] == [None] * 3
    assert plain.train.images.mask(0) is None
    assert torch.equal(data.train.images.batch(range(4)), plain.train.images.batch(range(4)))
    assert data.fingerprint != plain.fingerprint
    assert "masks" not in Folder(root="x").identity()
    assert Folder(root="x", masks="m").identity()["masks"] == "m"


def test_other_masks_make_another_data_set(folder):
    before = load(folder, masks=str(folder / "masks")).fingerprint
    draw(folder / "masks" / "train" / "cat" / "0.png", np.full((6, 8), 255, np.uint8))
    assert load(folder, masks=str(folder / "masks")).fingerprint != before


def test_masks_that_cannot_serve(folder):
    with pytest.raises(
        BenchError, match=r"no training image has a mask\. Expected that of train/cat/0\.jpg at .*0\.png"
    ):
        load(folder, masks=str(folder / "images"))
    draw(folder / "masks" / "train" / "dog" / "0.png", np.zeros((6, 6), np.uint8))
    (folder / "masks" / "train" / "dog" / "1.png").write_bytes(b"no image")
    images = load(folder, masks=str(folder / "masks")).train.images
    with pytest.raises(BenchError, match=r"is 6 x 6 px, its image 8 x 6: expected the same"):
        images.mask(2)
    with pytest.raises(BenchError, match=r"Cannot read the mask .*1\.png"):
        images.mask(3)


def test_wrappers_hand_masks_on():
    class Half(ArrayImages):
        def mask(self, index):
            found = torch.zeros(4, 4, dtype=torch.bool)
            found[:, : index + 1] = True
            return found

    base = Half(np.zeros((3, 3, 4, 4), np.uint8))
    assert torch.equal(Decoded(base).mask(1), base.mask(1))
    assert torch.equal(Subset(base, [2, 0]).mask(0), base.mask(2))
    assert Resized(base, 8).mask(1).tolist() == [[True] * 4 + [False] * 4] * 8
    assert ArrayImages(np.zeros((1, 3, 4, 4), np.uint8)).mask(0) is None
    assert Resized(ArrayImages(np.zeros((1, 3, 4, 4), np.uint8)), 8).mask(0) is None
