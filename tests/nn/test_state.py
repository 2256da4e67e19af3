"""state_dict and load_state_dict: exchange with PyTorch, strictness, and nothing changed by a failure."""

import numpy as np
import pytest
import torch
from torch_oracle import close

import tinygrad_mnist as tg
from tinygrad_mnist import nn


def small(nn):
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)
    )


def test_a_state_goes_to_torch_and_back(device, rng):
    ours, theirs = small(nn).to(device), small(torch.nn)
    x = rng.normal(size=(4, 1, 6, 6)).astype("float32")
    theirs(torch.tensor(x))  # moves the running statistics
    assert str(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    theirs.eval(), ours.eval()
    close(ours(tg.tensor(x, device=device)), theirs(torch.tensor(x)), 1e-5)
    back = small(torch.nn).eval()
    back.load_state_dict({name: torch.tensor(v.cpu().numpy()) for name, v in ours.state_dict().items()})
    close(back(torch.tensor(x)), theirs(torch.tensor(x)), 1e-6)


def test_a_state_shares_memory_and_has_no_history():
    model = nn.Linear(2, 1)
    state = model.state_dict()
    assert not state["weight"].requires_grad
    model.weight.array[...] = 7
    close(state["weight"], [[7.0, 7.0]])
    assert model.state_dict(keep_vars=True)["weight"] is model.weight


def test_loading_copies_and_casts():
    model = nn.Linear(2, 1)
    weight = np.array([[1.5, 2.5]])
    model.load_state_dict({"weight": weight, "bias": tg.tensor([3])})
    weight[...] = 0
    close(model.weight, [[1.5, 2.5]])
    assert model.bias.dtype == tg.float32
    assert model.bias.item() == 3


def test_every_problem_is_listed_and_nothing_is_loaded():
    model = small(nn)
    before = {name: v.numpy().copy() for name, v in model.state_dict().items()}
    state = {name: v.numpy() + 1 for name, v in model.state_dict().items()}
    del state["0.bias"], state["1.running_var"]
    state |= {"extra.weight": np.zeros(1), "5.weight": np.zeros((10, 12))}
    with pytest.raises(RuntimeError) as raised:
        model.load_state_dict(state)
    assert str(raised.value) == (
        "Error(s) in loading state_dict for Sequential, nothing was loaded:"
        "\n  Missing:\n    0.bias\n    1.running_var"
        "\n  Unexpected:\n    extra.weight"
        "\n  Mis-shaped:\n    5.weight: the model has (2, 12), the file (10, 12)"
    )
    with pytest.raises(RuntimeError, match=r"nothing was loaded:\n  Mis-shaped:\n    5\.weight"):
        model.load_state_dict(state, strict=False)
    for name, v in model.state_dict().items():
        close(v, before[name])


def test_not_strict_loads_what_fits_and_reports_the_rest():
    model = nn.Linear(2, 1)
    keys = model.load_state_dict({"weight": np.ones((1, 2)), "other": np.ones(1)}, strict=False)
    assert keys.missing_keys == ["bias"]
    assert keys.unexpected_keys == ["other"]
    assert repr(keys) == "IncompatibleKeys(missing_keys=['bias'], unexpected_keys=['other'])"
    close(model.weight, [[1.0, 1.0]])


def test_old_files_lack_the_batch_counter():
    model = nn.Sequential(nn.BatchNorm1d(2))
    state = {name: v for name, v in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert model.load_state_dict(state) == ([], [])
    assert nn.BatchNorm1d(2).load_state_dict({n.removeprefix("0."): v for n, v in state.items()}) == ([], [])


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match="expected a tensor or an array under 'weight', got list"):
        nn.Linear(2, 1).load_state_dict({"weight": [[1.0, 2.0]]})


def test_a_gradient_that_needs_the_old_weights_notices():
    model = nn.Linear(2, 1)
    loss = (model(tg.ones(1, 2)) * model.weight).sum()
    model.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match="modified by an"):
        loss.backward()
