"""Random numbers from a counter: Philox4x64-10. Any of them can be computed by itself, in any order, on any device.

Block b of the stream `key` is four words of 64 bits, or eight of 32 (the low half of each first): ten rounds of
multiplication that mix the counter (b + 1, 0, 0, 0) with the key (key, 0). NumPy has the same generator in C, which is
used here as it is; `philox.cuh` has it for CUDA.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
"""

from __future__ import annotations

import threading

import numpy as np

WORDS_32 = 8  # in a block

_made = threading.local()  # .generator is set to what is wanted, which is quicker than to make one


def blocks_for(words: int) -> int:
    """How many blocks have that many words of 32 bits."""
    return -(-words // WORDS_32)


def words64(key: int, block: int, blocks: int) -> np.ndarray:
    """The uint64 words (blocks, 4) of `blocks` blocks of the stream `key`, from `block` on."""
    if not hasattr(_made, "generator"):
        _made.generator = np.random.Philox(0)
    numbers = np.array([[block, 0, 0, 0], [key, 0, 0, 0], [0, 0, 0, 0]], np.uint64)
    _made.generator.state = {
        "bit_generator": "Philox",
        "state": {"counter": numbers[0], "key": numbers[1, :2]},  # NumPy counts up by one before each block
        "buffer": numbers[2], "buffer_pos": 4, "has_uint32": 0, "uinteger": 0,
    }  # fmt: skip
    return _made.generator.random_raw(4 * blocks).reshape(blocks, 4)


def words32(key: int, block: int, n: int) -> np.ndarray:
    """n words (n,), uint32, of the stream `key`, from the start of `block` on."""
    return words64(key, block, blocks_for(n)).astype("<u8", copy=False).view("<u4").reshape(-1)[:n]


def uniform(key: int, block: int, n: int, count: int) -> np.ndarray:
    """`count` numbers in [0, 1) for each of n things, (n, count), float64, from whole blocks for each of them.

    Two calls for n things each, one after the other, give what one call for 2 n gives.
    """
    each = -(-count // 4)
    words = words64(key, block, n * each).reshape(n, 4 * each)[:, :count]
    return (words >> np.uint64(11)) * 2.0**-53
