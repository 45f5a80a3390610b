"""CLR on two ranks: averaged, sharded and wrongly sharded gradients."""

import copy
import itertools
import json

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
import torch.multiprocessing as mp
from entry_points import leave_process_group
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

from clr import CLR
from clr.reference import ReferenceCLR

pytestmark = pytest.mark.slow

STEPS = 3


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 5, generator=generator), torch.randn(8, 3, generator=generator)


def build_model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


def train(model, optimizer, x, y):
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        if isinstance(optimizer, ReferenceCLR):
            optimizer.step(loss)
        else:
            optimizer.step(loss=loss)


def train_in_micro_batches(model, optimizer, x, y):
    """The same with gradient accumulation: gradients are averaged over the ranks at the end."""
    for _ in range(STEPS):
        optimizer.zero_grad()
        for number, (xs, ys) in enumerate(zip(x.chunk(2), y.chunk(2), strict=True)):
            if isinstance(model, DistributedDataParallel):
                model.require_backward_grad_sync = number == 1
            else:
                model.set_requires_gradient_sync(number == 1)
            loss = (model(xs) - ys).square().mean()
            optimizer.watch_loss(loss)
            (loss / 2).backward()
        optimizer.step()


def step_with_the_closure_of_a_part(model, optimizer, x, y):
    """A step with accumulation whose closure returns half of the loss of the last part."""
    first, last = zip(x.chunk(2), y.chunk(2), strict=True)
    with model.no_sync():
        ((model(first[0]) - first[1]).square().mean() / 2).backward()

    def closure():
        loss = (model(last[0]) - last[1]).square().mean() / 2
        loss.backward()
        return loss

    optimizer.step(closure)


def restored_state(folder, model, optimizer):
    """State of a new optimizer that reads what a distributed checkpoint has kept."""
    optimizer.param_groups[0]["max_lr"] = 0.7
    optimizer.param_groups[0]["skipped"] += 3
    states = {"optimizer": get_optimizer_state_dict(model, optimizer)}
    checkpoint.save(states, checkpoint_id=folder)
    model.zero_grad()
    restored = CLR(model.parameters())
    states = {"optimizer": get_optimizer_state_dict(model, restored)}
    checkpoint.load(states, checkpoint_id=folder)
    set_optimizer_state_dict(model, restored, states["optimizer"])
    groups = restored.param_groups[0], optimizer.param_groups[0]
    keys = ("f_star", "max_lr", "lr", "grad_norm_sq", "skipped")
    return [[float(group[key]) for key in keys] for group in groups]


def data_parallel():
    model = DistributedDataParallel(build_model())
    return model, CLR(model.parameters())


def copied_with_a_process_group():
    model = DistributedDataParallel(build_model())
    optimizer = CLR(model.parameters(), process_group=dist.new_group([0, 1]))
    same_parameters = {id(p): p for p in model.parameters()}
    copied = copy.deepcopy(optimizer, same_parameters)
    assert copied.process_group is optimizer.process_group
    return model, copied


def fsdp2():
    model = build_model()
    fully_shard(model[0], mesh=init_device_mesh("cpu", (2,)))
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    return model, CLR(model.parameters())


def tensor_parallel():
    """Each rank has a half of each layer and sees all the data."""
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    model = parallelize_module(build_model(), init_device_mesh("cpu", (2,)), plan)
    return model, CLR(model.parameters())


def not_averaged():
    model = build_model()
    return model, CLR(model.parameters())


def zero_redundancy():
    model = DistributedDataParallel(build_model())
    return model, ZeroRedundancyOptimizer(model.parameters(), optimizer_class=CLR)


def fsdp1():
    cpu = torch.device("cpu")
    model = FullyShardedDataParallel(build_model(), device_id=cpu, use_orig_params=True)
    return model, CLR(model.parameters())


SUPPORTED = [data_parallel, copied_with_a_process_group, fsdp2, tensor_parallel]
REFUSED = [not_averaged, zero_redundancy, fsdp1]


def full(p):
    return p.full_tensor() if hasattr(p, "full_tensor") else p


def run_rank(rank, folder):
    """Train each setup on this rank's half of the data; write the parameters or the error."""
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    x, y = (t.chunk(2)[rank] for t in data())
    results = {}
    for setup in SUPPORTED + REFUSED:
        model, optimizer = setup()
        try:
            train(model, optimizer, *(data() if setup is tensor_parallel else (x, y)))
        except RuntimeError as error:
            results[setup.__name__] = str(error)
        else:
            params = [full(p.detach()).flatten().tolist() for p in model.parameters()]
            results[setup.__name__] = list(itertools.chain(*params))
    for setup in (data_parallel, fsdp2):
        model, optimizer = setup()
        train_in_micro_batches(model, optimizer, x, y)
        params = [full(p.detach()).flatten().tolist() for p in model.parameters()]
        results[f"{setup.__name__} in micro-batches"] = list(itertools.chain(*params))
    results["state"] = restored_state(f"{folder}/checkpoint", model, optimizer)
    try:
        step_with_the_closure_of_a_part(*data_parallel(), x, y)
    except ValueError as error:
        results["closure"] = str(error)
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(results, file)
    leave_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of each setup on each of two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(run_rank, (str(folder),), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize(
    "way",
    [
        *(setup.__name__ for setup in SUPPORTED),
        *(f"{setup.__name__} in micro-batches" for setup in (data_parallel, fsdp2)),
    ],
)
def test_two_ranks_step_as_one_process_with_all_the_data(results, way):
    model = build_model()
    train(model, ReferenceCLR(model.parameters()), *data())
    expected = torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()
    for rank in range(2):
        assert results[rank][way] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("setup", REFUSED, ids=lambda setup: setup.__name__)
def test_ranks_with_different_norms_are_refused_on_both(results, setup):
    for rank in range(2):
        message = results[rank][setup.__name__]
        assert "‖g‖² differs between ranks" in message, message
        assert "DistributedDataParallel" in message, message


def test_a_closure_that_only_adds_to_gradients_is_refused_on_both(results):
    for rank in range(2):
        assert "gradient accumulation" in results[rank]["closure"]


def test_a_distributed_checkpoint_of_sharded_parameters_keeps_the_state(results):
    for rank in range(2):
        restored, saved = results[rank]["state"]
        assert restored == saved
        assert saved[:2] == [0.0, 0.7]
        assert saved[-1] == 3
        assert 0 < saved[2] < 10, "the rate of the last step"
