"""Every optimizer of clr.methods: formula, groups, skipped steps, checkpoints, copies, ranks."""

import copy
import json
import math
import pickle

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from entry_points import leave_process_group
from method_cases import (
    CASES,
    batch,
    build_model,
    give_curvature,
    loss_of,
    train,
    train_plainly,
)
from torch.nn.parallel import DistributedDataParallel

from clr import CLR
from clr.methods import ALIG, MoMo, PolyakSGD, SPSMax

STEPS = range(6)

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def state_tensors(optimizer):
    """Tensors of the state except the numbers of the last step."""
    last_step = ("lr", "grad_norm_sq", "skipped")
    groups = [{k: v for k, v in g.items() if k not in last_step} for g in optimizer.param_groups]
    tensors = [v for group in groups for v in group.values() if isinstance(v, torch.Tensor)]
    return tensors + [v for state in optimizer.state.values() for v in state.values()]


@each_case
def test_each_step_follows_the_formula(case):
    model, expected = build_model(), build_model()
    optimizer = case.build(model.parameters())
    rates = train(model, optimizer, STEPS)
    right = train_plainly(case, expected, [list(expected.parameters())], [case.cap], STEPS)
    assert [r for (r,) in rates] == pytest.approx([r for (r,) in right], rel=1e-9)
    assert torch.allclose(flat(model), flat(expected), rtol=1e-9, atol=1e-12)


@each_case
def test_float32_parameters_follow_it_to_rounding(case):
    model, expected = build_model(torch.float32), build_model()
    rates = train(model, case.build(model.parameters()), STEPS)
    right = train_plainly(case, expected, [list(expected.parameters())], [case.cap], STEPS)
    assert [r for (r,) in rates] == pytest.approx([r for (r,) in right], rel=1e-4)
    assert torch.allclose(flat(model).double(), flat(expected), rtol=1e-4, atol=1e-5)


@each_case
def test_groups_have_one_rate_and_caps_of_their_own(case):
    model, expected = build_model(), build_model()
    groups = [{"params": model[0].parameters(), "max_lr": 0.02}, {"params": model[2].parameters()}]
    rates = train(model, case.build(groups), STEPS)
    layers = [list(expected[0].parameters()), list(expected[2].parameters())]
    right = train_plainly(case, expected, layers, [0.02, case.cap], STEPS)
    for a, b in zip(rates, right, strict=True):
        assert a == pytest.approx(b, rel=1e-9)
    assert any(first == 0.02 < second for first, second in rates)
    assert torch.allclose(flat(model), flat(expected), rtol=1e-9, atol=1e-12)


@each_case
def test_a_group_that_is_added_later_has_the_state_of_the_others(case):
    model = build_model()
    optimizer = case.build(model[0].parameters())
    train(model, optimizer, range(2))
    optimizer.add_param_group({"params": model[2].parameters()})
    rates = train(model, optimizer, range(2, 4))
    assert all(first == second > 0 for first, second in rates)


@each_case
def test_accumulated_gradients_are_one_step(case):
    model, whole = build_model(), build_model()
    train(whole, case.build(whole.parameters()), STEPS)
    optimizer = case.build(model.parameters())
    for step in STEPS:
        optimizer.zero_grad()
        for x, y in zip(*(t.chunk(2) for t in batch(step)), strict=True):
            loss = loss_of(model, x, y)
            optimizer.watch_loss(loss)
            (loss / 2).backward()
        give_curvature(optimizer, model, *batch(step))
        optimizer.step()
    assert torch.allclose(flat(model), flat(whole), rtol=1e-9, atol=1e-12)


def infinite_loss(loss, grad):
    return loss * math.inf


def nan_loss(loss, grad):
    return loss * math.nan


def nan_gradient(loss, grad):
    grad[0, 0] = math.nan
    return loss


def infinite_gradient(loss, grad):
    grad[0, 0] = -math.inf
    return loss


@pytest.mark.parametrize("spoil", [infinite_loss, nan_loss, nan_gradient, infinite_gradient])
@pytest.mark.parametrize("at", [0, 3])
@each_case
def test_a_step_that_is_not_finite_is_skipped_without_trace(case, spoil, at):
    model, clean = build_model(torch.float32), build_model(torch.float32)
    optimizer, undisturbed = case.build(model.parameters()), case.build(clean.parameters())
    train(model, optimizer, range(at))
    before = flat(model), [t.clone() for t in state_tensors(optimizer)]
    optimizer.zero_grad()
    loss = loss_of(model, *batch(99, torch.float32))
    loss.backward()
    give_curvature(optimizer, model, *batch(99, torch.float32))
    optimizer.step(loss=spoil(loss.detach(), model[0].weight.grad))
    assert torch.equal(flat(model), before[0])
    for now, then in zip(state_tensors(optimizer), before[1], strict=bool(at)):
        assert torch.equal(now, then)
    group = optimizer.param_groups[0]
    assert group["lr"].item() == 0
    assert group["skipped"].item() == 1
    train(model, optimizer, range(at, 6))
    train(clean, undisturbed, range(6))
    assert torch.equal(flat(model), flat(clean))
    assert optimizer.param_groups[0]["skipped"].item() == 1


@pytest.mark.parametrize("at", [0, 3])
@each_case
def test_a_zero_gradient_changes_nothing_and_is_not_counted(case, at):
    model, clean = build_model(torch.float32), build_model(torch.float32)
    optimizer, undisturbed = case.build(model.parameters()), case.build(clean.parameters())
    train(model, optimizer, range(at))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    give_curvature(optimizer, model, *batch(99, torch.float32))
    optimizer.step(loss=0.5)
    assert optimizer.param_groups[0]["lr"].item() == 0
    assert optimizer.param_groups[0]["skipped"].item() == 0
    train(model, optimizer, range(at, 6))
    train(clean, undisturbed, range(6))
    assert torch.equal(flat(model), flat(clean))


@each_case
def test_resuming_from_a_checkpoint_is_bit_exact(case, tmp_path):
    straight, model = build_model(torch.float32), build_model(torch.float32)
    train(straight, case.build(straight.parameters()), STEPS)
    first = case.build(model.parameters())
    train(model, first, range(3))
    torch.save({"model": model.state_dict(), "optimizer": first.state_dict()}, tmp_path / "x.pt")
    states = torch.load(tmp_path / "x.pt", weights_only=True)
    resumed = build_model(torch.float32)
    resumed.load_state_dict(states["model"])
    second = case.build(resumed.parameters())
    second.load_state_dict(states["optimizer"])
    train(resumed, second, range(3, 6))
    assert torch.equal(flat(straight), flat(resumed))


def through_pickle(pair):
    return pickle.loads(pickle.dumps(pair))


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle])
@each_case
def test_a_copy_continues_as_the_original(case, copied):
    model = build_model(torch.float32)
    optimizer = case.build(model.parameters())
    train(model, optimizer, range(3))
    other_model, other = copied((model, optimizer))
    rates = train(other_model, other, range(3, 6))
    assert train(model, optimizer, range(3, 6)) == rates
    assert torch.equal(flat(model), flat(other_model))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("build", "max_lr"),
    [
        (PolyakSGD, None),
        (PolyakSGD, 0.1),
        (lambda ps, max_lr: SPSMax(ps, c=1.0, max_lr=max_lr), 0.1),
        (lambda ps, max_lr: ALIG(ps, delta=0.0, max_lr=max_lr), 0.1),
        (lambda ps, max_lr: MoMo(ps, beta=0.0, max_lr=max_lr), None),
    ],
    ids=["PolyakSGD", "PolyakSGD with a cap", "SPSMax", "ALIG", "MoMo"],
)
def test_with_its_options_off_it_is_clr_to_the_bit(build, max_lr, dtype):
    model, expected = build_model(dtype), build_model(dtype)
    rates = train(model, build(model.parameters(), max_lr=max_lr), STEPS)
    assert rates == train(expected, CLR(expected.parameters(), max_lr=max_lr), STEPS)
    assert torch.equal(flat(model), flat(expected))


@each_case
def test_the_state_of_another_optimizer_is_refused_by_name(case):
    params = list(build_model().parameters())
    optimizer = case.build(params)
    with pytest.raises(ValueError, match=f"not the state of {type(optimizer).__name__}: a para"):
        optimizer.load_state_dict(CLR(params).state_dict())


def run_rank(rank, folder):
    """Train each case on this rank's half of each batch; write the parameters and rates."""
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    results = {}
    for case in CASES:
        model = DistributedDataParallel(build_model())
        optimizer = case.build(model.parameters())
        rates = []
        for step in STEPS:
            optimizer.zero_grad()
            loss = loss_of(model, *(t.chunk(2)[rank] for t in batch(step)))
            loss.backward()
            give_curvature(optimizer, model.module, *batch(step))
            optimizer.step(loss=loss)
            rates.append(optimizer.param_groups[0]["lr"].item())
        results[case.name] = {"parameters": flat(model).tolist(), "rates": rates}
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(results, file)
    leave_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Results of all cases on each of two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(run_rank, (str(folder),), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@each_case
def test_two_ranks_step_as_one_process_with_all_the_data(case, ranks):
    model = build_model()
    rates = train(model, case.build(model.parameters()), STEPS)
    for rank in range(2):
        assert ranks[rank][case.name]["rates"] == pytest.approx([r for (r,) in rates], rel=1e-9)
        assert ranks[rank][case.name]["parameters"] == pytest.approx(flat(model).tolist(), abs=1e-9)
