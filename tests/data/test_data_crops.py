"""Crop boxes compared with torchvision's rules."""

import numpy as np
import pytest

from clr.data.crops import central_boxes, random_boxes

N = 20000
RNG = np.random.default_rng(0)
HEIGHTS, WIDTHS = RNG.integers(80, 400, N), RNG.integers(80, 400, N)
IDS = np.arange(N)


def test_boxes_are_inside_of_the_image():
    y, x, h, w = random_boxes(0, 0, IDS, HEIGHTS, WIDTHS).T
    assert min(y.min(), x.min()) >= 0
    assert min(h.min(), w.min()) > 0
    assert (y + h <= HEIGHTS).all()
    assert (x + w <= WIDTHS).all()


def test_areas_and_ratios_span_torchvisions_bounds():
    _, _, h, w = random_boxes(0, 0, IDS, HEIGHTS, WIDTHS).T
    area, ratio = h * w / (HEIGHTS * WIDTHS), w / h
    rounding = 1.5 / np.minimum(h, w)  # sides are whole pixels
    assert (area > 0.08 * (1 - rounding)).all()
    assert area.min() < 0.09
    assert area.max() > 0.95
    assert (ratio > 0.75 * (1 - rounding)).all()
    assert (ratio < 4 / 3 * (1 + rounding)).all()
    assert ratio.min() < 0.76
    assert ratio.max() > 1.31


def deviation_from_uniform(values: np.ndarray, low: float, high: float) -> float:
    """Largest difference between the share of a tenth of the range and 1/10."""
    counts = np.histogram(values, 10, (low, high))[0]
    return float(abs(counts / len(values) - 0.1).max())


def test_areas_ratios_and_positions_are_uniform_for_square_images():
    # Only small areas, because the largest crops may not fit and are then drawn again.
    side = np.full(N, 1000)
    y, x, h, w = random_boxes(3, 1, IDS, side, side).T
    area = h * w / 1e6
    small = area < 0.7
    assert deviation_from_uniform(area[small], 0.08, 0.7) < 0.012
    assert deviation_from_uniform(np.log(w / h)[small], *np.log([0.75, 4 / 3])) < 0.012
    for start, size in ((y, h), (x, w)):
        share = (start / (1000 - size + 1))[size < 900]
        assert deviation_from_uniform(share, 0, 1) < 0.012
    assert abs(np.corrcoef(y / (1001 - h), x / (1001 - w))[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(10, 1000, [0, 493, 10, 13]), (1000, 10, [493, 0, 13, 10]), (1, 1, [0, 0, 1, 1])],
)
def test_extreme_shapes_get_a_central_crop(height, width, box):
    boxes = random_boxes(0, 0, np.array([7]), np.array([height]), np.array([width]))
    assert boxes.tolist() == [box]


def test_boxes_depend_on_seed_epoch_and_id_alone():
    boxes = random_boxes(1, 2, IDS, HEIGHTS, WIDTHS)
    some = np.random.default_rng(1).permutation(N)[:500]
    assert (random_boxes(1, 2, IDS[some], HEIGHTS[some], WIDTHS[some]) == boxes[some]).all()
    for seed, epoch, ids in [(2, 2, IDS), (1, 3, IDS), (2, 1, IDS), (1, 2, IDS + 1)]:
        differs = (random_boxes(seed, epoch, ids, HEIGHTS, WIDTHS) != boxes).any(axis=1)
        assert differs.mean() > 0.99


def test_boxes_are_the_same_as_in_completed_runs():
    boxes = random_boxes(0, 0, np.array([0, 2**40]), np.array([160, 160]), np.array([213, 213]))
    assert boxes.tolist() == [[3, 2, 113, 133], [19, 50, 141, 141]]


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
