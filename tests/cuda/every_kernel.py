"""Runs every CUDA kernel at small odd sizes: what `make gpu-check` gives to compute-sanitizer, which does the checking.

`python tests/cuda/every_kernel.py` needs a GPU. Without CuPy's pool, so that each array is an allocation of its own and
an access beside it shows. A kernel that this file forgets is an error: add a call for it.
"""

from typing import Any

import cupy as cp
import numpy as np
from tinygrad_mnist.kernels import cuda
from tinygrad_mnist.kernels.cuda import launch as launching
from tinygrad_mnist.kernels.cuda.matmul import own_matmul


def run(dtype: Any) -> None:
    """Each kernel for one dtype."""
    rng = np.random.default_rng(0)

    def array(*shape: int) -> cp.ndarray:
        return cp.asarray(rng.standard_normal(shape).astype(dtype))

    def positive(*shape: int) -> cp.ndarray:
        return cp.asarray(rng.random(shape).astype(dtype))

    x, w, b = array(3, 4, 7, 5), array(6, 2, 3, 2), array(6)
    stride, padding, dilation = (2, 1), (1, 1), (1, 2)
    geometry = stride, padding, dilation, 2
    y = cuda.conv2d(x, w, b, *geometry)
    cuda.conv2d_input_grad(array(*y.shape), w, x.shape, *geometry)
    cuda.conv2d_weight_grad(array(*y.shape), x, w.shape, *geometry)
    cuda.col2im(cuda.im2col(x, (3, 2), stride, padding, dilation), x.shape, stride, padding, dilation)
    wide, wide_dy = array(2, 9, 21, 20), array(2, 70, 21, 20)  # several tiles, and a weight gradient in parts
    same = (1, 1), (1, 1), (1, 1), 1
    cuda.conv2d(wide, array(70, 9, 3, 3), None, *same)
    cuda.conv2d_input_grad(wide_dy, array(70, 9, 3, 3), wide.shape, *same)
    cuda.conv2d_weight_grad(wide_dy, wide, (70, 9, 3, 3), *same)
    fused = cuda.conv_direct.conv2d(x, array(5, 4, 2, 2), array(5), (1, 1), (0, 0), (1, 1), 1, step=2)
    fused.before(array(*fused.y.shape))

    window = (3, 2), (2, 1), (1, 1), (1, 2)
    y, index = cuda.max_pool2d(x, *window, True)
    cuda.max_pool2d_input_grad(array(*y.shape), index, x.shape, *window)
    cuda.max_pool2d_at(x, index)
    cuda.max_unpool2d(y, index, x.shape[2:])
    y = cuda.avg_pool2d(x, (3, 2), (2, 1), (1, 1), True, False, None)
    cuda.avg_pool2d_input_grad(array(*y.shape), x.shape, (3, 2), (2, 1), (1, 1), False, None)
    cuda.adaptive_max_pool2d(x, (3, 4))
    cuda.adaptive_avg_pool2d_input_grad(cuda.adaptive_avg_pool2d(x, (3, 4)), x.shape)

    for images in (x, array(70, 2, 9, 11)):  # one part for a channel, and several
        channels = array(images.shape[1])
        _, mean, var = cuda.batch_norm(images, channels, channels, 1e-5)
        cuda.batch_norm_grad(array(*images.shape), images, channels, mean, var, 1e-5)
        cuda.channel_affine(images, channels, channels)
    rows, columns = array(9, 37), array(37)
    _, mean, r = cuda.layer_norm(rows, columns, columns, 1e-5)
    cuda.layer_norm_grad(array(9, 37), rows, columns, mean, r)

    labels = cuda.class_labels(cp.asarray(rng.integers(0, 37, 9)), 37, 3)
    _, lse = cuda.softmax_cross_entropy(rows, labels)
    cuda.softmax_cross_entropy_grad(array(9), rows, labels, lse)
    mean, labels, lse, count = cuda.mean_cross_entropy(rows, labels, 3, 0.1)
    cuda.mean_cross_entropy_grad(mean, rows, labels, lse, count, 0.1)
    _, lse = cuda.soft_cross_entropy(rows, positive(9, 37), 0.1)
    cuda.soft_cross_entropy_grad(array(9), rows, positive(9, 37), lse, 0.1)
    cuda.check_probabilities(cp.full(9, 0.5, dtype))
    cuda.check_index((5, 7), (cp.asarray(rng.integers(-5, 5, 11)),))
    cuda.scatter_sum(cp.asarray(rng.integers(0, 20, 33)), array(33), 23)

    cuda.count_correct(rows, cp.asarray(rng.integers(0, 37, 9)))
    cuda.add_bias(rows, columns)
    for gradient in (array(3, 5, 7, 5), array(1100, 37)):  # the sum over images, and one in parts
        cuda.bias_grad(gradient)

    chosen = cp.asarray(rng.integers(-9, 9, 5))
    cuda.take_rows(rows, chosen)
    images = cp.asarray(rng.integers(0, 256, (9, 7, 5, 3), np.uint8))
    cuda.look_up_rows(images, chosen, array(3, 256))

    for left, right in ((array(3, 5, 7), array(7, 9)), (array(5, 7), array(9, 7).T), (array(7, 5).T, array(7, 9))):
        own_matmul(left, right)
    y, kept = cuda.dropout(rows, rows.shape, 0.3, 1.5, key=1, block=0)
    cuda.dropout_kept(y, kept, 1.5)
    cuda.relu_grad(array(9, 37), cuda.relu(rows))
    cuda.erf(rows)
    u, v = (cp.asarray(9 * rng.random((3, 6, 8)) - 2) for _ in range(2))
    cuda.sample(x, u, v, True, 0.5)
    cuda.sample(x, u, v, False, [1.0, 2.0, 3.0, 4.0])
    cuda.warp(x, cp.asarray(np.tile(np.eye(3), (3, 1, 1))), False, 0.5)
    low, high = np.array([-9.0, -1, -1, 0.5, -9, -9]), np.array([9.0, 1, 1, 1.5, 9, 9])
    affine = x, low, high, np.array([2.0, 3.0]), False, 0.5
    cuda.random_affine(*affine, key=1, block=0)
    cuda.graph.Graph(lambda: (cuda.random_affine(*affine, 1, 0), cuda.dropout(x, x.shape, 0.3, 1.5, 1, 6))).launch(9)

    p, g, m, s = ([positive(*shape) for shape in ((3, 5), (), (5001,))] for _ in range(4))
    cuda.sgd(p, g, m, 0.1, 0.9, 0.0, 0.1, True, False)
    cuda.adam(p, g, m, s, [], [1, 2, 3], 0.01, 0.9, 0.999, 1e-8, 0.1, False, False, False)
    cuda.rmsprop(p, g, s, [], m, 0.01, 0.9, 1e-8, 0.1, 0.9, False, False)
    cuda.adadelta(p, g, m, s, 1.0, 0.9, 1e-6, 0.1, False)
    cuda.adagrad(p, g, s, [1, 2, 3], 0.1, 0.01, 0.1, 1e-10, False)


def main() -> set[tuple[str, str]]:
    """Run everything; the kernels, as (file, name), that were not launched."""
    launched = set()
    compiled = launching._compiled

    def noting(file: str, name: str, *rest: Any) -> Any:
        launched.add((file, name))
        return compiled(file, name, *rest)

    launching._compiled = noting
    try:
        for dtype in (np.float32, np.float64, np.float16):
            run(dtype)
    finally:
        launching._compiled = compiled
    cp.cuda.get_current_stream().synchronize()
    cuda.check()
    files = sorted(path.name for path in launching.SOURCES.glob("*.cu"))
    return {(file, name) for file in files for name in launching.signatures(file)} - launched


if __name__ == "__main__":
    cp.cuda.set_allocator(None)
    forgotten = main()
    if forgotten:
        raise SystemExit(f"tests/cuda/every_kernel.py does not run {sorted(forgotten)}")
    print("every kernel ran")
