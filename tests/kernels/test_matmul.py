"""The matrix product that our threads share."""

import sys

import numpy as np
import pytest
from tinygrad_mnist.kernels import matmul_turned, parallel, team

from tinygrad_mnist import kernels


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize(
    ("x", "y"),
    [((90, 80), (80, 70)), ((70, 80), (80, 91)), ((3, 4), (4, 5)), ((0, 4), (4, 5)), ((3, 0), (0, 5)),
     ((5, 3, 4), (4, 2)), ((4,), (4,)), ((1, 70000), (70000, 5)), ((5, 3, 4), (5, 4, 2)), ((2, 3, 5, 4), (2, 3, 4, 2)),
     ((0, 3, 4), (0, 4, 2)), ((3, 1, 5, 4), (2, 4, 2))],
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


@pytest.fixture
def none_is_small(monkeypatch):
    monkeypatch.setattr(sys.modules["tinygrad_mnist.kernels.matmul"], "SMALL", 0)
    monkeypatch.setattr(matmul_turned, "SMALL", 0)
    monkeypatch.setattr(parallel, "SMALL", 0)


def factors(rng, x, y, layouts):
    """Matrices of shapes x and y, row after row (C), column after column (F), in several runs of memory (A), or not to
    be written to (r)."""
    for shape, layout in zip((x, y), layouts, strict=True):
        a = np.array(rng.standard_normal(shape), np.float32, order="F" if layout == "F" else "C")
        a.flags.writeable = layout != "r"
        yield np.repeat(np.repeat(a, 2, axis=0), 2, axis=1)[::2, ::2] if layout == "A" else a


@pytest.mark.parametrize(
    ("x", "y"),
    [((12, 7), (7, 32)), ((31, 40), (40, 300)), ((129, 5), (5, 33)), ((2, 16), (16, 1)), ((33, 528), (528, 13)),
     ((70, 32), (32, 5)), ((2, 272), (272, 70)), ((1, 272), (272, 70)), ((11, 7), (7, 32)),
     ((1, 7), (7, 270)), ((70, 1), (1, 33)), ((12, 300), (300, 33)), ((200, 32), (32, 40)), ((5, 7), (7, 90)),
     ((8, 7), (7, 48)), ((7, 9), (9, 90)), ((3, 6), (6, 1100)),
     ((129, 512), (512, 200)), ((49, 512), (512, 16)), ((49, 512), (512, 15)),
     ((64, 1600), (1600, 40)), ((100, 16), (16, 90)), ((129, 496), (496, 20)), ((130, 784), (784, 49))],
)  # fmt: skip
@pytest.mark.parametrize("layouts", ["CC", "FC", "CF", "AC", "CA", "rC"])
def test_every_layout_gives_the_product(x, y, layouts, threads, none_is_small, rng):
    """Shapes that compiled loops are for, and their neighbours."""
    a, b = factors(rng, x, y, layouts)
    got = kernels.matmul(a, b)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert (got.dtype, got.shape) == (np.float32, exact.shape)
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    assert (np.abs(got - exact) <= 2e-7 * np.sqrt(x[1]) * size).all()
    np.testing.assert_array_equal(kernels.matmul(a, b), got)


@pytest.mark.parametrize(
    ("x", "y", "layouts"),
    [((31, 40), (40, 300), "CC"), ((31, 40), (40, 300), "FC"), ((33, 528), (528, 13), "CF"),
     ((3, 528), (528, 13), "CF"), ((1, 131), (131, 333), "CC"), ((3, 131), (131, 2333), "CC"),
     ((1, 131), (131, 33), "CF"), ((33, 1), (1, 70), "CC"),
     ((70, 1600), (1600, 40), "CF"), ((150, 528), (528, 70), "CF"),
     ((129, 512), (512, 330), "CC")],
)  # fmt: skip
def test_compiled_products_have_the_same_bits_with_any_number_of_threads(
    x, y, layouts, none_is_small, monkeypatch, rng
):
    monkeypatch.setattr(team, "SMALL", 0)
    a, b = factors(rng, x, y, layouts)
    before, results = parallel.get_num_threads(), []
    for n in (1, 2, 3):
        parallel.set_num_threads(n)
        results.append(kernels.matmul(a, b))
    parallel.set_num_threads(before)
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


@pytest.mark.parametrize("layouts", ["CC", "FC", "CF"])
def test_nan_and_inf_stay_in_their_rows_and_columns(layouts, none_is_small, rng):
    a, b = factors(rng, (66, 80), (80, 90), layouts)
    a[65, 3], b[7, 89] = np.nan, np.inf
    finite = np.ones((66, 90), bool)
    finite[65] = finite[:, 89] = False
    np.testing.assert_array_equal(np.isfinite(kernels.matmul(a, b)), finite)


def test_nan_and_inf_of_a_row_or_column_are_not_lost(none_is_small, rng):
    """Also where they meet a zero."""
    x, w = np.zeros((1, 7), np.float32), np.ones((7, 40), np.float32)
    w[2, 3], w[6, 39] = np.nan, np.inf
    assert np.isnan(kernels.matmul(x, w))[0].nonzero()[0].tolist() == [3, 39]
    assert np.isnan(kernels.matmul(w[2:3].T, x)).all(1).nonzero()[0].tolist() == [3]


@pytest.mark.parametrize(("rows", "blocks"), [(800, 1), (80000, 2)])
def test_a_small_product_is_not_shared(rows, blocks, monkeypatch, rng):
    """Not among our threads, nor among those of BLAS."""
    shared, held = [], []
    real_blocks, real_hold = parallel.for_blocks, parallel.one_blas_thread
    monkeypatch.setattr(parallel, "for_blocks", lambda run, n, work=None: shared.append(n) or real_blocks(run, n))
    monkeypatch.setattr(parallel, "one_blas_thread", lambda: held.append(1) or real_hold())
    before = parallel.get_num_threads()
    parallel.set_num_threads(2)
    x, y = rng.standard_normal((rows, 8)), rng.standard_normal((8, 60))
    np.testing.assert_allclose(kernels.matmul(x, y), np.einsum("ij,jk->ik", x, y), rtol=1e-10, atol=1e-10)
    parallel.set_num_threads(before)
    assert (len(shared), len(held)) == (blocks - 1, 1)
