import numpy as np
import pytest

from clr.data.crops import central_boxes, random_boxes

N = 20000
RNG = np.random.default_rng(0)
HEIGHTS, WIDTHS = RNG.integers(80, 400, N), RNG.integers(80, 400, N)
IDS = np.arange(N)


def test_boxes_follow_the_rule_of_torchvision():
    y, x, h, w = random_boxes(0, 0, IDS, HEIGHTS, WIDTHS).T
    assert (y >= 0).all() and (x >= 0).all() and (h > 0).all() and (w > 0).all()
    assert (y + h <= HEIGHTS).all() and (x + w <= WIDTHS).all()
    area, ratio = h * w / (HEIGHTS * WIDTHS), w / h
    rounding = 1.5 / np.minimum(h, w)  # sides are whole pixels
    assert (area > 0.08 * (1 - rounding)).all() and area.min() < 0.09 and area.max() > 0.95
    assert (ratio > 0.75 * (1 - rounding)).all() and (ratio < 4 / 3 * (1 + rounding)).all()
    assert ratio.min() < 0.76 and ratio.max() > 1.31


def test_square_images_get_uniform_areas_shapes_and_places():
    # The largest crops do not always fit and are drawn again: small areas are as torchvision draws them.
    side = np.full(N, 1000)
    y, x, h, w = random_boxes(3, 1, IDS, side, side).T
    area = h * w / 1e6
    small = area[area < 0.7]
    assert abs(np.histogram(small, 10, (0.08, 0.7))[0] / len(small) - 0.1).max() < 0.012
    logarithm = np.log(w / h)[area < 0.7]
    assert (
        abs(np.histogram(logarithm, 10, np.log([0.75, 4 / 3]))[0] / len(small) - 0.1).max() < 0.012
    )
    for start, size in ((y, h), (x, w)):
        share = (start / (1000 - size + 1))[size < 900]
        assert abs(np.histogram(share, 10, (0, 1))[0] / len(share) - 0.1).max() < 0.012
    assert abs(np.corrcoef(y / (1001 - h), x / (1001 - w))[0, 1]) < 0.03


def test_extreme_shapes_fall_back_to_the_centre():
    (wide,) = random_boxes(0, 0, np.array([7]), np.array([10]), np.array([1000]))
    assert wide.tolist() == [0, 493, 10, 13]
    (tall,) = random_boxes(0, 0, np.array([7]), np.array([1000]), np.array([10]))
    assert tall.tolist() == [493, 0, 13, 10]
    (dot,) = random_boxes(0, 0, np.array([0]), np.array([1]), np.array([1]))
    assert dot.tolist() == [0, 0, 1, 1]


def test_boxes_depend_on_seed_epoch_and_id_alone():
    boxes = random_boxes(1, 2, IDS, HEIGHTS, WIDTHS)
    turned = np.random.default_rng(1).permutation(N)[:500]
    assert (random_boxes(1, 2, IDS[turned], HEIGHTS[turned], WIDTHS[turned]) == boxes[turned]).all()
    for seed, epoch, ids in [(2, 2, IDS), (1, 3, IDS), (2, 1, IDS), (1, 2, IDS + 1)]:
        assert (random_boxes(seed, epoch, ids, HEIGHTS, WIDTHS) != boxes).any(axis=1).mean() > 0.99


def test_boxes_stay_what_they_are():
    # Finished runs rest on these numbers.
    assert random_boxes(
        0, 0, np.array([0, 2**40]), np.array([160, 160]), np.array([213, 213])
    ).tolist() == [
        [3, 2, 113, 133],
        [19, 50, 141, 141],
    ]


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (256, 341, [16, 58, 224, 224]),
        (341, 256, [58, 16, 224, 224]),
        (160, 160, [10, 10, 140, 140]),
        (1, 9, [0, 4, 1, 1]),
    ],
)
def test_central_square(height, width, box):
    assert central_boxes(np.array([height]), np.array([width])).tolist() == [box]
