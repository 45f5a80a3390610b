"""Batches of all loaders: the same samples, in the same order, shared among ranks."""

import time

import numpy as np
import pytest
import torch
from data_cases import RAW_LOADERS, same

from clr.data import open_loader
from clr.data.sources import open_source
from clr.errors import UserError

N = 24


@pytest.mark.parametrize("loader", RAW_LOADERS)
def test_batches_are_the_images_with_their_labels(info, loader):
    for split in ("train", "test"):
        source = open_source(info.config).split(split)
        for batch in open_loader(info, split, 5, loader, 1).epoch(3, 1):
            assert batch.images.dtype == torch.uint8
            assert batch.labels.dtype == batch.ids.dtype == torch.int64
            for image, label, i in zip(*batch, strict=True):
                assert (image.numpy() == source[i]).all()
                assert label == source.labels[i]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("loader", ["torch", "memory"])
def test_all_loaders_give_the_same_batches_as_ffcv(info, split, loader):
    ffcv, other = (open_loader(info, split, 5, name, 1) for name in ("ffcv", loader))
    assert ffcv.steps_per_epoch == other.steps_per_epoch == (4 if split == "train" else 2)
    for seed, epoch, start in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (7, 3, 3)]:
        assert same(ffcv.epoch(seed, epoch, start), other.epoch(seed, epoch, start))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize("loader", RAW_LOADERS)
@pytest.mark.parametrize("workers", [0, 2, 3])
def test_number_of_workers_does_not_change_the_batches(info, loader, workers):
    one, many = (open_loader(info, "train", 4, loader, w) for w in (1, workers))
    assert same(one.epoch(0, 0), many.epoch(0, 0))


@pytest.mark.parametrize("loader", RAW_LOADERS)
def test_training_epoch_visits_each_sample_once(info, loader):
    ids = torch.cat([b.ids for b in open_loader(info, "train", 4, loader, 0).epoch(5, 2)])
    assert sorted(ids.tolist()) == list(range(N))
    batches = list(open_loader(info, "train", 7, loader, 0).epoch(5, 2))
    assert [len(b.images) for b in batches] == [7, 7, 7]  # three samples are left out
    assert torch.cat([b.ids for b in batches]).tolist() == ids[:21].tolist()
    assert len(set(torch.cat([b.ids for b in batches]).tolist())) == 21


@pytest.mark.parametrize("loader", RAW_LOADERS)
def test_test_epoch_is_all_samples_in_order(info, loader):
    batches = list(open_loader(info, "test", 4, loader, 0).epoch())
    assert [len(b.images) for b in batches] == [4, 4, 1]
    assert torch.cat([b.ids for b in batches]).tolist() == list(range(9))
    (whole,) = open_loader(info, "test", 100, loader, 0).epoch()
    assert torch.equal(whole.labels, torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]))


@pytest.mark.parametrize("loader", RAW_LOADERS)
def test_order_differs_by_seed_and_epoch_only(info, loader):
    def order(seed, epoch):
        batches = open_loader(info, "train", 4, loader, 0).epoch(seed, epoch)
        return tuple(torch.cat([batch.ids for batch in batches]).tolist())

    assert len({order(s, e) for s in range(3) for e in range(3)}) == 9
    assert order(1, 2) == order(1, 2)


@pytest.mark.parametrize("loader", RAW_LOADERS)
def test_start_in_mid_epoch_gives_the_remaining_batches(info, loader):
    batches = open_loader(info, "train", 5, loader, 1)
    whole = list(batches.epoch(2, 1))
    for start in range(5):
        assert same(batches.epoch(2, 1, start), whole[start:])


@pytest.mark.parametrize("loader", RAW_LOADERS)
def test_later_batches_do_not_overwrite_earlier_ones(info, loader):
    batches, copies = [], []
    for batch in open_loader(info, "train", 2, loader, 1).epoch():
        batches.append(batch)
        copies.append([x.clone() for x in batch])
        time.sleep(0.005)  # lets FFCV write into the buffers that are free
    assert len(batches) == 12, "FFCV must run out of buffers"
    assert same(batches, copies)


@pytest.mark.parametrize("loader", RAW_LOADERS)
def test_epochs_of_one_file_may_overlap(info, loader):
    small, large = (open_loader(info, "train", b, loader, 1) for b in (3, 4))
    expected = list(small.epoch(0, 0)), list(large.epoch(1, 1))
    got = [], []
    first, second = small.epoch(0, 0), large.epoch(1, 1)
    for _ in range(6):
        got[0].append(next(first))
        got[1].append(next(second))
    got[0].extend(first)
    assert same(got[0], expected[0])
    assert same(got[1], expected[1])


def test_batch_larger_than_the_dataset_is_refused(info):
    with pytest.raises(UserError, match="batch_size=25 exceeds the 24 training images"):
        open_loader(info, "train", 25, "torch", 0)
    assert open_loader(info, "train", 24, "torch", 0).steps_per_epoch == 1


@pytest.mark.parametrize("loader", RAW_LOADERS)
@pytest.mark.parametrize("workers", [0, 1])
def test_global_generators_and_thread_count_do_not_change(info, loader, workers):
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1], torch.get_num_threads()
    list(open_loader(info, "train", 5, loader, workers).epoch(0, 0))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.get_num_threads() == before[2]


@pytest.mark.parametrize("loader", RAW_LOADERS)
@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 2), (2, 1), (2, 2), (4, 2)])
def test_micro_batches_of_all_ranks_are_the_global_batch(info, loader, world_size, accumulate):
    whole = open_loader(info, "train", 8, loader, 0)
    parts = [
        open_loader(info, "train", 8, loader, 0, rank, world_size, accumulate)
        for rank in range(world_size)
    ]
    assert {part.steps_per_epoch for part in parts} == {whole.steps_per_epoch} == {3}
    for start in (0, 2):
        epochs = [list(part.epoch(1, 2, start)) for part in parts]
        assert {len(epoch) for epoch in epochs} == {(3 - start) * accumulate}
        for step, batch in enumerate(whole.epoch(1, 2, start)):
            micro = [
                b for epoch in epochs for b in epoch[step * accumulate : (step + 1) * accumulate]
            ]
            assert {len(b.labels) for b in micro} == {8 // world_size // accumulate}
            joined = [torch.cat(tensors) for tensors in zip(*micro, strict=True)]
            assert same([joined], [batch])


@pytest.mark.parametrize("loader", RAW_LOADERS)
def test_ranks_share_the_test_images(info, loader):
    parts = [open_loader(info, "test", 2, loader, 0, rank, 4) for rank in range(4)]
    batches = [list(part.epoch()) for part in parts]
    assert [len(b) for b in batches] == [part.steps_per_epoch for part in parts] == [2, 1, 1, 1]
    (whole,) = open_loader(info, "test", 9, loader, 0).epoch()
    columns = zip(*(batch for part in batches for batch in part), strict=True)
    assert same([[torch.cat(tensors) for tensors in columns]], [whole])


def test_batch_that_the_ranks_cannot_share_equally_is_refused(info):
    with pytest.raises(ValueError, match="2 ranks × 3 micro-batches"):
        open_loader(info, "train", 8, "torch", 0, 0, 2, 3)
