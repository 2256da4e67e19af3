"""IDX, the file format of MNIST: a four-byte magic number, the sizes, then the elements, all big-endian.

    byte 0, 1   zero
    byte 2      the element type (see `DTYPES`)
    byte 3      the number of dimensions
    4 bytes     the size of each dimension, unsigned
    the rest    the elements in row-major order

Source: http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_DEFLATE_RATIO = 1032  # no deflate stream expands by more: https://zlib.net/zlib_tech.html


def read_idx(path: str | Path, max_bytes: int = 2**30) -> np.ndarray:
    """The array in an IDX file, raw or gzipped (told by its first bytes, not by its name).

    The sizes in the header are checked against the file and against `max_bytes` before memory is taken, and no
    more is decompressed than they promise. The array is writable and in the machine's own byte order.

    Raises ValueError, naming the file, if it is empty, truncated, corrupt, too long, or no IDX file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_idx(f"{folder}/x.gz", np.array([[1, 2], [3, 4]], np.int16))
    ...     read_idx(f"{folder}/x.gz")
    array([[1, 2],
           [3, 4]], dtype=int16)
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(len(_GZIP_MAGIC))
        file.seek(0)
        if not start:
            raise ValueError(f"{path}: the file is empty; delete it and download it again")
        if start != _GZIP_MAGIC:
            return _read(file, path, path.stat().st_size, max_bytes)
        try:
            with gzip.GzipFile(fileobj=file) as unzipped:
                return _read(unzipped, path, path.stat().st_size * _MAX_DEFLATE_RATIO, max_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: corrupt gzip data ({error}); delete it and download it again") from error


def _read(file: IO[bytes] | gzip.GzipFile, path: Path, size: int, max_bytes: int) -> np.ndarray:
    """The array in an open IDX file that holds at most `size` bytes."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        codes = ", ".join(f"{code:02x}" for code in DTYPES)
        raise ValueError(
            f"{path}: not an IDX file: it starts with bytes {magic.hex(' ')}, expected 00 00, a type ({codes}) and the "
            "number of dimensions"
        )
    dtype, ndim = np.dtype(DTYPES[magic[2]]), magic[3]
    if ndim > 64:
        raise ValueError(f"{path}: {ndim} dimensions in the header; NumPy arrays have at most 64")
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise ValueError(f"{path}: truncated in the header: got {4 + len(sizes)} bytes, expected {4 + 4 * ndim}")
    shape = struct.unpack(f">{ndim}I", sizes)
    promised = math.prod(shape) * dtype.itemsize
    described = f"{path}: the header promises {promised:,} bytes of data (shape {shape}, {dtype.name})"
    if promised > max_bytes:
        raise ValueError(f"{described}, more than max_bytes={max_bytes:,}; pass a larger max_bytes if that is right")
    if promised > size:
        raise ValueError(f"{described}, but the file is too small for that; it is truncated: download it again")

    array = np.empty(math.prod(shape), dtype)
    got = _read_into(file, array.view(np.uint8))
    if got < promised:
        raise ValueError(f"{described}, got {got:,}; it is truncated: download it again")
    if file.read(1):
        raise ValueError(f"{described}, but more follows; delete the file and download it again")
    return array.reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_into(file: IO[bytes] | gzip.GzipFile, buffer: np.ndarray) -> int:
    """Fill the uint8 array `buffer`; how many bytes there were. In pieces, to stay in the cache."""
    got = 0
    while piece := file.read(min(2**18, len(buffer) - got)):
        buffer[got : got + len(piece)] = np.frombuffer(piece, np.uint8)
        got += len(piece)
    return got


def write_idx(path: str | Path, array: np.ndarray) -> None:
    """Write `array` as an IDX file, gzipped if the name ends in .gz. Equal arrays give equal bytes.

    Raises TypeError for a dtype that IDX has no code for.
    """
    path = Path(path)
    codes = {np.dtype(name).newbyteorder("="): code for code, name in DTYPES.items()}
    code = codes.get(array.dtype.newbyteorder("="))
    if code is None:
        names = ", ".join(dtype.name for dtype in codes)
        raise TypeError(f"write_idx: cannot store {array.dtype}, expected one of {names}; convert with .astype()")
    if any(size >= 2**32 for size in array.shape):
        raise ValueError(f"write_idx: shape {array.shape} has a dimension of 2**32 or more, which IDX cannot store")
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data = array.astype(DTYPES[code]).tobytes()
    with path.open("wb") as file:
        if path.suffix != ".gz":
            file.write(header + data)
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as zipped:
            zipped.write(header + data)
