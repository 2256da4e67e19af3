"""Tensors on a CUDA device: moving, sharing memory, what kernels find wrong, and running out of memory."""

import cuda_on_cpu
import cupy
import numpy as np
import pytest

import tinygrad_mnist as tg
from tinygrad_mnist import datasets
from tinygrad_mnist.nn import functional as F
from tinygrad_mnist.transforms import (
    Compose,
    ConvertImageDtype,
    ElasticTransform,
    InterpolationMode,
    Normalize,
    RandomAffine,
    RandomPerspective,
    RandomRotation,
    ToTensor,
)
from tinygrad_mnist.utils.data import DataLoader, Subset, TensorDataset


def test_there_and_back():
    x = tg.arange(6.0).reshape(2, 3)
    moved = x.cuda()
    assert (moved.device, moved.is_cuda, moved.xp) == ("cuda:0", True, cupy)
    assert x.to("cuda").cpu().tolist() == x.tolist() == moved.tolist()
    assert moved.cuda() is moved
    assert tg.zeros(2, device="cuda").device == "cuda:0"
    assert tg.tensor(moved).is_cuda


def test_the_module_cuda():
    assert tg.cuda.is_available()
    assert tg.cuda.device_count() >= 1
    assert tg.cuda.current_device() == 0
    assert tg.cuda.get_device_name()
    free, total = tg.cuda.mem_get_info()
    assert 0 < free <= total
    tg.cuda.synchronize()
    tg.cuda.empty_cache()


def test_numpy_of_a_cuda_tensor_is_refused():
    x = tg.ones(2, device="cuda")
    with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy; use Tensor.cpu\(\)"):
        x.numpy()
    assert x.numpy(force=True).tolist() == [1, 1]


def test_mixing_devices_names_both():
    with pytest.raises(RuntimeError, match=r"\(2,\) on cuda:0, \(2,\) on cpu"):
        tg.ones(2, device="cuda") + tg.ones(2)


def test_cupy_takes_our_memory_and_we_take_its():
    x = tg.zeros(3, device="cuda")
    cupy.asarray(x)[0] = 1
    cupy.from_dlpack(x)[1] = 2
    assert x.tolist() == [1, 2, 0]
    theirs = cupy.arange(3)
    ours = tg.from_dlpack(theirs)
    theirs[0] = 5
    assert ours.is_cuda
    assert ours.tolist() == [5, 1, 2]
    assert tg.as_tensor(theirs).is_cuda
    with pytest.raises(RuntimeError, match="__cuda_array_interface__: can't export a tensor that requires grad"):
        cupy.asarray(tg.ones(2, device="cuda", requires_grad=True))


def test_bad_values_are_looked_for_without_waiting(counters):
    x, t = tg.zeros(3, 10, device="cuda"), tg.tensor([1, 10, 2], device="cuda")
    work = cuda_on_cpu.count(
        counters, lambda: (F.cross_entropy(x, t), F.nll_loss(x, t), x[t], F.binary_cross_entropy(x - 1, x))
    )
    assert work["synchronisations"] == work["device_to_host"] == 0
    with pytest.raises((IndexError, RuntimeError)):
        tg.cuda.synchronize()


@pytest.mark.parametrize("bad", [-0.25, 1.5, np.nan])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_probability_outside_0_to_1_raises_when_the_device_is_waited_for(bad, dtype):
    x = tg.tensor([0.0, 1.0, bad, 0.5], dtype=dtype, device="cuda")
    F.binary_cross_entropy(x[::3], tg.ones_like(x[::3])).item()
    y = F.binary_cross_entropy(x, tg.ones_like(x))
    with pytest.raises(RuntimeError, match=r"between 0 and 1; for logits use .* \(found on the GPU, in work"):
        y.item()
    tg.cuda.synchronize()  # said once


def test_a_label_that_is_no_class_raises_when_the_device_is_waited_for():
    x, t = tg.zeros(3, 10, device="cuda"), tg.tensor([1, 10, 2], device="cuda")
    F.cross_entropy(x, t)
    with pytest.raises(IndexError, match="a target is 10, but there are 10 classes: expected 0 to 9"):
        tg.cuda.synchronize()
    tg.cuda.synchronize()  # said once
    for loss in (F.cross_entropy, F.nll_loss):
        for label in (10, -1):
            t[1] = label
            with pytest.raises(IndexError, match=f"a target is {label}"):
                loss(x, t).item()


@pytest.mark.parametrize("index", [5, -6])
def test_an_index_out_of_range_raises_when_the_device_is_waited_for(index):
    x = tg.zeros(5, 2, device="cuda")
    y = x[tg.tensor([0, index], device="cuda")]
    with pytest.raises(IndexError, match=f"an index is {index}, but the dimension has 5 elements"):
        y.tolist()


def test_indices_in_range_are_fine():
    x = tg.arange(24.0).reshape(2, 3, 4)
    i, j = tg.tensor([0, -1]), tg.tensor([2, -4])
    for index in [(i,), (slice(None), i), (Ellipsis, j), (i, Ellipsis, j), (slice(None), i, j), (x[..., 0] > 3, j[:1])]:
        moved = tuple(p.cuda() if isinstance(p, tg.Tensor) else p for p in index)
        assert x.cuda()[moved].tolist() == x[index].tolist()


def test_a_wrong_unpooling_index_raises():
    from tinygrad_mnist.kernels import cuda

    index = cupy.asarray([[[[4]]]])
    cuda.max_unpool2d(cupy.ones((1, 1, 1, 1)), index, (2, 2))
    with pytest.raises(IndexError, match="an index is 4, but the image has 4 elements"):
        tg.cuda.synchronize()
    cuda.max_pool2d_at(cupy.ones((1, 1, 2, 2)), index)
    with pytest.raises(IndexError, match="an index is 4, but the image has 4 elements"):
        tg.cuda.synchronize()


@pytest.mark.parametrize(
    "transform",
    [
        None,
        ToTensor(),
        Compose([ToTensor(), Normalize((0.1307,), (0.3081,))]),
        Compose([ToTensor(), Normalize((0.1307,), (0.3081,)), ConvertImageDtype(tg.float16)]),
    ],
)
def test_a_dataset_on_the_device_gives_the_same_batches_there(counters, transform):
    host = datasets.MNIST(train=False, transform=transform)
    moved = host.to("cuda")
    assert (host.device, moved.device) == ("cpu", "cuda:0")
    loaders = [DataLoader(Subset(d, range(50)), 16, True, generator=tg.Generator()) for d in (host, moved)]
    for (x, y), (x_moved, y_moved) in zip(*loaders, strict=True):
        assert (x_moved.device, y_moved.device) == ("cuda:0", "cuda:0")
        np.testing.assert_array_equal(x_moved.numpy(force=True), x.numpy(), strict=True)
        np.testing.assert_array_equal(y_moved.numpy(force=True), y.numpy(), strict=True)
    batches = iter(loaders[1])
    work = cuda_on_cpu.count(counters, lambda: next(batches))
    assert work["device_to_host"] == work["synchronisations"] == 0
    if isinstance(transform, Compose):
        assert (work["launches"], work["host_to_device"]) == (2, 1)  # images and labels; the indices
    with pytest.raises(IndexError, match="an index is 10000, but the dimension has 10000 elements"):
        moved.fetch_batch([10000])[1].tolist()


def test_augmentation_on_the_device_is_the_same_in_four_launches(counters):
    augment = RandomAffine(15, (0.1, 0.1), (0.9, 1.1), 5, InterpolationMode.BILINEAR)
    host = datasets.MNIST(train=False, transform=Compose([augment, ToTensor()]))
    moved = host.to("cuda")
    tg.manual_seed(3)
    expected = host.fetch_batch(range(20))[0].numpy()
    moved.fetch_batch(range(20))
    tg.manual_seed(3)
    batches = []
    work = cuda_on_cpu.count(counters, lambda: batches.append(moved.fetch_batch(range(20))[0]))
    assert (work["launches"], work["host_to_device"], work["device_to_host"], work["synchronisations"]) == (4, 1, 0, 0)
    got = batches[0].numpy(force=True)
    assert np.abs(got - expected).max() <= 1.0001 / 255  # a number may be rounded to the other side
    assert (got != expected).mean() <= 0.001
    assert (expected != datasets.MNIST(train=False, transform=ToTensor()).fetch_batch(range(20))[0].numpy()).any()


@pytest.mark.parametrize("transform", [RandomRotation(30), RandomPerspective(0.5, 1.0), ElasticTransform(20.0, 2.0)])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_random_transforms_give_the_same_on_both_devices(transform, dtype):
    x = (100 * tg.rand(3, 2, 17, 19)).to(np.dtype(dtype))
    tg.manual_seed(1)
    expected = transform(x).numpy()
    tg.manual_seed(1)
    np.testing.assert_allclose(transform(x.cuda()).numpy(force=True), expected, atol=1 if dtype == "int32" else 1e-3)


def test_workers_cannot_load_from_the_device():
    dataset = Subset(TensorDataset(tg.zeros(3, device="cuda")), [0])
    with pytest.raises(ValueError, match="the dataset is on cuda:0, which worker processes cannot use"):
        DataLoader(dataset, num_workers=1)
    assert dataset.dataset.to("cpu").fetch_batch([0])[0].tolist() == [0]


def test_out_of_memory_says_what_to_do(leave_memory):
    leave_memory(3 * 2**20)
    free = r"3\.0" if cuda_on_cpu.COUNTERS else r"[\d,.]+"
    with pytest.raises(
        tg.cuda.OutOfMemoryError,
        match=rf"tried to allocate 8\.0 MiB, {free} of [\d,.]+ MiB are free. Use a smaller batch",
    ):
        tg.zeros(2**21, device="cuda")


def test_more_memory_than_there_is():
    with pytest.raises(tg.cuda.OutOfMemoryError, match=r"tried to allocate [\d,.]+ MiB"):
        tg.empty(tg.cuda.mem_get_info()[1] + 1, dtype=tg.uint8, device="cuda")


def test_memory_comes_full_of_nan_and_is_freed(counters):
    before = counters.memory_used
    x = tg.empty(1000, device="cuda")
    assert np.isnan(x.numpy(force=True)).all()
    assert counters.memory_used == before + 4000
    del x
    assert counters.memory_used == before
