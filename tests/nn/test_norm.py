"""BatchNorm, LayerNorm and GroupNorm against PyTorch and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_oracle import agree, close

import tinygrad_mnist as tg
import tinygrad_mnist.nn.functional as F
from tinygrad_mnist import nn

TF = torch.nn.functional


def test_batch_norm_by_hand(device):
    layer = nn.BatchNorm1d(1, eps=0.0, device=device)
    y = layer(tg.tensor([[1.0], [3.0]], device=device))
    close(y, [[-1.0], [1.0]], 1e-6)
    close(layer.running_mean, [0.2], 1e-6)  # 0.9 · 0 + 0.1 · 2
    close(layer.running_var, [0.9 + 0.1 * 2], 1e-6)  # unbiased variance 2
    assert layer.num_batches_tracked.item() == 1


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    affine=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_batch_norm_training_agrees(shape, affine, last, seed, device):
    if np.prod(shape) == shape[1]:
        shape[0] += 1
    rng = np.random.default_rng(seed)
    x = rng.normal(2.0, 3.0, shape)
    parameters = [rng.normal(size=shape[1]), rng.normal(size=shape[1])] if affine else []

    def ours(x, *p):
        if last:
            x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        return F.batch_norm(x, None, None, *p, training=True)

    def theirs(x, *p):
        return TF.batch_norm(x, None, None, *p, training=True)

    agree(ours, theirs, x, *parameters, device=device, tol=1e-8)


def test_a_gradient_that_needs_the_old_running_statistics_notices(device):
    layer = nn.BatchNorm1d(2, device=device)
    y = layer.eval()(tg.ones(3, 2, device=device)).sum()
    layer.train()(tg.ones(3, 2, device=device))
    with pytest.raises(RuntimeError, match="modified by an"):
        y.backward()


@pytest.mark.parametrize("count", [2, 1, 0])
def test_batch_norm_eval_agrees(count, device, rng):
    mean, var = rng.normal(size=3), rng.uniform(0.5, 2, size=3)
    ours_stats = [tg.tensor(v, device=device) for v in (mean, var)]
    agree(
        lambda x, *p: F.batch_norm(x, *ours_stats, *p),
        lambda x, *p: TF.batch_norm(x, torch.tensor(mean), torch.tensor(var), *p),
        rng.normal(size=(4, 3, 2, 5)),
        *(rng.normal(size=3) for _ in range(count)),
        device=device,
    )


@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize(
    ("kind", "shape"), [("BatchNorm1d", (5, 3)), ("BatchNorm1d", (2, 3, 4)), ("BatchNorm2d", (2, 3, 4, 5))]
)
def test_batch_norm_layer_over_several_batches(kind, shape, momentum, track, device, rng):
    ours = getattr(nn, kind)(3, momentum=momentum, track_running_stats=track, device=device)
    theirs = getattr(torch.nn, kind)(3, momentum=momentum, track_running_stats=track)
    for _ in range(3):
        x = rng.normal(1, 2, shape).astype(np.float32)
        close(ours(tg.tensor(x, device=device)), theirs(torch.tensor(x)), 1e-5)
    ours.eval(), theirs.eval()
    close(ours(tg.tensor(x, device=device)), theirs(torch.tensor(x)), 1e-5)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        close(ours.state_dict()[name], tensor, 1e-5)


def test_batch_norm_in_eval_mode_without_gradients_follows_every_change(device, rng):
    layer, x = nn.BatchNorm2d(3, device=device).eval(), tg.tensor(rng.normal(size=(2, 3, 4, 4)), device=device).float()

    def agrees():
        *tensors, _ = (t.cpu().numpy() for t in layer.state_dict().values())
        weight, bias, mean, var = (torch.tensor(t) for t in tensors)
        for _ in range(2):
            with tg.no_grad():
                y = layer(x)
            close(y, TF.batch_norm(torch.tensor(x.cpu().numpy()), mean, var, weight, bias, eps=layer.eps), 1e-5)

    agrees()
    for tensor in [*layer.parameters(), *layer.buffers()]:
        tensor.array[...] += 1
        agrees()
    layer.eps = 0.5
    agrees()


def test_batch_norm_sums_in_float32_stay_accurate(device, rng):
    x = (1000 + rng.normal(size=(64, 2, 28, 28))).astype(np.float32)
    y = F.batch_norm(tg.tensor(x, device=device), None, None, training=True)
    exact = TF.batch_norm(torch.tensor(x, dtype=torch.float64), None, None, training=True)
    # The input itself is rounded to 1000 · 2⁻²⁴; float32 sums over 50,000 pixels would be off by far more.
    close(y, exact, 2e-4)


def test_batch_norm_empty_batch_gives_an_empty_result_and_leaves_the_statistics(device):
    layer = nn.BatchNorm2d(3, device=device)
    x = tg.zeros(0, 3, 4, 4, device=device, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == (0, 3, 4, 4)
    close(layer.weight.grad, np.zeros(3))
    close(layer.running_var, np.ones(3))


def test_batch_norm_refuses_what_it_cannot_normalise(device):
    layer = nn.Sequential(nn.BatchNorm2d(3, device=device))
    with pytest.raises(
        ValueError, match=r"at '0': expected more than 1 value per channel when training, got .*\(1, 3, 1, 1\)"
    ):
        layer(tg.zeros(1, 3, 1, 1, device=device))
    with pytest.raises(ValueError, match=r"expected 4-d \(N, C, H, W\), got 2-d \(2, 3\)"):
        layer(tg.zeros(2, 3, device=device))
    with pytest.raises(RuntimeError, match="expected 3 channels, got 4"):
        layer(tg.zeros(2, 4, 2, 2, device=device))
    with pytest.raises(ValueError, match="running_mean"):
        F.batch_norm(tg.zeros(2, 3, device=device), None, None)
    with pytest.raises(ValueError, match="expected input"):
        F.batch_norm(tg.zeros(3, device=device), None, None, training=True)
    with pytest.raises(RuntimeError, match="expected 2 channels, got 3"):
        F.batch_norm(tg.zeros(4, 3, device=device), None, None, tg.zeros(2, device=device), training=True)


@pytest.mark.parametrize(("shape", "axes"), [((3, 5), 1), ((2, 3, 4), 2), ((2, 3, 4), 3), ((1, 1), 1), ((0, 4), 1)])
@pytest.mark.parametrize("given_", ["both", "weight", "none"])
def test_layer_norm_agrees(shape, axes, given_, device, rng):
    normalized = shape[len(shape) - axes :]
    count = {"both": 2, "weight": 1, "none": 0}[given_]
    agree(
        lambda x, *p: F.layer_norm(x, normalized, *p),
        lambda x, *p: TF.layer_norm(x, normalized, *p),
        rng.normal(2, 3, shape),
        *(rng.normal(size=normalized) for _ in range(count)),
        device=device,
        tol=1e-8,
    )


def test_layer_norm_by_hand(device):
    y = nn.LayerNorm(2, eps=0.0, device=device)(tg.tensor([[1.0, 3.0], [5.0, 1.0]], device=device))
    close(y, [[-1.0, 1.0], [1.0, -1.0]], 1e-6)


def test_layer_norm_reads_non_contiguous_input(device, rng):
    x = rng.normal(size=(4, 3))
    agree(
        lambda x: F.layer_norm(x.transpose(0, 1), (4,)), lambda x: TF.layer_norm(x.T, (4,)), x, device=device, tol=1e-8
    )


@pytest.mark.parametrize(("shape", "groups"), [((2, 4), 2), ((2, 6, 3), 3), ((3, 4, 2, 5), 1), ((0, 4, 2), 2)])
@pytest.mark.parametrize("affine", [True, False])
def test_group_norm_agrees(shape, groups, affine, device, rng):
    parameters = [rng.normal(size=shape[1]) for _ in range(2 * affine)]
    agree(
        lambda x, *p: F.group_norm(x, groups, *p),
        lambda x, *p: TF.group_norm(x, groups, *p),
        rng.normal(size=shape),
        *parameters,
        device=device,
        tol=1e-8,
    )


def test_group_norm_layer(device, rng):
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    ours = nn.GroupNorm(2, 4, device=device)(tg.tensor(x, device=device))
    close(ours, torch.nn.GroupNorm(2, 4)(torch.tensor(x)), 1e-5)


def test_layer_and_group_norm_errors(device):
    x = tg.zeros(2, 4, device=device)
    with pytest.raises(RuntimeError, match=r"LayerNorm.*: expected the last axes to be \(3,\), got input \(2, 4\)"):
        nn.LayerNorm(3, device=device)(x)
    with pytest.raises(RuntimeError, match=r"expected weight and bias of shape \(4,\), got \(3,\)"):
        F.layer_norm(x, (4,), tg.zeros(3, device=device))
    with pytest.raises(RuntimeError, match=r"expected input \(N, 6, ...\), got \(2, 4\)"):
        nn.GroupNorm(3, 6, device=device)(x)
    with pytest.raises(RuntimeError, match="multiple of 3"):
        F.group_norm(x, 3)
    with pytest.raises(ValueError, match="divisible"):
        nn.GroupNorm(3, 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda nn: nn.BatchNorm1d(3),
        lambda nn: nn.BatchNorm2d(3, eps=1e-3, momentum=None, affine=False),
        lambda nn: nn.LayerNorm(4),
        lambda nn: nn.LayerNorm((2, 4), elementwise_affine=False),
        lambda nn: nn.LayerNorm(4, bias=False),
        lambda nn: nn.GroupNorm(2, 4),
        lambda nn: nn.GroupNorm(2, 4, bias=False),
        lambda nn: nn.BatchNorm1d(3, bias=False),
        lambda nn: nn.GroupNorm(2, 4, affine=False),
    ],
)
def test_repr_and_state_match_torch(make):
    ours, theirs = make(nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    expected = {k: (tuple(v.shape), v.numpy().tolist()) for k, v in theirs.state_dict().items()}
    assert {k: (tuple(v.shape), v.tolist()) for k, v in ours.state_dict().items()} == expected


def test_normalize_and_cosine_similarity_agree(device, rng):
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    agree(F.normalize, TF.normalize, x, device=device)
    agree(lambda x: F.normalize(x, 1.0, 0), lambda x: TF.normalize(x, 1.0, 0), x, device=device)
    agree(F.cosine_similarity, TF.cosine_similarity, x, y, device=device)
    close(F.normalize(tg.zeros(1, 2, device=device)), [[0.0, 0.0]])
