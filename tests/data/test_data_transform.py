"""Augmentation and normalization: correctness, purity and statistics of the draws."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from clr.config import DatasetConfig
from clr.data import DatasetInfo, Transform
from clr.data.order import Purpose, draw, permutation

INFO = DatasetInfo(
    name="x",
    label="x",
    classes=("a",),
    num_train=1,
    num_test=1,
    resolution=8,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.25, 0.3),
    fingerprint="",
    folder="",
    config=DatasetConfig(),
)
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(1, 256, (64, 8, 8, 3), dtype=np.uint8))
IDS = torch.arange(64) * 3 + 1


def normalized(images: torch.Tensor) -> torch.Tensor:
    x = images.permute(0, 3, 1, 2).double() / 255
    return (x - torch.tensor(INFO.mean).view(1, 3, 1, 1)) / torch.tensor(INFO.std).view(1, 3, 1, 1)


def test_without_augmentation_images_are_only_normalized():
    transform, original = Transform(INFO, 0, False), IMAGES.clone()
    out = transform.train(IMAGES, IDS, 0, 0)
    assert out.dtype == torch.float32
    assert out.shape == (64, 3, 8, 8)
    assert torch.equal(out, transform.test(IMAGES))
    assert torch.equal(IMAGES, original)
    assert torch.allclose(out.double(), normalized(IMAGES), atol=1e-6)
    assert torch.equal(Transform(INFO, 4, True).test(IMAGES), out)


@pytest.mark.parametrize(("padding", "flip"), [(4, True), (2, False), (0, True), (9, True)])
def test_training_images_are_padded_cropped_and_mirrored(padding, flip):
    transform = Transform(INFO, padding, flip)
    out = transform.train(IMAGES, IDS, 1, 2)
    for i, (dy, dx, mirrored) in enumerate(zip(*transform.draws(IDS, 1, 2), strict=True)):
        padded = np.zeros((8 + 2 * padding, 8 + 2 * padding, 3), np.uint8)
        padded[padding : padding + 8, padding : padding + 8] = IMAGES[i]
        crop = padded[dy : dy + 8, dx : dx + 8]
        crop = crop[:, ::-1].copy() if mirrored else crop
        assert torch.allclose(
            out[i].double(), normalized(torch.from_numpy(crop)[None])[0], atol=1e-6
        )


def test_images_that_the_loader_crops_are_only_mirrored():
    info = replace(INFO, config=DatasetConfig(crop="random_resized"))
    out = Transform(info, 4, True).train(IMAGES, IDS, 1, 2)
    assert torch.equal(out, Transform(INFO, 0, True).train(IMAGES, IDS, 1, 2))
    assert torch.equal(
        Transform(info, 4, False).train(IMAGES, IDS, 1, 2), Transform(info, 0, False).test(IMAGES)
    )


def test_augmentation_depends_on_seed_epoch_and_id_alone():
    transform = Transform(INFO, 4, True)
    out = transform.train(IMAGES, IDS, 1, 2)
    torch.manual_seed(123)
    np.random.seed(123)
    assert torch.equal(out, Transform(INFO, 4, True).train(IMAGES, IDS, 1, 2))
    shuffled = torch.randperm(64)
    again = transform.train(IMAGES[shuffled], IDS[shuffled], 1, 2)
    assert torch.equal(out[shuffled], again), "the augmentation depends on the batch"
    for seed, epoch, ids in [(2, 2, IDS), (1, 3, IDS), (2, 1, IDS), (1, 2, IDS + 1)]:
        assert not torch.equal(out, transform.train(IMAGES, ids, seed, epoch))


def chi_square(counts: np.ndarray) -> float:
    """The statistic for uniform counts, in standard deviations above its mean."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom))


def test_draws_are_uniform_and_independent():
    transform = Transform(INFO, 4, True)
    ids = torch.arange(50000)
    dy, dx, mirrored = transform.draws(ids, 0, 0)
    assert {dy.min(), dx.min()} == {0}
    assert {dy.max(), dx.max()} == {8}
    assert set(mirrored) == {0, 1}
    joint = np.bincount((dy * 9 + dx) * 2 + mirrored, minlength=162)
    assert abs(chi_square(joint)) < 4  # uniform and independent of one another
    others = [(ids, 0, 1), (ids, 1, 0), (ids + 50000, 0, 0)]
    for other in (transform.draws(*arguments) for arguments in others):
        for mine, theirs, values in zip((dy, dx, mirrored), other, (9, 9, 2), strict=True):
            assert abs(chi_square(np.bincount(mine * values + theirs, minlength=values**2))) < 4
    neighbors = np.bincount(dy[:-1] * 9 + dy[1:], minlength=81)
    assert abs(chi_square(neighbors)) < 4


def test_purposes_do_not_share_draws():
    ids = np.arange(10000)
    draws = [draw(0, 0, purpose, ids) >> np.uint64(60) for purpose in Purpose]
    for one, other in itertools.combinations(draws, 2):
        assert abs(chi_square(np.bincount((one * 16 + other).astype(int), minlength=256))) < 4


def test_permutations_are_uniform():
    places = np.stack([permutation(seed, epoch, 10) for seed in range(50) for epoch in range(100)])
    assert (np.sort(places, axis=1) == np.arange(10)).all()
    for place in places.T:
        assert abs(chi_square(np.bincount(place, minlength=10))) < 4


def test_draws_are_the_same_as_in_completed_runs():
    # If this fails, the batches of completed runs cannot be reproduced.
    assert permutation(0, 0, 8).tolist() == [3, 6, 0, 7, 4, 2, 5, 1]
    assert [hex(x) for x in draw(-1, 5, Purpose.AUGMENT, np.array([0, 2**40]))] == [
        "0xb4c9aabc2e5b377a",
        "0x56807c9f1882130",
    ]


def test_constant_channel_becomes_zero():
    info = replace(INFO, mean=(1.0, 0.4, 0.3), std=(0.0, 0.25, 0.3))
    white = torch.full((1, 8, 8, 3), 255, dtype=torch.uint8)
    assert (Transform(info, 0, False).test(white)[:, 0] == 0).all()
