"""Module: what it registers and finds, calls, hooks, moves, copies and prints; and what its errors say."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch_oracle import close

import tinygrad_mnist as tg
from tinygrad_mnist import nn


def make_net(nn, parameter, tensor):
    """The same network in either library: shared layer, buffers, absent bias, nested modules."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = parameter(tensor([2.0]))
            self.register_parameter("shift", None)
            self.register_buffer("seen", tensor([0.0]))
            self.register_buffer("scratch", tensor([1.0]), persistent=False)
            self.features = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU())
            self.again = self.features[0]
            self.none = None
            self.add_module("absent", None)
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(self.features(x).mean(3).flatten(1)) * self.scale

    return Net()


@pytest.fixture
def net():
    return make_net(nn, nn.Parameter, tg.tensor)


@pytest.fixture
def torch_net():
    return make_net(torch.nn, torch.nn.Parameter, torch.tensor)


def test_names_and_order_are_torchs(net, torch_net):
    for method in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [n for n, _ in getattr(net, method)()] == [n for n, _ in getattr(torch_net, method)()]
    for options in ({"recurse": False}, {"prefix": "net"}, {"remove_duplicate": False}):
        for method in ("named_parameters", "named_buffers"):
            ours, theirs = (getattr(n, method)(**options) for n in (net, torch_net))
            assert [n for n, _ in ours] == [n for n, _ in theirs]
    assert [n for n, _ in net.named_modules(remove_duplicate=False)] == [
        n for n, _ in torch_net.named_modules(remove_duplicate=False)
    ]
    assert [*net.state_dict(prefix="a.")] == [*torch_net.state_dict(prefix="a.")]
    assert len([*net.parameters()]) == len([*torch_net.parameters()])
    assert len([*net.buffers()]) == len([*torch_net.buffers()])
    assert len([*net.modules()]) == len([*torch_net.modules()])
    assert len([*net.children()]) == len([*torch_net.children()])
    assert {"scale", "seen", "fc", "forward"} <= set(dir(net))


def test_repr_is_torchs(net, torch_net):
    assert repr(net) == repr(torch_net)


def test_lookup_by_path(net):
    assert net.get_submodule("") is net
    assert net.get_submodule("features.0") is net.again
    assert net.get_parameter("features.0.weight") is net.again.weight
    assert net.get_buffer("features.1.running_mean") is net.features[1].running_mean
    for call, message in [
        (
            lambda: net.get_submodule("features.7"),
            r"Sequential has no submodule '7' \(path 'features.7'\); it has \['0', '1', '2'\]",
        ),
        (lambda: net.get_submodule("absent.x"), "no submodule 'absent'"),
        (
            lambda: net.get_parameter("fc.w"),
            r"Linear has no parameter 'w' \(path 'fc.w'\); it has \['weight', 'bias'\]",
        ),
        (lambda: net.get_buffer("fc.weight"), "no buffer 'weight'"),
        (lambda: net.missing, "'Net' object has no attribute 'missing'"),
    ]:
        with pytest.raises(AttributeError, match=message):
            call()


def test_assigning_and_deleting(net):
    net.scale = None
    assert net.scale is None
    net.seen = tg.tensor([5.0])
    assert net.get_buffer("seen").item() == 5
    net.seen = nn.Parameter(tg.ones(1))  # a buffer becomes a parameter
    assert "seen" in dict(net.named_parameters())
    assert "seen" not in dict(net.named_buffers())
    net.scratch = nn.Parameter(tg.ones(1))  # one that was not persistent: now it is saved
    assert "scratch" in net.state_dict()
    net.none = nn.Identity()  # a plain attribute becomes a module
    assert isinstance(net.get_submodule("none"), nn.Identity)
    del net.none, net.scratch, net.fc
    assert not hasattr(net, "none")
    with pytest.raises(AttributeError):
        del net.nothing
    net.plain = tg.ones(1)
    assert "plain" not in net.state_dict()
    net.register_buffer("scratch", tg.ones(1))
    assert "scratch" in net.state_dict()


def test_bad_assignments(net):
    for raises, message, call in [
        (
            TypeError,
            r"cannot assign Tensor as parameter 'scale' \(Parameter or None expected\)",
            lambda: setattr(net, "scale", tg.ones(1)),
        ),
        (TypeError, r"cannot assign int as buffer 'seen' \(Tensor or None expected\)", lambda: setattr(net, "seen", 3)),
        (TypeError, r"cannot assign str as module 'fc' \(Module or None expected\)", lambda: setattr(net, "fc", "x")),
        (KeyError, "attribute 'forward' already exists", lambda: net.add_module("forward", nn.Identity())),
        (KeyError, "no '.', got 'a.b'", lambda: net.register_buffer("a.b", tg.ones(1))),
        (KeyError, "not empty", lambda: net.register_parameter("", None)),
        (
            TypeError,
            r"expected a Tensor, got ndarray; use Parameter\(tensor\(data\)\)",
            lambda: nn.Parameter(np.ones(1)),
        ),
        (ValueError, "expected a bool, got 1", lambda: net.train(1)),
        (TypeError, "floating dtypes only, got int64", lambda: net.to(tg.int64)),
    ]:
        with pytest.raises(raises, match=message):
            call()


def test_super_init_must_come_first():
    class Late(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(1, 1)

    with pytest.raises(
        AttributeError, match=r"cannot assign a module before Module.__init__\(\) was called: call super"
    ):
        Late()


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match=r"Module\(\): Module needs a forward\(\) method"):
        nn.Module()(1)


def test_training_mode_freezing_and_zeroing(net):
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    net(tg.ones(2, 1, 4, 4)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(not p.grad.any().item() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    net.requires_grad_(False)
    assert not net(tg.ones(2, 1, 4, 4)).requires_grad


def test_apply_visits_children_first(net, torch_net):
    ours, theirs = [], []
    net.apply(lambda m: ours.append(type(m).__name__))
    torch_net.apply(lambda m: theirs.append(type(m).__name__))
    assert ours == theirs


def test_casting_moves_parameters_gradients_and_buffers_in_place(net):
    weight = net.fc.weight
    net(tg.ones(2, 1, 4, 4)).sum().backward()
    assert net.double() is net
    assert weight is net.fc.weight
    assert (weight.dtype, weight.grad.dtype, net.seen.dtype) == (tg.float64,) * 3
    assert net.features[1].num_batches_tracked.dtype == tg.int64
    for change in (
        net.half,
        lambda: net.to("cpu", tg.float16),
        lambda: net.to(tg.ones(1).half()),
        lambda: net.to(dtype=tg.float16),
    ):
        net.float()
        assert net.fc.weight.dtype == tg.float32
        change()
        assert net.fc.weight.dtype == tg.float16
    assert str(net.cpu().fc.weight.device) == "cpu"


def test_cuda_without_a_gpu_names_the_remedy(net, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)  # as if it were not installed
    tg.backend.get.cache_clear()
    for move in (net.cuda, lambda: net.cuda(0), lambda: net.to("cuda")):
        with pytest.raises(tg.backend.BackendError, match="pip install"):
            move()
    tg.backend.get.cache_clear()


def test_hooks_see_and_replace(device):
    layer = nn.Linear(1, 1, bias=False, device=device)
    layer.load_state_dict({"weight": np.array([[3.0]])})
    x, calls = tg.ones(1, 1, device=device), []
    pre = layer.register_forward_pre_hook(lambda module, args: calls.append(("pre", module, args)))
    post = layer.register_forward_hook(lambda module, args, y: calls.append(("post", args, y)))
    y = layer(x)
    assert calls == [("pre", layer, (x,)), ("post", (x,), y)]
    pre.remove(), post.remove()
    with (
        layer.register_forward_pre_hook(lambda module, args: args[0] * 2),
        layer.register_forward_hook(lambda module, args, y: y + 1),
    ):
        close(layer(x), [[7.0]])
    with layer.register_forward_pre_hook(lambda module, args: (args[0] * 4,)):
        close(layer(x), [[12.0]])
    close(layer(x), [[3.0]])


def test_copies_are_independent_and_equal(net):
    x = tg.ones(2, 1, 4, 4)
    expected = net(x)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(nn.Sequential(nn.Linear(4, 2))))):
        names = dict(twin.named_parameters())
        assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in names.values())
    twin = copy.deepcopy(net)
    assert twin.again is twin.features[0]  # what was shared still is
    twin.fc.weight.array[...] = 0
    assert net.fc.weight.any().item()
    close(net(x), expected, 1e-6)
    same = pickle.loads(pickle.dumps(nn.Sequential(nn.BatchNorm1d(3))))
    assert [*same.state_dict()] == [*nn.Sequential(nn.BatchNorm1d(3)).state_dict()]


def test_a_parameter_shares_memory_and_prints_as_one():
    data = tg.zeros(2)
    p = nn.Parameter(data)
    data += 1
    close(p, [1.0, 1.0])
    assert p.requires_grad
    assert p.is_leaf
    assert repr(p) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert not nn.Parameter(tg.tensor([1, 2]), requires_grad=False).requires_grad
    with pytest.raises(RuntimeError, match="floating-point"):
        nn.Parameter(tg.tensor([1, 2]))
    assert type(p + 1) is tg.Tensor


class Unpacks(nn.Sequential):
    """A module with submodules whose own forward fails."""

    def __init__(self):
        super().__init__(nn.Identity())

    def forward(self, x):
        _, _, _ = x


class Inner(nn.Module):
    """Calls a layer that it does not own, so that no path leads to it from here."""

    def __init__(self, layer, error=None):
        super().__init__()
        self.hidden = [layer]
        self.error = error

    def forward(self, x):
        if self.error is not None:
            raise self.error
        return self.hidden[0](x)


def test_errors_name_the_longest_known_path():
    x = tg.zeros(2, 3)
    deep = nn.Sequential(nn.Sequential(nn.Identity(), nn.ModuleDict({"head": nn.Linear(4, 1)})))
    with pytest.raises(
        RuntimeError, match=r"^Linear\(in_features=4, out_features=1, bias=True\): expected 4 features, got 3"
    ):
        deep[0][1]["head"](x)
    with pytest.raises(RuntimeError, match=r"^Linear\(.*\): expected 4"):
        nn.Sequential(Inner(nn.Linear(4, 1)))(x)
    with pytest.raises(RuntimeError, match=r"^Linear\(.*\) at '1': expected 4"):
        nn.Sequential(Inner(nn.Sequential(nn.Identity(), nn.Linear(4, 1))))(x)
    with pytest.raises(ValueError, match=r"^Inner\(\) at '0.0': mine$"):
        nn.Sequential(nn.Sequential(Inner(None, ValueError("mine"))))(x)
    with pytest.raises(ValueError, match=r"^Unpacks at '0.0': not enough values to unpack"):
        nn.Sequential(nn.Sequential(Unpacks()))(x)


@pytest.mark.parametrize("error", [KeyError("k"), OSError(2, "no such file"), ValueError("a", 1), ValueError()])
def test_other_errors_pass_unchanged(error):
    arguments = error.args
    with pytest.raises(type(error)) as raised:
        nn.Sequential(Inner(None, error))(1)
    assert raised.value is error
    assert error.args == arguments
