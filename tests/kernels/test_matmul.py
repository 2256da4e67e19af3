"""The matrix product that our threads share."""

import numpy as np
import pytest
from tinygrad_mnist.kernels import parallel

from tinygrad_mnist import kernels


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize(
    ("x", "y"),
    [((90, 80), (80, 70)), ((70, 80), (80, 91)), ((3, 4), (4, 5)), ((0, 4), (4, 5)), ((3, 0), (0, 5)),
     ((5, 3, 4), (4, 2)), ((4,), (4,)), ((1, 70000), (70000, 5))],
)  # fmt: skip
def test_matmul_is_numpys(x, y, dtype, threads, rng):
    a, b = (10 * rng.standard_normal(x)).astype(dtype), (10 * rng.standard_normal(y)).astype(dtype)
    got = kernels.matmul(a, b)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert (got.dtype, np.shape(got)) == (a.dtype, np.shape(exact))
    tolerance = {np.float32: 1e-4, np.float64: 1e-11, np.int64: 0}[dtype] * np.sqrt(max(1, a.shape[-1]))
    assert np.abs(got - exact).max(initial=0) <= tolerance * 10
    np.testing.assert_array_equal(kernels.matmul(a, b), got)


def test_transposed_operands(threads, rng):
    a, b = rng.standard_normal((80, 90)).T, rng.standard_normal((70, 80)).T
    np.testing.assert_allclose(kernels.matmul(a, b), np.einsum("ij,jk->ik", a, b), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("rows", "blocks"), [(800, 1), (80000, 2)])
def test_a_small_product_is_not_shared(rows, blocks, monkeypatch, rng):
    """Not among our threads, nor among those of BLAS."""
    shared, held = [], []
    real_blocks, real_hold = parallel.for_blocks, parallel.one_blas_thread
    monkeypatch.setattr(parallel, "for_blocks", lambda run, n: shared.append(n) or real_blocks(run, n))
    monkeypatch.setattr(parallel, "one_blas_thread", lambda: held.append(1) or real_hold())
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    x, y = rng.standard_normal((rows, 8)), rng.standard_normal((8, 60))
    np.testing.assert_allclose(kernels.matmul(x, y), np.einsum("ij,jk->ik", x, y), rtol=1e-10, atol=1e-10)
    parallel.set_num_threads(before)
    assert (len(shared), len(held)) == (blocks - 1, 1)
