"""Convolution layers and their functional forms, against PyTorch and by hand."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch_oracle import agree, close

import tinygrad_mnist as tg
import tinygrad_mnist.nn.functional as F
from tinygrad_mnist import nn, ops

TF = torch.nn.functional
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=80, deadline=None)
@given(
    batch=st.integers(0, 2),
    groups=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=pairs,
    stride=pairs,
    dilation=pairs,
    padding=st.one_of(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.sampled_from(["same", "valid"])),
    bias=st.booleans(),
    channels_last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_conv2d_agrees(
    batch, groups, channels, size, kernel, stride, dilation, padding, bias, channels_last, seed, device
):
    stride = (1, 1) if padding == "same" else stride
    margin = padding if isinstance(padding, tuple) else (0, 0)
    if padding != "same":
        assume(all(n + 2 * p > d * (k - 1) for n, p, d, k in zip(size, margin, dilation, kernel, strict=True)))
    rng = np.random.default_rng(seed)
    C, outs = (c * groups for c in channels)
    parameters = [rng.normal(size=(outs, C // groups, *kernel))] + [rng.normal(size=outs)] * bias

    def ours(x, w, b=None):
        if channels_last:
            x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        return F.conv2d(x, w, b, stride, padding, dilation, groups)

    def theirs(x, w, b=None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that torch copies the input where 'same' pads unequally
            return TF.conv2d(x, w, b, stride, padding, dilation, groups)

    agree(ours, theirs, rng.normal(size=(batch, C, *size)), *parameters, device=device)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(0, 2),
    groups=st.integers(1, 2),
    channels=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kernel=pairs,
    stride=pairs,
    dilation=pairs,
    padding=st.integers(0, 1),
    extra=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_conv_transpose2d_agrees(
    batch, groups, channels, size, kernel, stride, dilation, padding, extra, bias, seed, device
):
    extra = tuple(min(e, max(s, d) - 1) for e, s, d in zip(extra, stride, dilation, strict=True))
    out = [
        (n - 1) * s - 2 * padding + d * (k - 1) + e + 1
        for n, s, d, k, e in zip(size, stride, dilation, kernel, extra, strict=True)
    ]
    assume(min(out) > 0)
    rng = np.random.default_rng(seed)
    C, outs = (c * groups for c in channels)
    parameters = [rng.normal(size=(C, outs // groups, *kernel))] + [rng.normal(size=outs)] * bias

    def run(functional):
        return lambda x, w, b=None: functional.conv_transpose2d(x, w, b, stride, padding, extra, groups, dilation)

    agree(run(F), run(TF), rng.normal(size=(batch, C, *size)), *parameters, device=device)


def test_conv2d_by_hand(device):
    x = tg.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], device=device)
    w = tg.tensor([[[[1.0, 0.0], [0.0, -1.0]]]], device=device)
    close(F.conv2d(x, w, tg.tensor([10.0], device=device)), [[[[7.0]]]])
    close(F.conv2d(x, w, padding="same"), [[[[-3.0, 2.0], [3.0, 4.0]]]])  # more padding after than before
    close(F.conv_transpose2d(x[:, :, :1, :1], w), [[[[1.0, 0.0], [0.0, -1.0]]]])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch's word on its own copies
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    "options", [{"padding": (1, 2)}, {"padding": "same", "dilation": (1, 2)}, {"padding": "valid"}]
)
def test_padding_modes_agree(mode, options, device, rng):
    ours = nn.Conv2d(2, 3, (2, 3), padding_mode=mode, device=device, dtype=tg.float64, **options)
    theirs = torch.nn.Conv2d(2, 3, (2, 3), padding_mode=mode, dtype=torch.float64, **options)
    theirs.load_state_dict({name: torch.tensor(p.cpu().numpy()) for name, p in ours.state_dict().items()})
    agree(ours, theirs, rng.normal(size=(2, 2, 5, 6)), device=device)
    assert repr(ours) == repr(theirs)


def test_unbatched_images_agree(device, rng):
    x, w = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 3, 2, 2))
    agree(F.conv_transpose2d, TF.conv_transpose2d, x, w, device=device)
    agree(F.conv2d, TF.conv2d, x, np.swapaxes(w, 0, 1), device=device)


@pytest.mark.parametrize("output_size", [None, (9, 10), (8, 9), (2, 4, 10, 10)])
def test_conv_transpose2d_output_size(output_size, device, rng):
    ours = nn.ConvTranspose2d(2, 4, 3, stride=3, padding=1, device=device)
    theirs = torch.nn.ConvTranspose2d(2, 4, 3, stride=3, padding=1)
    x = tg.zeros(2, 2, 3, 4, device=device)
    if output_size == (8, 9):
        with pytest.raises(
            ValueError, match=r"output size of \(8, 9\), but valid sizes range from \[7, 10\] to \[9, 12\]"
        ):
            ours(tg.zeros(2, 2, 3, 4, device=device), (8, 9))
        return
    if output_size == (2, 4, 10, 10):
        with pytest.raises(ValueError, match="valid sizes"):
            ours(x, output_size)
        return
    assert tuple(ours(x, output_size).shape) == tuple(theirs(torch.zeros(2, 2, 3, 4), output_size).shape)


CONVS = [
    lambda nn: nn.Conv2d(4, 6, 3),
    lambda nn: nn.Conv2d(4, 6, (3, 5), 2, (1, 2), (2, 1), 2, False),
    lambda nn: nn.Conv2d(4, 6, 3, padding="same", padding_mode="circular"),
    lambda nn: nn.ConvTranspose2d(4, 6, 3),
    lambda nn: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, False, 2),
]


@pytest.mark.parametrize("make", CONVS)
def test_repr_and_state_match_torch(make):
    ours, theirs = make(nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]


@pytest.mark.parametrize("make", [*CONVS, lambda nn: nn.Linear(30, 40), lambda nn: nn.Linear(30, 40, bias=False)])
def test_default_initialisation_has_torchs_distribution(make):
    tg.manual_seed(0)
    draws = [make(nn) for _ in range(200)]
    theirs = [make(torch.nn) for _ in range(200)]
    for name, _ in theirs[0].named_parameters():
        ours_, theirs_ = (
            np.concatenate([p.detach().numpy().ravel() for m in models for n, p in m.named_parameters() if n == name])
            for models in (draws, theirs)
        )
        bound = np.abs(theirs_).max()
        assert np.abs(ours_).max() == pytest.approx(bound, rel=0.02)
        assert ours_.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)  # of a uniform distribution
        assert abs(ours_.mean()) < 0.05 * bound


MNIST = (2, 1, 28, 28)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            lambda: nn.Conv2d(3, 4, 3),
            MNIST,
            r"expected 3 channels, got 1 \(input \(2, 1, 28, 28\)\); .*in_channels=1 .*transforms.Grayscale\(3\)",
        ),
        (
            lambda: nn.Conv2d(1, 4, 3),
            (2, 3, 8, 8),
            r"expected 1 channels, got 3 .*in_channels=3 .*or transforms.Grayscale\(1\)",
        ),
        (lambda: nn.Conv2d(1, 4, 3), (64, 28, 28), r"x.unsqueeze\(1\)"),
        (lambda: nn.Conv2d(4, 4, 3), (2, 8, 8, 4), r"x.permute\(0, 3, 1, 2\)"),
        (lambda: nn.Conv2d(4, 4, 3), (2, 5, 8, 8), r"expected 4 channels, got 5 \(input \(2, 5, 8, 8\)\)$"),
        (lambda: nn.Conv2d(1, 4, 3), (2, 784), r"got 2-d \(2, 784\); flattened images need x.reshape\(-1, 1, 28, 28\)"),
        (lambda: nn.Conv2d(1, 4, 3), (784,), r"got 1-d \(784,\)$"),
        (
            lambda: nn.Conv2d(1, 4, 5, dilation=2),
            (2, 1, 8, 28),
            r"kernel covers \(9, 9\) pixels but the padded input has only \(8, 28\)",
        ),
        (lambda: nn.ConvTranspose2d(1, 4, 1, padding=2), (2, 1, 2, 2), r"output size would be \(-2, -2\)"),
        (
            lambda: nn.ConvTranspose2d(1, 4, 1, output_padding=1),
            (2, 1, 2, 2),
            r"output_padding \(1, 1\) must be smaller than stride",
        ),
        (lambda: nn.Linear(784, 10), MNIST, r"expected 784 features, got 28 .*; flatten each image first"),
        (lambda: nn.Linear(784, 10), (2, 783), r"expected 784 features, got 783 \(input \(2, 783\)\)$"),
        (lambda: nn.Linear(784, 10), (), r"expected 784 features, got none"),
    ],
)
def test_wrong_shapes_name_layer_path_and_remedy(layer, shape, message, device):
    model = nn.Sequential(nn.Identity(), nn.Sequential(layer().to(device)))
    with pytest.raises(RuntimeError, match=rf"^{type(model[1][0]).__name__}\(.*\) at '1.0': .*{message}"):
        model(tg.zeros(shape, device=device))


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (
            "uint8",
            r"got uint8 .*; scale images with transforms.ToTensor\(\) or x.float\(\) / 255",
        ),
        ("int64", r"floating-point input, got int64 .*; use x.float\(\)"),
        (
            "float64",
            r"got input float64 and parameters float32; use x.to\(dtypes.float32\) or model.to\(dtypes.float64\)",
        ),
    ],
)
def test_wrong_dtypes_name_the_remedy(dtype, message, device):
    with pytest.raises(RuntimeError, match=rf"Conv2d\(1, 2, .*\): expected.*{message}"):
        nn.Conv2d(1, 2, 3, device=device)(tg.zeros(MNIST, dtype=dtype, device=device))


def test_bad_arguments_of_layers_and_functions(device):
    x, w = tg.zeros(1, 4, 5, 5, device=device), tg.zeros(4, 2, 3, 3, device=device)
    for raises, message, call in [
        (ValueError, "groups=3, in_channels=4, out_channels=6", lambda: nn.Conv2d(4, 6, 3, groups=3)),
        (ValueError, "groups=0", lambda: nn.Conv2d(4, 6, 3, groups=0)),
        (ValueError, "padding_mode must be one of .*, got 'mirror'", lambda: nn.Conv2d(1, 1, 3, padding_mode="mirror")),
        (ValueError, "expected 'valid', 'same', .* got 'full'", lambda: nn.Conv2d(1, 1, 3, padding="full")),
        (ValueError, r"needs stride 1, got \(2, 2\)", lambda: nn.Conv2d(1, 1, 3, 2, padding="same")),
        (ValueError, "only padding_mode='zeros'", lambda: nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect")),
        (TypeError, "expected padding as", lambda: nn.ConvTranspose2d(1, 1, 3, padding="same")),
        (ValueError, "kernel_size must be at least 1, got 0", lambda: nn.Conv2d(1, 1, 0)),
        (TypeError, "kernel_size: expected an int or two ints, got 2.5", lambda: nn.Conv2d(1, 1, 2.5)),
        (TypeError, r"stride: expected an int or two ints, got \(1, 2, 3\)", lambda: nn.Conv2d(1, 1, 3, (1, 2, 3))),
        (ValueError, "padding: expected 'valid'", lambda: F.conv2d(x, w, padding="full", groups=2)),
        (RuntimeError, "needs stride 1", lambda: F.conv2d(x, w, stride=2, padding="same", groups=2)),
        (ValueError, "expected 'relu', 'relu_pool' or None, got 'gelu'", lambda: F.conv2d(x, w, groups=2, then="gelu")),
        (RuntimeError, r"got \(3, 1\)", lambda: F.conv2d(x[..., :3], w, groups=2, then="relu_pool")),
        (RuntimeError, "4-d weight", lambda: F.conv2d(x, w[0])),
        (RuntimeError, r"groups=3 and \(4, 2, 3, 3\)", lambda: F.conv2d(x, w, groups=3)),
        (RuntimeError, r"bias of shape \(4,\), got \(3,\)", lambda: F.conv2d(x, w, tg.zeros(3), groups=2)),
    ]:
        with pytest.raises(raises, match=message):
            call()


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5), (2, 0, 5), (0,), (2, 3, 0)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_agrees(shape, bias, device, rng):
    agree(
        F.linear,
        TF.linear,
        rng.normal(size=shape),
        rng.normal(size=(4, shape[-1])),
        *[rng.normal(size=4)] * bias,
        device=device,
    )


def test_linear_by_hand_and_repr(device):
    layer = nn.Linear(2, 1, device=device)
    layer.load_state_dict({"weight": np.array([[2.0, 3.0]]), "bias": np.array([1.0])})
    close(layer(tg.tensor([[1.0, 1.0], [0.0, -1.0]], device=device)), [[6.0], [-2.0]])
    assert repr(layer) == repr(torch.nn.Linear(2, 1))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("pad", "shape"), [((1, 2), (2, 3)), ((2, 1, 0, 1), (1, 2, 3, 4)), ((0, 0, 1, 1), (2, 3, 4))])
def test_pad_agrees(mode, pad, shape, device, rng):
    agree(lambda x: F.pad(x, pad, mode), lambda x: TF.pad(x, pad, mode), rng.normal(size=shape), device=device)


def test_pad_with_a_value_crop_and_errors(device):
    x = tg.tensor([[1.0, 2.0, 3.0]], device=device)
    close(F.pad(x, (-1, 1), value=9.0), [[2.0, 3.0, 9.0]])
    for raises, message, call in [
        (RuntimeError, "two sizes for each of at most 2 axes", lambda: F.pad(x, (1, 2, 3))),
        (ValueError, "mode 'reflect' takes no value", lambda: F.pad(x, (1, 1), "reflect", 2.0)),
        (RuntimeError, "at most 2", lambda: F.pad(x, (3, 0), "reflect")),
        (NotImplementedError, "mirror", lambda: F.pad(x, (1, 0), "mirror")),
    ]:
        with pytest.raises(raises, match=message):
            call()


def test_a_view_of_the_weights_shows_their_memory(device):
    conv = nn.Conv2d(3, 4, (2, 5), device=device)
    with tg.no_grad():
        conv.weight.view(4, -1)[1] = 7.0
        conv.weight.data.view(-1)[:2] = 5.0
    assert (conv.weight[1] == 7).all()
    assert (conv.weight[0, 0, 0, :2] == 5).all()


@pytest.mark.parametrize("then", [None, "relu", "relu_pool"])
def test_a_norm_by_known_statistics(then, rng):
    x, w, b, mean, weight, bias = (
        tg.tensor(rng.standard_normal(shape), requires_grad=True)
        for shape in ((2, 3, 6, 5), (4, 3, 3, 3), *((4,),) * 4)
    )
    var = tg.tensor(rng.uniform(0.5, 2, 4))
    expected = F.batch_norm(F.conv2d(x, w, b), mean, var, weight, bias)
    expected = expected if then is None else F.relu(expected)
    expected = F.max_pool2d(expected, 2) if then == "relu_pool" else expected
    y = F.conv2d(x, w, b, then=then, norm=ops.KnownNorm(mean, var, weight, bias, 1e-5))
    close(y, expected)
    inputs, seed = [x, w, b, mean, weight, bias], tg.tensor(rng.standard_normal(tuple(y.shape)))
    for got, wanted in zip(*(tg.autograd.grad(found, inputs, seed) for found in (y, expected)), strict=True):
        close(got, wanted)


@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
@pytest.mark.parametrize("wrong", [(2.0, 2.0), (True, 2), {2}])
def test_a_wrong_pair_is_refused_also_after_one_that_compares_equal(name, wrong):
    x, w = tg.ones(1, 1, 6, 6), tg.ones(1, 1, 2, 2)
    for right in ((2, 2), (1, 2)):
        F.conv2d(x, w, **{name: right})
    with pytest.raises(TypeError, match=f"{name}: expected an int or two ints"):
        F.conv2d(x, w, **{name: wrong})
