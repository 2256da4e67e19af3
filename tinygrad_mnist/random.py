"""Random numbers: a `Generator` with a seed, the default one, and tensors drawn from them.

A seed gives the same numbers on every device. Tensors are drawn on the CPU and then moved. What a training step draws
(dropout, augmentation) comes from a counter-based stream, which each device computes where it is needed: see `take`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import backend, creation, dtypes
from .creation import Device, Tensor


class Generator:
    """A source of random numbers with a seed.

    >>> Generator().manual_seed(1).integers(10, 3).tolist()
    [4, 5, 7]
    """

    def __init__(self, device: Device = "cpu"):
        self.device = backend.device(device or "cpu")
        self.manual_seed(67280421310721)  # PyTorch's seed of a new generator

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed` (any integer of at most 64 bits)."""
        if not -(2**63) <= int(seed) < 2**64:
            raise ValueError(f"manual_seed: expected an integer of at most 64 bits, got {seed}")
        self._seed = int(seed) % 2**64
        self._block = 0  # the first of the counter-based stream that was not taken
        self._made: np.random.Generator | None = None
        return self

    @property
    def _numpy(self) -> np.random.Generator:
        """What draws the numbers, made when the first one is wanted: a batch often takes none from its seed."""
        if self._made is None:
            self._made = np.random.Generator(np.random.PCG64(self._seed))
        return self._made

    def seed(self) -> int:
        """Start again from a seed of the operating system's choice; returns it."""
        self.manual_seed(int.from_bytes(np.random.SeedSequence().generate_state(2, np.uint32).tobytes(), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that this generator last started from."""
        return self._seed

    def get_state(self) -> Tensor:
        """Everything that the next numbers depend on, as a uint8 tensor that fits in a checkpoint."""
        state = {"seed": self._seed, "block": self._block, "numpy": self._numpy.bit_generator.state}
        return creation.from_numpy(np.frombuffer(json.dumps(state).encode(), np.uint8).copy())

    def set_state(self, new_state: Any) -> None:
        """Continue where `get_state` was called; takes its tensor, or the array in it."""
        try:
            state = json.loads(creation.to_array(new_state).tobytes())
            self._numpy.bit_generator.state = state["numpy"]
            self._seed, self._block = state["seed"], state["block"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"set_state: not a generator state of this library ({error})") from error

    @contextlib.contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Inside, draw from `seed`; afterwards, go on as if nothing had been drawn. Cheaper than `get_state`."""
        before = self._seed, self._block, self._made
        self.manual_seed(seed)
        try:
            yield
        finally:
            self._seed, self._block, self._made = before

    def take(self, blocks: int) -> tuple[int, int]:
        """The key of this generator's counter-based stream (its seed), and the first of `blocks` blocks of it that
        are now the caller's alone. See kernels/philox.py.
        """
        first = self._block
        self._block += blocks
        return self._seed, first

    def uniform(self, size: Any, dtype: Any = np.float64) -> np.ndarray:
        """Numbers in [0, 1), as an array of `dtype` (float64, or else float32 rounded to dtype)."""
        drawn = np.float64 if np.dtype(dtype) == np.float64 else np.float32
        return np.asarray(self._numpy.random(size, dtype=drawn), dtype)

    def normal(self, size: Any, dtype: Any = np.float64) -> np.ndarray:
        """Numbers of mean 0 and standard deviation 1, as an array of `dtype`."""
        drawn = np.float64 if np.dtype(dtype) == np.float64 else np.float32
        return np.asarray(self._numpy.standard_normal(size, dtype=drawn), dtype)

    def integers(self, low: int, size: Any, high: int | None = None) -> np.ndarray:
        """int64 numbers in [0, low), or in [low, high)."""
        return self._numpy.integers(low, high, size)

    def beta(self, a: float, b: float) -> float:
        """A number in [0, 1] of mean a / (a + b), from the Beta distribution."""
        return float(self._numpy.beta(a, b))

    def permutation(self, n: int) -> np.ndarray:
        """0 to n - 1 in random order (int64)."""
        return self._numpy.permutation(n)

    def choice(self, n: int, size: Any, replace: bool = True, p: np.ndarray | None = None) -> np.ndarray:
        """`size` numbers below n (int64), each with probability p (equal by default)."""
        return self._numpy.choice(n, size, replace, p)


default_generator = Generator()
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, which every draw uses that is not given another; returns it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator with a seed of the operating system's choice; returns it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator: see `Generator.get_state`."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Set the state of the default generator."""
    default_generator.set_state(new_state)


def _floating(name: str, dtype: Any) -> np.dtype:
    dtype = np.dtype(dtype) if dtype is not None else dtypes.get_default_dtype()
    if dtype.kind != "f":
        raise NotImplementedError(f"{name}: expected a floating dtype, got {dtype}; use randint for integers")
    return dtype


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1) in a shape."""
    drawn = (generator or default_generator).uniform(creation._shape(size), _floating("rand", dtype))
    return creation.new(drawn, device, requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal numbers in a shape."""
    drawn = (generator or default_generator).normal(creation._shape(size), _floating("randn", dtype))
    return creation.new(drawn, device, requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = dtypes.int64,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers in [low, high): `randint(low, high, size)`, or `randint(high, size)` from 0."""
    if size is None:
        low, high, size = 0, low, high
    if low >= high:
        raise RuntimeError(f"randint: expects low < high, got {low} and {high}")
    drawn = (generator or default_generator).integers(low, creation._shape((size,)), high)
    return creation.new(drawn.astype(dtype, copy=False), device, requires_grad)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = dtypes.int64, device: Device = None) -> Tensor:
    """0 to n - 1 in random order."""
    return creation.new((generator or default_generator).permutation(n).astype(dtype, copy=False), device)


def rand_like(input: Any, *, generator: Generator | None = None, dtype: Any = None, device: Device = None) -> Tensor:
    """Uniform numbers in [0, 1) in the shape, dtype and device of `input`."""
    return rand(input.shape, generator=generator, dtype=dtype or input.dtype, device=device or input.device)


def randn_like(input: Any, *, generator: Generator | None = None, dtype: Any = None, device: Device = None) -> Tensor:
    """Standard normal numbers in the shape, dtype and device of `input`."""
    return randn(input.shape, generator=generator, dtype=dtype or input.dtype, device=device or input.device)


def randint_like(input: Any, low: int, high: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Integers in [0, low), or in [low, high), in the shape, dtype and device of `input`."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, input.shape, generator=generator, dtype=input.dtype, device=input.device)


def normal(mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Normal numbers: of `size` for numbers mean and std, or in the shape of the tensors given as either."""
    given = next((x for x in (mean, std) if hasattr(x, "array")), None)
    if given is None:
        return randn(size, generator=generator) * std + mean
    mean, std = (x.detach() if hasattr(x, "array") else x for x in (mean, std))
    shape = np.broadcast_shapes(np.shape(mean), np.shape(std))
    return randn(shape, generator=generator, dtype=given.dtype, device=given.device) * std + mean


def bernoulli(input: Any, *, generator: Generator | None = None) -> Tensor:
    """1 with probability `input` (each in [0, 1]), else 0; in the dtype of `input`."""
    p = backend.CPU.to_device(input.array)
    if not ((p >= 0) & (p <= 1)).all():
        raise RuntimeError("bernoulli: expected probabilities in [0, 1]")
    drawn = (generator or default_generator).uniform(p.shape) < p
    return creation.wrap(drawn.astype(p.dtype), input.device)


def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """`num_samples` indices per row of `input` (weights, (n,) or (m, n)), int64."""
    weights = backend.CPU.to_device(input.array).astype(np.float64)
    if weights.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: expected weights of shape (n,) or (m, n), got {tuple(weights.shape)}")
    if not (np.isfinite(weights) & (weights >= 0)).all() or not (weights.sum(-1) > 0).all():
        raise RuntimeError("multinomial: expected finite weights of at least 0, with a positive sum in each row")
    if not replacement and num_samples > (weights > 0).sum(-1).min():
        raise RuntimeError(
            f"multinomial: cannot draw {num_samples} samples without replacement: a row has fewer positive weights"
        )
    rows = weights.reshape(-1, weights.shape[-1])
    generator = generator or default_generator
    drawn = [generator.choice(len(w), num_samples, replacement, w / w.sum()) for w in rows]
    return creation.wrap(np.reshape(drawn, (*weights.shape[:-1], num_samples)), input.device)
