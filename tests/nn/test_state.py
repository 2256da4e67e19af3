"""state_dict and load_state_dict: exchange with PyTorch, strictness, and nothing changed by a failure."""

import numpy as np
import pytest
import torch
from torch_oracle import close

import tinygrad_mnist as tg
from tinygrad_mnist import nn

pytestmark = pytest.mark.usefixtures("default_device")


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
    back.load_state_dict({name: torch.tensor(v.numpy(force=True)) for name, v in ours.state_dict().items()})
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
    before = {name: v.numpy(force=True).copy() for name, v in model.state_dict().items()}
    state = {name: v.numpy(force=True) + 1 for name, v in model.state_dict().items()}
    del state["0.bias"], state["1.running_var"]
    state |= {"extra.weight": np.zeros(1), "5.weight": np.zeros((10, 12))}
    with pytest.raises(RuntimeError) as raised:
        model.load_state_dict(state)
    assert str(raised.value) == (
        "Error(s) in loading state_dict for Sequential, nothing was loaded:\n"
        "            name           model    state_dict\n"
        "missing     0.bias         (3,)     -\n"
        "missing     1.running_var  (3,)     -\n"
        "unexpected  extra.weight   -        (1,)\n"
        "mis-shaped  5.weight       (2, 12)  (10, 12)\n"
        "skip_mismatched=True leaves what is mis-shaped as it is in the model, for instance a new head."
    )
    with pytest.raises(RuntimeError, match=r"nothing was loaded:\n(?s:.*)mis-shaped  5\.weight"):
        model.load_state_dict(state, strict=False)
    with pytest.raises(RuntimeError, match=r"nothing was loaded:\n(?s:.*)unexpected  extra\.weight"):
        model.load_state_dict(state, skip_mismatched=True)
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


def test_mis_shaped_tensors_can_be_skipped():
    model, pretrained = small(nn), small(nn)
    pretrained[5] = nn.Linear(12, 10)
    head = model[5].weight.numpy(force=True).copy()
    keys = model.load_state_dict(pretrained.state_dict(), skip_mismatched=True)
    missing, unexpected = keys
    assert (missing, unexpected, keys.mismatched_keys) == ([], [], ["5.weight", "5.bias"])
    assert keys.report == (
        "            name      model    state_dict\n"
        "mis-shaped  5.weight  (2, 12)  (10, 12)\n"
        "mis-shaped  5.bias    (2,)     (10,)"
    )
    assert repr(keys).endswith("unexpected_keys=[], mismatched_keys=['5.weight', '5.bias'])")
    close(model[0].weight, pretrained[0].weight)
    close(model[5].weight, head)


def test_prefixes_are_replaced():
    model = nn.Sequential(nn.Linear(2, 1))
    weight, bias = np.ones((1, 2)), np.zeros(1)
    named = {"module.net.weight": weight, "module.bias": bias}
    # The first prefix that fits counts, so that the longer one stands first.
    assert model.load_state_dict(named, prefix={"module.net.": "0.", "module.": "0."}) == ([], [])
    close(model[0].weight, weight)
    assert model.load_state_dict({"weight": weight + 1, "bias": bias}, prefix={"": "0."}).report == ""
    close(model[0].weight, weight + 1)
    with pytest.raises(ValueError, match=r"no name .* begins with 'modul\.x'; the first names are module\."):
        model.load_state_dict(named, prefix={"modul.x": ""})
    with pytest.raises(ValueError, match=r"makes two names into '0\.bias'"):
        model.load_state_dict({"0.bias": bias, "bias": bias}, prefix={"bias": "0.bias"})


def test_a_common_prefix_is_found():
    model = small(nn)
    state = {f"module.{name}": v for name, v in model.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"All names begin with 'module\.': use prefix=\{'module\.': ''\}\.$"):
        model.load_state_dict(state)
    assert model.load_state_dict(state, prefix={"module.": ""}) == ([], [])


@pytest.mark.parametrize("names", [["a.weight"], ["a.0.weight", "b.0.bias"]])
def test_weights_of_another_architecture(names):
    with pytest.raises(RuntimeError, match=r"No name fits: this is the state_dict of another architecture\.$"):
        small(nn).load_state_dict({name: np.ones(3) for name in names})


@pytest.mark.parametrize(("here", "there"), [(1, 3), (3, 1)])
def test_gray_images_and_colour_weights(here, there):
    def net(channels, classes):
        return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.Linear(16, classes))

    model, state = net(here, 10), net(there, 10).state_dict()
    both_ways_out = (
        rf"'0\.weight' takes images of {there} .*load it into a model with {there} and then call "
        rf"finetune\.adapt_first_conv\(model, {here}\), or .* transforms\.Grayscale\({there}\)\."
    )
    with pytest.raises(RuntimeError, match=both_ways_out + "$"):
        model.load_state_dict(state)
    with pytest.raises(RuntimeError, match=both_ways_out + r"\nskip_mismatched=True leaves"):
        net(here, 7).load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"mis-shaped  weight .*\nskip_mismatched=True leaves"):
        nn.Conv2d(here, 4, 3).load_state_dict(nn.Conv2d(there, 4, 5).state_dict())
    images = tg.ones(2, there, 4, 4)
    with pytest.raises(RuntimeError, match=rf"adapt_first_conv\(model, {there}\)\) or transforms\.Grayscale\({here}\)"):
        model(images)


def test_modules_that_are_always_in_eval_mode():
    model = small(nn)
    model[1].always_eval = True
    assert [m.training for m in model.train()] == [True, False, True, True, True, True]
    model[1].always_eval = False
    assert all(m.training for m in model.train())
