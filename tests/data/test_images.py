import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image
from torchvision.transforms import v2

from bench.api import Images, Poison
from bench.data.images import ArrayImages, Decoded, FileImages, PoisonedImages, Resized, Subset, rows_of
from bench.errors import BenchError


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def row(index, target=0):
    return Poison(index=index, trigger=0, target=target, box=(0, 0, 1, 1), seed=0)


class Counting(Images):
    """Images that say which of them were read."""

    def __init__(self, array):
        self.base, self.size, self.read = ArrayImages(array), array.shape[2], []

    def __len__(self):
        return len(self.base)

    def batch(self, indices):
        self.read.extend(int(i) for i in indices)
        return self.base.batch(indices)


def test_array_images_reads_both_layouts_alike_and_leaves_a_memory_map_alone(tmp_path):
    chw = noise(4, 3, 5, 5)
    np.save(tmp_path / "a.npy", chw)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    for array in (chw, np.ascontiguousarray(chw.transpose(0, 2, 3, 1)), mapped):
        images = ArrayImages(array)
        batch = images.batch([3, 0, 3])
        assert (len(images), images.size) == (4, 5)
        assert (batch.dtype, batch.is_contiguous()) == (torch.uint8, True)
        assert np.array_equal(batch.numpy(), chw[[3, 0, 3]])
        batch.zero_()
        assert np.array_equal(images.batch([3]).numpy(), chw[[3]])
    square = noise(2, 3, 3, 3)  # where both fit, channels come first
    assert np.array_equal(ArrayImages(square).batch([1]).numpy(), square[[1]])


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.zeros((2, 3, 4, 4), np.float32), TypeError),
        (np.zeros((3, 4, 4), np.uint8), TypeError),
        *((np.zeros(shape, np.uint8), ValueError) for shape in [(2, 3, 4, 5), (2, 4, 4, 1), (2, 1, 4, 4)]),
    ],
)
def test_array_images_refuses_other_types_and_shapes(array, error):
    with pytest.raises(error, match="expected"):
        ArrayImages(array)


def test_rows_of_refuses_what_would_be_read_wrongly():
    assert rows_of([], 3).tolist() == []
    assert rows_of(range(1, 3), 3).tolist() == [1, 2]
    assert rows_of(torch.tensor([2, 0]), 3).tolist() == [2, 0]
    for mask in ([True, False, True], [0.0, 1.0], [[0, 1]]):
        with pytest.raises(TypeError):
            rows_of(np.array(mask), 3)
    for outside in ([-1], [0, 3]):
        with pytest.raises(IndexError, match="3 images"):
            rows_of(outside, 3)


def save(folder, count, shape=(9, 7)):
    names = []
    for i in range(count):
        Image.fromarray(noise(*shape, 3, seed=i)).save(folder / f"{i}.png")
        names.append(f"{i}.png")
    return names


def test_file_images_come_in_the_order_asked_for(tmp_path):
    names = save(tmp_path, 12, (6, 6))
    expected = np.stack([noise(6, 6, 3, seed=i).transpose(2, 0, 1) for i in range(12)])
    images = FileImages(names, 6, root=tmp_path)
    order = [11, 0, 5, 5, 3, 2, 10]
    assert np.array_equal(images.batch(order).numpy(), expected[order])
    assert images.batch([]).shape == (0, 3, 6, 6)


def test_file_images_equal_resize_and_centre_crop(tmp_path):
    picture = Image.fromarray(noise(6, 8, 3)).resize((300, 200), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "a.png")
    reference = v2.Compose(
        [v2.Resize(64, interpolation=v2.InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(64)]
    )(picture)
    ours = FileImages(["a.png"], 64, root=tmp_path).batch([0])[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(ours - np.asarray(reference).astype(int)).max() <= 1


def test_a_file_that_broke_later_is_named(tmp_path):
    names = save(tmp_path, 3)
    images = FileImages(names, 4, root=tmp_path)
    (tmp_path / "1.png").write_bytes(b"\x89PNG")
    with pytest.raises(BenchError, match=r"1\.png \(not an image"):
        images.batch([0, 1, 2])
    (tmp_path / "1.png").unlink()
    with pytest.raises(BenchError, match=r"1\.png \(No such file or directory\)"):
        images.batch([1])


def test_decoded_reads_every_image_once():
    array = noise(5, 3, 4, 4)
    base = Counting(array)
    images = Decoded(base)
    for order in ([1, 3, 1], [3, 0], [4, 2, 1, 0, 3]):
        batch = images.batch(order)
        assert np.array_equal(batch.numpy(), array[order])
        batch.zero_()
    assert sorted(base.read) == [0, 1, 2, 3, 4]
    assert np.array_equal(images.batch(range(5)).numpy(), array)


def test_resized_doubles_a_flat_image_and_keeps_order():
    array = np.zeros((2, 3, 4, 4), np.uint8)
    array[0], array[1, 0] = 10, 200
    batch = Resized(ArrayImages(array), 8).batch([1, 0])
    assert batch.shape == (2, 3, 8, 8)
    assert (batch[0, 0] == 200).all()
    assert (batch[0, 1:] == 0).all()
    assert (batch[1] == 10).all()


def paint(images, poisons):
    out = images.clone()
    for image, poison in zip(out, poisons, strict=True):
        image[:, 0, 0] = poison.target
    return out


def test_poisoned_images_change_their_rows_only():
    array = noise(6, 3, 4, 4)
    images = PoisonedImages(ArrayImages(array), [row(1, 7), row(4, 9)], paint)
    expected = array.copy()
    expected[1, :, 0, 0], expected[4, :, 0, 0] = 7, 9
    order = [4, 0, 1, 4, 5]
    assert np.array_equal(images.batch(order).numpy(), expected[order])
    assert np.array_equal(images.batch([0, 2]).numpy(), array[[0, 2]])
    assert (len(images), images.size) == (6, 4)
    never = PoisonedImages(ArrayImages(array), [row(1)], None)
    assert np.array_equal(never.batch([0, 2]).numpy(), array[[0, 2]]), "nothing is applied to a clean batch"


@pytest.mark.parametrize(("rows", "message"), [([1, 1], "twice"), ([3], "image 3 of 3"), ([-1], "image -1")])
def test_poisoned_images_refuse_wrong_rows(rows, message):
    with pytest.raises(BenchError, match=message):
        PoisonedImages(ArrayImages(noise(3, 3, 4, 4)), [row(i) for i in rows], paint)


@pytest.mark.parametrize("apply", [lambda x, p: x.float(), lambda x, p: x[:, :1], lambda x, p: x[:1]])
def test_poisoned_images_refuse_what_is_no_image(apply):
    images = PoisonedImages(ArrayImages(noise(3, 3, 4, 4)), [row(0), row(1)], apply)
    with pytest.raises(BenchError, match=r"expected torch.uint8 \(2, 3, 4, 4\)"):
        images.batch([0, 1])


def test_subset_of_a_subset():
    array = noise(6, 3, 4, 4)
    outer = Subset(Subset(ArrayImages(array), [5, 3, 1]), np.array([2, 0]))
    assert (len(outer), outer.size) == (2, 4)
    assert np.array_equal(outer.batch([1, 0, 1]).numpy(), array[[5, 1, 5]])
    for outside in (lambda: Subset(ArrayImages(array), [6]), lambda: outer.batch([2])):
        with pytest.raises(IndexError):
            outside()


@given(st.lists(st.integers(0, 9), max_size=20), st.sets(st.integers(0, 9)))
def test_a_batch_is_the_same_as_its_images_one_by_one(order, poisoned):
    base = ArrayImages(noise(10, 3, 4, 4))
    stack = PoisonedImages(Decoded(base), [row(i, i) for i in sorted(poisoned)], paint)
    images = Subset(stack, np.arange(9, -1, -1))
    batch = images.batch(order)
    assert batch.shape == (len(order), 3, 4, 4)
    for one, i in zip(batch, order, strict=True):
        assert torch.equal(one, images.batch([i])[0])
        assert torch.equal(one, stack.batch([9 - i])[0])


def test_composed_images_stand_in_for_the_clean_ones():
    """compose() makes image 2; what it makes of another shape or dtype is refused by its name."""
    base, white = ArrayImages(noise(4, 3, 5, 5)), torch.full((3, 5, 5), 255, dtype=torch.uint8)

    def poisoned(image):
        return PoisonedImages(base, [row(2)], lambda images, rows: images, compose=lambda poison: image * poison.index)

    done = poisoned(white // 2).batch([3, 2, 2])
    assert done[1:].unique().tolist() == [254]
    assert torch.equal(done[0], base.batch([3])[0])
    assert torch.equal(poisoned(white).batch([0, 1]), base.batch([0, 1]))
    for wrong in (white.float(), white[:, :4]):
        with pytest.raises(BenchError, match=r"compose\(\) returned torch\.\w+ .*expected torch\.uint8 \(1, 3, 5, 5\)"):
            poisoned(wrong).batch([2])
