"""PyTorch's `.pth`/`.pt` files, read without torch and without running anything from the file.

Both formats: the zip of today (`data.pkl` and one entry per storage) and the older one (four pickles, then the
storages one after the other). A storage is a run of numbers; a tensor is a view of one: offset, sizes, strides.
Everything the file claims is checked against what is there before memory is taken for it.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from .torch_pickle import Name, UnsafePickleError, read_pickle

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# What a damaged file makes zipfile and the pickle machine raise: a bad name, a feature or a password asked for, ...
_DAMAGE = (
    UnsafePickleError, zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, RuntimeError, OverflowError,
    EOFError, struct.error, zlib.error,
)  # fmt: skip
# A view may repeat elements (stride 0), so that a small file could ask for any amount of memory.
MOST_REPEATED = 1 << 24

_STORAGES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "i1",
    "torch ByteStorage": "u1",
    "torch BoolStorage": "?",
    "torch.storage UntypedStorage": "u1",
}
_DTYPES = {"torch uint16": "<u2", "torch uint32": "<u4", "torch uint64": "<u8"}


class TorchFileError(ValueError):
    """A PyTorch file that cannot be read: damaged, or holding more than tensors and plain containers."""


@dataclass
class Storage:
    """A run of numbers in the file; `data` is filled when its place is known."""

    dtype: str
    size: int  # elements
    data: np.ndarray | None = None

    @property
    def item_size(self) -> int:
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    def fill(self, raw: bytes) -> None:
        """Take the storage's bytes; bfloat16 becomes float32, its upper half."""
        if self.dtype == "bfloat16":
            self.data = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            # Native byte order, and memory of its own that may be written to.
            dtype = np.dtype(self.dtype)
            self.data = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="))


@dataclass
class _View:
    """A tensor as the file describes it: which elements of a storage it shows."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str | None = None

    def array(self) -> np.ndarray:
        """The tensor itself, once everything about it is seen to be possible."""
        data = self.storage.data
        assert data is not None
        if self.dtype is not None:
            data = data.view(np.dtype(self.dtype))
        whole = (self.offset, *self.size, *self.stride)
        if len(self.size) != len(self.stride) or any(type(v) is not int or v < 0 for v in whole):
            raise TorchFileError(f"a tensor has sizes {self.size}, strides {self.stride} and offset {self.offset}")
        count = math.prod(self.size)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        if count and last >= data.size:
            raise TorchFileError(
                f"a tensor of shape {self.size} reaches element {last} of a storage that has {data.size}"
            )
        if count > max(data.size, MOST_REPEATED):
            raise TorchFileError(f"a tensor of shape {self.size} repeats the {data.size} elements of its storage")
        strides = tuple(s * data.itemsize for s in self.stride)
        return np.lib.stride_tricks.as_strided(data[self.offset :] if count else data[:0], self.size, strides)


def is_torch_file(data: bytes) -> bool:
    """Whether a file that begins with `data` (9 bytes or more) is one of PyTorch's, by its first bytes."""
    return data.startswith((b"PK\x03\x04", b"\x80")) and data[8:9] != b"{"  # where a safetensors header begins


def read(file: IO[bytes]) -> Any:
    """The object in a PyTorch file: dicts, lists and tuples, with a NumPy array for each tensor.

    Tensors that share a storage share memory. CUDA tensors arrive on the CPU; bfloat16 becomes float32.
    Raises TorchFileError, which says what is wrong, for anything else.
    """
    try:
        read_format = _read_zip if file.read(4) == b"PK\x03\x04" else _read_legacy
        file.seek(0)
        return read_format(file)
    except TorchFileError:
        raise
    except _DAMAGE as error:
        raise TorchFileError(str(error)) from error


def _read_zip(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        if "constants.pkl" in names:
            raise TorchFileError("it is a TorchScript program, not a file of tensors; save its state_dict() instead")
        if "data.pkl" not in names:
            raise TorchFileError("the zip has no data.pkl, so torch.save did not write it")
        if "byteorder" in names and _entry(archive, names["byteorder"]) != b"little":
            raise TorchFileError("its numbers are big-endian; save it again on a little-endian machine")
        storages: dict[str, Storage] = {}

        def storage(key: Any) -> Storage:
            found = _described(key)
            if key[2] not in storages:
                raw = _entry(archive, names.get(f"data/{key[2]}", f"data/{key[2]}"))
                if len(raw) != found.size * found.item_size:
                    raise TorchFileError(f"storage {key[2]} has {len(raw)} bytes, expected {found.size} elements")
                found.fill(raw)
                storages[key[2]] = found
            return storages[key[2]]

        with archive.open(names["data.pkl"]) as pickle:
            return read_pickle(pickle, _rebuilders(_View.array), storage)


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """One entry, which torch never compresses: a compressed one could unfold to any size."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise TorchFileError(f"the zip has no entry {name!r}") from None
    if info.compress_type != zipfile.ZIP_STORED:
        raise TorchFileError(f"the zip's entry {name!r} is compressed, so torch.save did not write it")
    return archive.read(info)


def _read_legacy(file: IO[bytes]) -> Any:
    if read_pickle(file, {}) != LEGACY_MAGIC:
        raise TorchFileError("it is a pickle, but not one that torch.save wrote")
    if (protocol := read_pickle(file, {})) != 1001:
        raise TorchFileError(f"its format has version {protocol!r}, expected 1001")
    if read_pickle(file, {}).get("little_endian") is not True:
        raise TorchFileError("its numbers are big-endian; save it again on a little-endian machine")
    storages: dict[str, Storage] = {}

    def storage(key: Any) -> Storage:
        found = _described(key)
        if len(key) == 6 and key[5] is not None:
            raise TorchFileError("its storages are views of others, as PyTorch before 0.4 wrote them")
        return storages.setdefault(key[2], found)

    # The numbers come after the pickle that describes the tensors: it is read once to learn which storages there
    # are, and once more, when they are there, to make the tensors.
    pickle_at = file.tell()
    read_pickle(file, _rebuilders(lambda view: None), storage)
    order = read_pickle(file, {})
    for key in order:
        if key not in storages:
            raise TorchFileError(f"storage {key!r} belongs to no tensor")
        found = storages[key]
        (size,) = struct.unpack("<q", _exactly(file, 8))
        if size != found.size:
            raise TorchFileError(f"storage {key!r} has {size} elements, expected {found.size}")
        found.fill(_exactly(file, size * found.item_size))
    missing = [key for key, found in storages.items() if found.data is None]
    if missing:
        raise TorchFileError(f"the file ends before storage {missing[0]!r}")
    file.seek(pickle_at)
    return read_pickle(file, _rebuilders(_View.array), storage)


def _exactly(file: IO[bytes], count: int) -> bytes:
    """`count` bytes; fewer are an error, found before memory for them is taken."""
    here = file.tell()
    left = file.seek(0, 2) - here
    file.seek(here)
    if not 0 <= count <= left:
        raise TorchFileError(f"the file is truncated: {count} bytes expected at {here}, {max(left, 0)} left")
    return file.read(count)


def _described(key: Any) -> Storage:
    """A storage from its persistent id: ('storage', class, key, device, elements)."""
    match key:
        case ("storage", Name(kind), str(), str(), int(size), *_) if kind in _STORAGES and size >= 0:
            return Storage(_STORAGES[kind], size)
    raise TorchFileError(f"a storage is described in an unknown way: {str(key)[:80]}")


def _rebuilders(finish: Callable[[_View], Any]) -> dict[str, Callable[..., Any]]:
    """What each name that a file of tensors needs stands for."""

    def tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Any:
        return typed_tensor(storage, offset, size, stride)

    def typed_tensor(storage: Any, offset: Any, size: Any, stride: Any, dtype: str | None = None) -> Any:
        if not isinstance(storage, Storage) or type(size) is not tuple or type(stride) is not tuple:
            raise TorchFileError("a tensor is described in an unknown way")
        return finish(_View(storage, offset, size, stride, dtype))

    def tensor_v3(storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any) -> Any:
        if dtype not in _DTYPES:
            raise TorchFileError(f"a tensor has dtype {str(dtype).replace('torch ', '')!r}, which NumPy does not know")
        return typed_tensor(storage, offset, size, stride, _DTYPES[dtype])

    def refuse(*_: Any) -> Any:
        raise TorchFileError("a storage class is called, which torch.save never writes")

    def encode(text: str, encoding: str) -> bytes:
        """How protocol 2 writes bytes."""
        if encoding != "latin1":
            raise TorchFileError(f"bytes are encoded as {encoding!r}, which pickle never does")
        return text.encode("latin1")

    return {
        "__builtin__ set": set,
        "builtins set": set,
        "_codecs encode": encode,
        "collections OrderedDict": lambda items=(): dict(items),
        "torch Size": lambda sizes=(): tuple(sizes),
        "torch device": lambda *where: ":".join(map(str, where)),
        "torch._utils _rebuild_tensor": tensor,
        "torch._utils _rebuild_tensor_v2": tensor,
        "torch._utils _rebuild_tensor_v3": tensor_v3,
        "torch._utils _rebuild_parameter": lambda data, *_: data,
        "torch._utils _rebuild_parameter_with_state": lambda data, *_: data,
        **dict.fromkeys(_STORAGES, refuse),
        **dict.fromkeys(_DTYPES, refuse),
    }
