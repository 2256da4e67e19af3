"""Averaged models against torch.optim.swa_utils."""

import copy

import numpy as np
import pytest
import torch
from torch.optim import swa_utils as theirs_utils
from torch_oracle import close

import tinygrad_mnist as tg
from tinygrad_mnist import finetune, nn
from tinygrad_mnist.optim import swa_utils

pytestmark = pytest.mark.usefixtures("default_device")


def net(nn):
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


AVERAGES = {
    "swa": lambda utils: {},
    "swa_avg_fn": lambda utils: {"avg_fn": utils.get_swa_avg_fn()},
    "ema": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)},
    "ema_avg_fn": lambda utils: {"avg_fn": utils.get_ema_avg_fn(0.7)},
    "default_decay": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn()},
}


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
def test_averages_are_torchs(average: str, use_buffers: bool, rng: np.random.Generator, device: str) -> None:
    model, their_model = net(nn).to(device, tg.float64), net(torch.nn).double()
    model.load_state_dict(their_model.state_dict())
    ours = swa_utils.AveragedModel(model, use_buffers=use_buffers, **AVERAGES[average](swa_utils))
    theirs = theirs_utils.AveragedModel(their_model, use_buffers=use_buffers, **AVERAGES[average](theirs_utils))
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    for _ in range(4):
        weights = {k: torch.tensor(rng.normal(size=v.shape)).to(v.dtype) for k, v in their_model.state_dict().items()}
        weights["1.num_batches_tracked"] = torch.tensor(int(rng.integers(100)))
        their_model.load_state_dict(weights)
        model.load_state_dict(weights)
        ours.update_parameters(model)
        theirs.update_parameters(their_model)
        for name, value in theirs.state_dict().items():
            close(ours.state_dict()[name], value)
    x = rng.normal(size=(2, 3))
    close(ours.eval()(tg.tensor(x, device=device)), theirs.eval()(torch.tensor(x)), 1e-6 if use_buffers else 1e-10)


def test_the_average_is_apart_from_the_model_and_resumes(rng: np.random.Generator) -> None:
    model = net(nn)
    averaged = swa_utils.AveragedModel(model, "cpu", multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5))
    averaged.update_parameters(model)
    nn.init.zeros_(model[0].weight)
    assert averaged.module[0].weight.any().item()
    before = averaged.module[0].weight.numpy(force=True).copy()
    resumed = swa_utils.AveragedModel(net(nn), multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5))
    resumed.load_state_dict(copy.deepcopy(averaged.state_dict()))
    resumed.update_parameters(model)
    close(resumed.module[0].weight, before / 2)
    assert resumed.n_averaged.item() == 2
    assert all(p.requires_grad and p.is_leaf for p in resumed.parameters())


def test_bad_options() -> None:
    for make in (swa_utils.get_ema_avg_fn, swa_utils.get_ema_multi_avg_fn):
        for decay in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match=r"Invalid decay value .* \[0,1\] range"):
                make(decay)
    average = swa_utils.get_swa_avg_fn()
    with pytest.raises(ValueError, match="only one of avg_fn and multi_avg_fn"):
        swa_utils.AveragedModel(net(nn), avg_fn=average, multi_avg_fn=swa_utils.get_ema_multi_avg_fn())


@pytest.mark.parametrize("pairs", [False, True])
def test_update_bn_is_torchs(pairs: bool, rng: np.random.Generator, device: str) -> None:
    ours, theirs = net(nn).to(device, tg.float64).eval(), net(torch.nn).double()
    theirs(torch.tensor(rng.normal(size=(4, 3))))  # moves the running statistics, which count no more
    ours.load_state_dict(theirs.state_dict())
    batches = [rng.normal(2.0, 3.0, size=(n, 3)) for n in (4, 6, 5)]
    moved = [tg.tensor(x) for x in batches]
    swa_utils.update_bn([(x, None) for x in moved] if pairs else moved, ours, device)
    theirs_utils.update_bn([torch.tensor(x) for x in batches], theirs)
    for name, value in theirs.state_dict().items():
        close(ours.state_dict()[name], value)
    assert ours[1].momentum == 0.1
    assert not ours.training
    assert not ours[1].training


def test_update_bn_leaves_frozen_layers_and_others_alone() -> None:
    model = net(nn)
    model(tg.rand(4, 3))
    finetune.freeze(model)
    before = model[1].running_mean.numpy(force=True).copy()
    swa_utils.update_bn([tg.ones(2, 3)], model)
    close(model[1].running_mean, before)
    assert model[1].num_batches_tracked.item() == 1
    finetune.unfreeze(model)
    with pytest.raises(RuntimeError, match="expected 3 features"):
        swa_utils.update_bn([tg.ones(2, 5)], model)
    assert model[1].momentum == 0.1


def test_the_average_of_frozen_weights_keeps_their_bits(device: str) -> None:
    model = nn.Linear(50, 50).to(device)
    ema = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.98))
    for _ in range(5):
        ema.update_parameters(model)
    assert ema.module.weight.detach().cpu().numpy().tobytes() == model.weight.detach().cpu().numpy().tobytes()
