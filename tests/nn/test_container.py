"""Sequential, ModuleList, ModuleDict, ParameterList and the layers that only rearrange."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch_oracle import agree, close

import tinygrad_mnist as tg
from tinygrad_mnist import autograd, nn


def layers(n=3):
    return [nn.Linear(2, 2) for _ in range(n)]


def test_sequential_calls_in_order_and_slices(device):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, device=device), nn.ReLU())
    x = tg.ones(2, 2, 2, device=device)
    close(model(x), model[2](model[1](model[0](x))))
    assert [type(m).__name__ for m in model[1:]] == ["Linear", "ReLU"]
    assert model[1:][0] is model[1]
    assert model[-1] is model[2]
    assert len(model) == 3
    assert len(nn.Sequential()) == 0


@pytest.mark.parametrize(
    "tail",
    [
        (nn.ReLU(), nn.MaxPool2d(2)),
        (nn.ReLU(), nn.MaxPool2d((2, 2), stride=2)),
        (nn.ReLU(inplace=True),),
        (nn.ReLU(), nn.MaxPool2d(3)),
        (nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
        (nn.ReLU(), nn.Dropout(0.0)),
        (nn.MaxPool2d(2), nn.ReLU()),
    ],
)
def test_sequential_gives_what_its_modules_give(tail, device, rng):
    model = nn.Sequential(nn.Conv2d(2, 16, 3, device=device, dtype="float64"), *tail)

    def one_by_one(x):
        for module in model:
            x = module(x)
        return x

    x = tg.tensor(rng.normal(size=(2, 2, 7, 9)), device=device, requires_grad=True)
    inputs = [x, *model.parameters()]
    results = []
    for forward in (model, one_by_one):
        y = forward(x)
        grads = tg.autograd.grad((y * y).sum(), inputs, retain_graph=True)
        again = tg.autograd.grad((y * y).sum(), inputs, create_graph=True)
        second = tg.autograd.grad(sum((g * g).sum() for g in again), inputs)
        results.append([y, *grads, *again, *second])
    for got, expected in zip(*results, strict=True):
        close(got, expected)


def test_hooks_inside_a_sequential_are_called(device):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, device=device), nn.ReLU(), nn.MaxPool2d(2))
    called = []
    for module in model:
        module.register_forward_hook(lambda module, args, y: called.append(type(module).__name__))
    model(tg.ones(1, 1, 6, 6, device=device))
    assert called == ["Conv2d", "ReLU", "MaxPool2d"]


def test_sequential_with_names_is_torchs():
    ours = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), act=nn.ReLU()))
    theirs = torch.nn.Sequential(OrderedDict(conv=torch.nn.Conv2d(1, 2, 3), act=torch.nn.ReLU()))
    assert repr(ours) == repr(theirs)
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    assert ours[0] is ours.conv
    assert repr(ours[1:]) == repr(theirs[1:])


@pytest.mark.parametrize("kind", [nn.Sequential, lambda *m: nn.ModuleList(m)])
def test_numbered_modules_can_be_rearranged(kind):
    a, b, c = layers()
    modules = kind(a, b)
    modules.append(c)
    modules.insert(0, nn.Identity())
    assert [*modules][1:] == [a, b, c]
    assert modules.pop(0).extra_repr() == ""
    modules[1] = nn.ReLU()
    assert isinstance(modules[1], nn.ReLU)
    del modules[1]
    assert [*modules] == [a, c]
    modules.extend([b, b])
    assert [name for name, _ in modules.named_modules(remove_duplicate=False)] == ["", "0", "1", "2", "3"]
    del modules[1:]
    assert [*modules] == [a]
    for index in (1, -2):
        with pytest.raises(IndexError, match=f"index {index} is out of range for .* of 1 modules"):
            modules[index]


def test_module_list_finds_its_parameters_and_folds_its_repr():
    ours = nn.ModuleList([*layers(), nn.ReLU(), nn.Sequential(nn.ReLU())])
    theirs = torch.nn.ModuleList(
        [*(torch.nn.Linear(2, 2) for _ in range(3)), torch.nn.ReLU(), torch.nn.Sequential(torch.nn.ReLU())]
    )
    assert repr(ours) == repr(theirs)
    assert repr(nn.ModuleList()) == repr(torch.nn.ModuleList())
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    assert [*ours[1:3]] == [ours[1], ours[2]]


def test_module_dict():
    modules = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(2, 2)})
    assert repr(modules) == repr(torch.nn.ModuleDict({"a": torch.nn.ReLU(), "b": torch.nn.Linear(2, 2)}))
    assert [*modules] == [*modules.keys()] == ["a", "b"]
    assert [m for _, m in modules.items()] == [*modules.values()]
    modules["c"] = nn.Tanh()
    modules.update({"a": nn.Sigmoid()})
    assert isinstance(modules["a"], nn.Sigmoid)
    assert "c" in modules
    del modules["c"]
    assert isinstance(modules.pop("a"), nn.Sigmoid)
    assert len(modules) == 1
    modules.clear()
    assert len(modules) == 0
    with pytest.raises(TypeError, match="cannot assign int as module 'x'"):
        modules["x"] = 1


def test_parameter_list():
    parameters = nn.ParameterList([tg.ones(1), nn.Parameter(tg.zeros(2))])
    assert [n for n, _ in parameters.named_parameters()] == ["0", "1"]
    assert len(parameters) == 2
    close(parameters[1], [0.0, 0.0])
    assert [p.shape for p in parameters] == [(1,), (2,)]


def test_identity_ignores_its_arguments(device):
    x = tg.ones(2, device=device)
    assert nn.Identity(54, unused=True)(x) is x
    assert repr(nn.Identity()) == repr(torch.nn.Identity())


def test_flatten_and_unflatten_agree(device, rng):
    x = rng.normal(size=(2, 3, 4, 5))
    for arguments in [(), (0,), (1, 2)]:
        agree(nn.Flatten(*arguments), torch.nn.Flatten(*arguments), x, device=device)
        assert repr(nn.Flatten(*arguments)) == repr(torch.nn.Flatten(*arguments))
    for arguments in [(1, (3, 1)), (-1, (5, 1)), (2, (2, -1))]:
        agree(nn.Unflatten(*arguments), torch.nn.Unflatten(*arguments), x, device=device)
        assert repr(nn.Unflatten(*arguments)) == repr(torch.nn.Unflatten(*arguments))


CONV_RELU_POOL = [nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]


@pytest.mark.parametrize(
    ("modules", "ops_called"),
    [
        (CONV_RELU_POOL, 1),
        (CONV_RELU_POOL[:2], 1),
        (CONV_RELU_POOL[:1], 1),
        ([CONV_RELU_POOL[0], CONV_RELU_POOL[2], nn.ReLU()], 3),
        ([*CONV_RELU_POOL[:2], nn.MaxPool2d(3)], 2),
        ([*CONV_RELU_POOL[:2], nn.MaxPool2d(2, stride=1)], 2),
        ([*CONV_RELU_POOL[:2], nn.MaxPool2d(2, ceil_mode=True)], 2),
        ([*CONV_RELU_POOL[:2], nn.MaxPool2d((2, 2), (2, 2), (0, 0), (1, 1))], 1),
    ],
)
def test_sequential_fuses_what_follows_a_convolution(modules, ops_called):
    x = tg.tensor(np.random.default_rng(0).standard_normal((2, 2, 7, 7)).astype(np.float32))
    expected = x
    for module in modules:
        expected = module(expected)
    y = nn.Sequential(*modules)(x)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    depth, node = 0, y.node
    while isinstance(node, autograd.Node):
        depth, node = depth + 1, node.next_functions[0][0]
    assert depth == ops_called


NORM_RELU_POOL = [nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)]


@pytest.mark.parametrize(
    ("modules", "ops_called"),
    [(NORM_RELU_POOL, 1), (NORM_RELU_POOL[:2], 1), (NORM_RELU_POOL[:1], 1), ([*NORM_RELU_POOL[::2], nn.ReLU()], 3)],
)
def test_sequential_fuses_what_follows_a_batch_norm(modules, ops_called):
    model = nn.Sequential(*modules)
    x = tg.tensor(np.random.default_rng(0).standard_normal((2, 2, 7, 7)).astype(np.float32), requires_grad=True)
    running = []
    for forward in (lambda x: model(x), lambda x: [x := module(x) for module in modules][-1]):
        modules[0].reset_running_stats()
        running.append((forward(x), modules[0].running_mean.numpy().copy(), modules[0].num_batches_tracked.item()))
    for fused, separate in zip(*running, strict=True):
        close(fused, separate, 1e-6)
    depth, node = 0, running[0][0].node
    while isinstance(node, autograd.Node):
        depth, node = depth + 1, node.next_functions[0][0]
    assert depth == ops_called


@pytest.mark.parametrize("bias", [False, True])
def test_sequential_fuses_the_relu_after_a_linear_layer_but_no_pooling(bias, rng):
    modules = nn.Linear(4, 6, bias=bias), nn.ReLU(), nn.MaxPool2d(2)
    model = nn.Sequential(*modules)
    x = tg.tensor(rng.standard_normal((2, 3, 4)).astype(np.float32))
    together, separate = model(x), modules[2](modules[1](modules[0](x)))
    close(together, separate, 0)
    names, node = [], together.node
    while isinstance(node, autograd.Node):
        names.append(node.name)
        node = node.next_functions[0][0]
    assert "LinearReluBackward0" in names
    inputs, seed = list(model.parameters()), tg.ones_like(separate)
    for a, b in zip(*(tg.autograd.grad(y, inputs, seed) for y in (together, separate)), strict=True):
        close(a, b, 1e-6)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tail", [[], [nn.ReLU()], [nn.ReLU(), nn.MaxPool2d(2)], [nn.MaxPool2d(2)]])
@pytest.mark.parametrize("norm", [{}, {"affine": False}, {"bias": False}])
def test_sequential_takes_a_batch_norm_in_eval_mode_into_the_weights(norm, tail, bias, rng):
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, bias=bias), nn.BatchNorm2d(3, **norm), *tail)
    x = tg.tensor(rng.standard_normal((2, 2, 7, 7)).astype(np.float32), requires_grad=True)
    model(x)  # the running statistics move
    model.eval()
    inputs = [x, *model.parameters()]
    separate = x
    for module in model:
        separate = module(separate)
    together = model(x)
    close(together, separate, 1e-5)
    names, node = [], together.node
    while isinstance(node, autograd.Node):
        names.append(node.name)
        node = node.next_functions[0][0]
    assert "ChannelAffineBackward0" not in names
    seed = tg.tensor(rng.standard_normal(tuple(separate.shape)).astype(np.float32))
    for a, b in zip(*(tg.autograd.grad(y, inputs, seed) for y in (together, separate)), strict=True):
        close(a, b, 2e-5)


def test_weights_with_a_batch_norm_in_them_follow_every_change(rng):
    model = nn.Sequential(nn.Conv2d(16, 20, 3), nn.BatchNorm2d(20)).eval()
    x = tg.tensor(rng.standard_normal((1, 16, 6, 6)).astype(np.float32))

    def agrees():
        with tg.no_grad():
            found = [model(x) for _ in range(2)]
            expected = model[1](model[0](x))
        close(found[0], found[1], 0)
        close(found[0], expected, 1e-4)  # float32 rounds sums of up to 100; a change shows as 1 and more

    agrees()
    for tensor in model.state_dict().values():
        tensor.array[...] += 1  # through a view
        agrees()
    model.load_state_dict({name: t * 2 for name, t in model.state_dict().items()})
    agrees()
    model[0].weight.data = model[0].weight.data * 2
    agrees()
    model[1].eps = 0.5
    agrees()
    seed = tg.ones_like(model(x))
    assert all(g is not None for g in tg.autograd.grad(model(x), list(model.parameters()), seed))


def test_sequential_leaves_a_batch_norm_without_running_statistics_alone():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    x = tg.tensor(np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2))
    close(model(x), model[1](model[0](x)))
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(3)).eval()
    with pytest.raises(RuntimeError, match=r"BatchNorm2d\(3.*\) at '1': expected 3 channels, got 2"):
        model(x)


def test_a_batch_norm_is_taken_into_weights_if_they_are_at_most_3_for_each_number(rng):
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)).eval()  # 1,152 weights
    for size, last in [(6, "ChannelAffineBackward0"), (7, "Conv2dBackward0")]:
        x = tg.tensor(rng.standard_normal((1, 8, size, size)).astype(np.float32))
        assert model(x).node.name == last
        close(model(x), model[1](model[0](x)), 1e-5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tail", [[], [nn.ReLU()], [nn.ReLU(), nn.MaxPool2d(2)]])
def test_many_weights_are_left_as_they_are_and_the_result_is_scaled(tail, bias, rng):
    model = nn.Sequential(nn.Conv2d(64, 65, 3, padding=1, bias=bias), nn.BatchNorm2d(65), *tail)
    x = tg.tensor(rng.standard_normal((1, 64, 2, 3)).astype(np.float32))
    model(x)  # the running statistics move
    model.eval()
    separate = x
    for module in model:
        separate = module(separate)
    close(model(x), separate, 1e-5)
    for lies in ((0, 2, 3, 1), (0, 1, 2, 3)):  # channels-last, which one pass is for, and row-major
        weight = model[0].weight
        weight.data = weight.data.permute(*lies).contiguous().permute(*np.argsort(lies).tolist())
        with tg.no_grad():
            close(model(x), separate, 1e-5)


@pytest.mark.parametrize("hooked", [0, 1, 2])
@pytest.mark.parametrize("first", [CONV_RELU_POOL[0], nn.BatchNorm2d(2)])
def test_sequential_calls_every_hook(first, hooked):
    seen = []
    model = nn.Sequential(first, *CONV_RELU_POOL[1:])
    handle = model[hooked].register_forward_hook(lambda module, args, y: seen.append(tuple(y.shape)))
    model(tg.ones(1, 2, 6, 6))
    handle.remove()
    channels = 3 if first is CONV_RELU_POOL[0] else 2
    assert seen == [[(1, channels, 6, 6), (1, channels, 6, 6), (1, channels, 3, 3)][hooked]]


def test_then_is_checked():
    conv, x = nn.Conv2d(1, 1, 3), tg.ones(1, 1, 3, 3)
    with pytest.raises(ValueError, match="then: expected 'relu', 'relu_pool' or None, got 'tanh'"):
        conv(x, then="tanh")
    with pytest.raises(ValueError, match="then: expected 'relu' or None, got 'relu_pool'"):
        nn.Linear(3, 1)(x, then="relu_pool")
    with pytest.raises(RuntimeError, match=r"pooling needs images of at least 2 x 2 pixels, got \(1, 1\)"):
        conv(x, then="relu_pool")
