"""The counter-based generator: published answers, the rounds written out, and how words are shared out."""

import numpy as np
import pytest
from tinygrad_mnist.kernels import philox

MASK = 2**64 - 1


def by_hand(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 in whole numbers, from the paper."""
    a, b, c, d = counter
    k, l = key
    for _ in range(10):
        p, q = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (q >> 64) ^ b ^ k, q & MASK, (p >> 64) ^ d ^ l, p & MASK
        k, l = (k + 0x9E3779B97F4A7C15) & MASK, (l + 0xBB67AE8584CAA73B) & MASK
    return [a, b, c, d]


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0] * 4, [0] * 2, "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
        ([MASK] * 4, [MASK] * 2, "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0"),
        (
            [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
            [0x452821E638D01377, 0xBE5466CF34E90C6C],
            "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
        ),
    ],
)
def test_known_answers(counter: list[int], key: list[int], answer: str) -> None:
    """Those that the authors publish with Random123, for the rounds that the next test compares with."""
    assert " ".join(f"{word:016x}" for word in by_hand(counter, key)) == answer


@pytest.mark.parametrize("key", [0, 1, 2**63 + 5, MASK])
@pytest.mark.parametrize("block", [0, 7, 2**40, 2**64 - 3])
def test_words_are_those_of_the_rounds(key: int, block: int) -> None:
    expected = [by_hand([block + 1 + b, 0, 0, 0], [key, 0]) for b in range(2)]
    assert philox.words64(key, block, 2).tolist() == expected
    halves = [half for words in expected for word in words for half in (word & 0xFFFFFFFF, word >> 32)]
    assert philox.words32(key, block, 13).tolist() == halves[:13]


def test_numbers_are_the_same_in_one_call_or_several() -> None:
    whole = philox.uniform(3, 10, 5, 6)
    parts = [philox.uniform(3, 10 + 2 * start, n, 6) for start, n in [(0, 1), (1, 3), (4, 1)]]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert philox.uniform(3, 10, 0, 6).shape == (0, 6)
    words = philox.words64(3, 10, 2).reshape(-1)
    assert whole[0].tolist() == [(int(word) >> 11) / 2**53 for word in words[:6]]


def test_numbers_are_uniform() -> None:
    n = 100_000
    drawn = philox.uniform(0, 0, n, 1)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert abs(drawn.mean() - 0.5) <= 5 * (1 / 12 / n) ** 0.5
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) <= 5 / n**0.5
    bits = philox.words32(0, 0, n)[:, None] >> np.arange(32, dtype=np.uint32) & 1
    assert np.abs(bits.mean(0) - 0.5).max() <= 5 * 0.5 / n**0.5
