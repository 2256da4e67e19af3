"""IDX files: what is written is read, and each way a file can be wrong is named."""

import gzip
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinygrad_mnist.datasets.idx import DTYPES, read_idx, write_idx

# [[1, 2, 3], [250, 251, 252]] by hand, after the format's description
BY_HAND = bytes.fromhex("00 00 08 02  00 00 00 02  00 00 00 03  01 02 03 fa fb fc")


def header(code: int, *shape: int) -> bytes:
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["raw", "gzip"])
def test_reads_bytes_written_by_hand(tmp_path: Path, compress) -> None:
    (tmp_path / "x").write_bytes(compress(BY_HAND))
    x = read_idx(tmp_path / "x")
    assert x.dtype == np.uint8
    assert x.tolist() == [[1, 2, 3], [250, 251, 252]]
    x[0, 0] = 9  # the array is the caller's own


def test_writes_the_bytes_of_the_format(tmp_path: Path) -> None:
    write_idx(tmp_path / "x", np.array([[1, 2, 3], [250, 251, 252]], np.uint8))
    assert (tmp_path / "x").read_bytes() == BY_HAND


@pytest.mark.parametrize(
    ("code", "data", "expected"),
    [
        (0x08, "ff", np.uint8(255)),
        (0x09, "ff", np.int8(-1)),
        (0x0B, "01 02", np.int16(258)),
        (0x0C, "ff ff ff fe", np.int32(-2)),
        (0x0D, "3f c0 00 00", np.float32(1.5)),
        (0x0E, "bf e0 00 00 00 00 00 00", np.float64(-0.5)),
    ],
)
def test_every_element_type_is_big_endian(tmp_path: Path, code: int, data: str, expected: np.generic) -> None:
    (tmp_path / "x").write_bytes(header(code, 1) + bytes.fromhex(data))
    x = read_idx(tmp_path / "x")
    assert x.dtype == expected.dtype
    assert x.dtype.isnative
    assert x.tolist() == [expected.item()]


@given(
    array=arrays.arrays(
        st.sampled_from([np.dtype(name).newbyteorder(order) for name in DTYPES.values() for order in "<>"]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    name=st.sampled_from(["x", "x.gz"]),
    order=st.sampled_from("CF"),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, name: str, order: str
) -> None:
    path = tmp_path_factory.mktemp("idx") / name
    write_idx(path, np.asarray(array, order=order))
    back = read_idx(path)
    assert back.dtype == array.dtype.newbyteorder("=")
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_equal_arrays_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, name in enumerate(("a.gz", "b.gz")):
        monkeypatch.setattr(gzip.time, "time", lambda now=seconds: now)
        write_idx(tmp_path / name, np.arange(9, dtype=np.int32))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def corrupt_checksum(data: bytes) -> bytes:
    zipped = bytearray(gzip.compress(data))
    zipped[-6] ^= 1
    return bytes(zipped)


BAD_FILES = {
    "empty": (b"", "the file is empty"),
    "shorter than the magic number": (b"\0\0\x08", "not an IDX file: it starts with bytes 00 00 08, expected 00 00"),
    "image": (b"\x89PNG\r\n\x1a\n", "not an IDX file: it starts with bytes 89 50 4e 47"),
    "web page": (b"<html>404</html>", "not an IDX file"),
    "wrong magic": (b"\0\1" + BY_HAND[2:], "not an IDX file: it starts with bytes 00 01 08 02"),
    "unknown type": (header(0x0A, 1) + b"\1", "not an IDX file: it starts with bytes 00 00 0a 01"),
    "too many dimensions": (bytes([0, 0, 8, 65]) + bytes(65 * 4), "65 dimensions in the header; NumPy arrays have at"),
    "truncated header": (BY_HAND[:10], "truncated in the header: got 10 bytes, expected 12"),
    "truncated": (BY_HAND[:-1], r"promises 6 bytes of data (shape (2, 3), uint8), got 5; it is truncated"),
    "much too short": (
        header(8, 1000) + b"\1",
        "promises 1,000 bytes of data (shape (1000,), uint8), but the file",
    ),
    "trailing garbage": (BY_HAND + b"\0", "promises 6 bytes of data (shape (2, 3), uint8), but more follows"),
    "huge promise": (header(0x0E, 2**32 - 1, 2**32 - 1), "more than max_bytes=1,073,741,824"),
    "truncated, zipped": (gzip.compress(BY_HAND[:-1]), "got 5; it is truncated"),
    "trailing garbage, zipped": (gzip.compress(BY_HAND + b"\0"), "but more follows"),
    "truncated zip": (gzip.compress(BY_HAND)[:-9], "corrupt gzip data (Compressed file ended before"),
    "trailing garbage after zip": (gzip.compress(BY_HAND) + b"trailing", "corrupt gzip data (Not a gzipped file"),
    "zip with wrong checksum": (corrupt_checksum(BY_HAND), "corrupt gzip data (CRC check failed"),
    "zip of noise": (gzip.compress(BY_HAND)[:10] + b"\xff" * 9, "corrupt gzip data (Error -3 while decompressing"),
    "much too short, zipped": (
        gzip.compress(header(8, 2**20)),
        "promises 1,048,576 bytes of data (shape (1048576,)",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_named_with_what_was_expected(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        read_idx(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    "content",
    [
        header(0x08, 10) + bytes(50_000_000),  # more inside than the header says
        header(0x08, 2**30) + bytes(50_000_000),  # less inside than it says
        header(0x08, 2**30 + 1) + bytes(50_000_000),  # it says more than max_bytes
    ],
    ids=["too-much", "too-little", "too-large"],
)
def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(content))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"x\.gz"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_max_bytes_can_be_changed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BY_HAND)
    assert read_idx(tmp_path / "x", max_bytes=6).size == 6
    with pytest.raises(ValueError, match="more than max_bytes=5"):
        read_idx(tmp_path / "x", max_bytes=5)


def test_what_the_format_cannot_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match="cannot store int64, expected one of uint8, int8, int16, int32, float32, float64"
    ):
        write_idx(tmp_path / "x", np.arange(3))
    with pytest.raises(ValueError, match=re.escape("2**32 or more")):
        write_idx(tmp_path / "x", np.broadcast_to(np.uint8(0), (2**32,)))
    assert not (tmp_path / "x").exists()
