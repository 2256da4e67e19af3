"""One image among several threads: bands of its rows."""

import numpy as np
import pytest
from tinygrad_mnist.kernels import bands, conv_direct, parallel


@pytest.mark.parametrize("step", [conv_direct.NONE, conv_direct.RELU_POOL])
@pytest.mark.parametrize(("H", "count"), [(9, 1), (9, 2), (9, 4), (10, 3), (12, 3), (3, 2), (4, 5)])
def test_bands_are_all_rows_in_pairs(H, count, step):
    found = bands.cut(count, H, 3, step)
    rows = range((H - 2) // 2 if step == conv_direct.RELU_POOL else H - 2)
    assert [i for band in found for i in rows[band.y]] == list(rows)
    assert len(found) == min(count, -(-(H - 2) // 2))
    assert sum(band.size for band in found) == H - 2
    assert all(band.size % 2 == 0 for band in found[:-1])
    assert all(len(range(H)[band.x]) == band.size + 2 == band.height for band in found)


@pytest.mark.parametrize("step", [conv_direct.NONE, conv_direct.RELU, conv_direct.RELU_POOL])
@pytest.mark.parametrize("N", [1, 2])
@pytest.mark.parametrize(
    ("C", "O", "size", "k", "stride", "padding", "dilation", "groups"),
    [
        (1, 5, (13, 9), (3, 2), (1, 1), (0, 0), (1, 1), 1),
        (4, 6, (12, 11), (5, 3), (2, 1), (2, 3), (1, 2), 2),
        (2, 3, (9, 9), (1, 1), (3, 3), (0, 0), (1, 1), 1),
        (2, 3, (6, 5), (3, 3), (1, 1), (4, 0), (2, 1), 1),  # rows that see zeros alone
        (16, 33, (11, 8), (3, 3), (1, 1), (1, 1), (1, 1), 1),  # Winograd's tiles
        (17, 16, (5, 12), (3, 3), (1, 1), (0, 2), (1, 1), 1),
    ],
)
def test_bands_are_the_whole_image(C, O, size, k, stride, padding, dilation, groups, N, step, threads, rng):
    x = rng.standard_normal((N, C, *size)).astype(np.float32)
    w, b = rng.standard_normal((O, C // groups, *k)).astype(np.float32), rng.standard_normal(O).astype(np.float32)
    arguments = x, w, b, stride, padding, dilation, groups, step
    found = conv_direct.conv2d(*arguments)
    parallel.set_num_threads(1)  # the fixture puts it back
    whole = conv_direct.conv2d(*arguments)
    np.testing.assert_array_equal(found.y, whole.y)
    np.testing.assert_array_equal(found.choice, whole.choice) if step == conv_direct.RELU_POOL else None
