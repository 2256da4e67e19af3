"""Writing a state dict so that `torch.load(path, weights_only=True)` reads it, without torch."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

_STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


def write(arrays: Mapping[str, np.ndarray], file: IO[bytes]) -> None:
    """Write named arrays into `file` in PyTorch's zip format, each with a storage of its own.

    The pickle inside is put together from its opcodes, since the functions it names are torch's.
    """
    program = [pickle.PROTO + b"\x02", pickle.EMPTY_DICT, pickle.MARK]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for i, (name, array) in enumerate(arrays.items()):
            if array.dtype.name not in _STORAGES:
                known = ", ".join(_STORAGES)
                raise TypeError(f"{name!r}: torch has no storage for dtype {array.dtype}; it has them for {known}")
            program += [_plain(name), _tensor(str(i), array)]
            # bool, integers and floats are stored as NumPy has them, little-endian and in row-major order.
            archive.writestr(f"archive/data/{i}", array.astype(array.dtype.newbyteorder("<")).tobytes())
        program += [pickle.SETITEMS, pickle.STOP]
        archive.writestr("archive/data.pkl", b"".join(program))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")


def _tensor(key: str, array: np.ndarray) -> bytes:
    """_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks) as opcodes."""
    strides = tuple(int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim))
    storage = [
        _plain("storage"),
        _global("torch", _STORAGES[array.dtype.name]),
        *map(_plain, (key, "cpu", array.size)),
    ]
    hooks = _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    arguments = [_tuple(storage) + pickle.BINPERSID, *map(_plain, (0, array.shape, strides, False)), hooks]
    return _global("torch._utils", "_rebuild_tensor_v2") + _tuple(arguments) + pickle.REDUCE


def _plain(value: Any) -> bytes:
    """The opcodes of a number, a string or a tuple of them."""
    return pickle.dumps(value, 2)[2:-1]  # without PROTO and STOP


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _tuple(items: list[bytes]) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE
