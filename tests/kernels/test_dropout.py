"""Dropout: which numbers are kept, and what becomes of them, against a slow loop."""

import numpy as np
import pytest
from tinygrad_mnist.kernels import dropout, dropout_kept, philox


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("shape", "shared"), [((3, 5), 1), ((), 1), ((0, 4), 1), ((2, 3, 4, 5), 20), ((2, 0, 1), 1)])
def test_is_what_the_loop_gives(shape, shared, p, dtype, rng):
    x = np.asarray(rng.standard_normal(shape), dtype)
    kept_shape = shape if shared == 1 else (*shape[:2], 1, 1)
    y, kept = dropout(x, kept_shape, p, 2.5, 9, 4)
    assert (y.shape, y.dtype, kept.shape, kept.dtype) == (shape, dtype, kept_shape, np.bool_)
    words = philox.words32(9, 4, kept.size).tolist()
    assert kept.reshape(-1).tolist() == [word / 2**32 >= p for word in words]
    flat = [2.5 * v if words[i // shared] / 2**32 >= p else 0 for i, v in enumerate(x.reshape(-1))]
    np.testing.assert_array_equal(y.reshape(-1), np.array(flat, dtype))
    np.testing.assert_array_equal(dropout_kept(x, kept, 2.5), y)


def test_memory_layout_does_not_matter(rng):
    x = rng.standard_normal((2, 4, 5, 3)).transpose(0, 3, 1, 2)
    for kept_shape in (x.shape, (2, 3, 1, 1)):
        y, kept = dropout(x, kept_shape, 0.5, 2.0, 1, 0)
        expected = dropout(x.copy(), kept_shape, 0.5, 2.0, 1, 0)
        np.testing.assert_array_equal(y, expected[0])
        np.testing.assert_array_equal(kept, expected[1])


def test_dropped_is_zero_even_if_it_was_no_number():
    x = np.array([np.inf, np.nan, -np.inf, 1.0])
    kept = np.array([False, False, True, True])
    assert dropout_kept(x, kept, 2.0).tolist() == [0, 0, -np.inf, 2]
