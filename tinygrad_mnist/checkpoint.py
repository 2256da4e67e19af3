"""Nested dicts and lists of arrays <-> one safetensors file, written so that no crash can leave half a file.

The arrays are the file's tensors, under the path that leads to them ("optimizer.state.0.momentum_buffer");
whatever else there is, is JSON in the file's metadata. A plain state dict `{name: tensor}` is therefore a plain
safetensors file with exactly those names, which every reader of that format understands.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import torch_export, torch_file

try:
    import fcntl
except ImportError:  # Windows, where folders can be neither locked nor synced
    fcntl = None  # type: ignore[assignment]

File = str | os.PathLike[str] | BinaryIO
FORMAT, FORMAT_VERSION = "tinygrad_mnist", 1
CHECKSUM = "tinygrad_mnist_checksum"
DTYPES = {
    "BOOL": np.dtype(bool),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
}


class CheckpointError(RuntimeError):
    """A file is not a checkpoint, or no longer a whole one; the message names it and says what to do."""


def save(obj: Any, f: File, *, format: str = "safetensors", metadata: Mapping[str, str] | None = None) -> None:
    """Write `obj` to the file `f` (a path, or something with `write`), durably.

    `metadata` are words about it, such as {"model": "resnet18"}, beside the version and the date that the file's
    metadata has anyway: see `load_metadata`. With format="torch", which takes a state dict {name: tensor} and no
    metadata, `torch.load(f, weights_only=True)` reads it.

    `obj` is made of dicts, lists and tuples that hold tensors (of any library), NumPy arrays, numbers, strings,
    bools and None. Tensors that share memory are stored each on its own. A path gets the new content all at once
    or keeps its old one, whatever happens meanwhile; any extension will do.

    Raises TypeError that names the path of what cannot be stored, OSError if the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save({"weight": np.ones((1, 2)), "epoch": 3}, f"{folder}/model.pt")
    ...     load(f"{folder}/model.pt")
    {'weight': array([[1., 1.]]), 'epoch': 3}
    """
    if format not in ("safetensors", "torch"):
        raise ValueError(f"save: expected format 'safetensors' or 'torch', got {format!r}")
    if format == "torch" and metadata:
        raise ValueError("save: a file of format 'torch' has no metadata; use safetensors")
    data = to_bytes(obj, metadata) if format == "safetensors" else to_torch_bytes(obj)
    if hasattr(f, "write"):
        f.write(data)
    else:
        _write_durably(Path(f).resolve(), data)


def load(f: File) -> Any:
    """What `save` wrote to `f` (a path, or something with `read`), with NumPy arrays for its tensors.

    Any other safetensors file gives a dict of arrays, a file of torch.save what was in it, if that is tensors and
    plain containers. Nothing in a file is ever executed.

    Raises CheckpointError that says what is wrong with the content, OSError if the file cannot be read.
    """
    if hasattr(f, "read"):
        return from_bytes(f.read(), str(getattr(f, "name", "the stream")))
    return from_bytes(Path(f).read_bytes(), str(f))


def load_metadata(f: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a safetensors file: what `save` was given, "library_version", "date", and what else is there.

    Raises CheckpointError, OSError as `load` does.
    """
    return _parse(Path(f).read_bytes(), str(f))[1]


def to_bytes(obj: Any, extra: Mapping[str, str] | None = None) -> bytes:
    """`obj` as the content of a safetensors file, with `extra` in its metadata."""
    from importlib.metadata import version

    from safetensors.numpy import save as serialize

    arrays: dict[str, np.ndarray] = {}
    try:
        structure = _encode(obj, "", arrays)
    except RecursionError as error:
        raise ValueError("save: the object is nested too deeply, or contains itself") from error
    own = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "library_version": version("tinygrad_mnist"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "structure": json.dumps(structure, separators=(",", ":")),
    }
    taken = [key for key in extra or {} if key in own or key == CHECKSUM]
    if taken:
        raise ValueError(f"save: the metadata {taken[0]!r} is the file format's own; use another word")
    metadata = {**(extra or {}), **own}
    return serialize(arrays, {**metadata, CHECKSUM: _checksum(arrays, metadata)})


def to_torch_bytes(obj: Any) -> bytes:
    """A state dict as the content of a file of torch.save."""
    if not isinstance(obj, Mapping) or not all(isinstance(key, str) for key in obj):
        raise TypeError("save: format='torch' takes a state dict, {name: tensor}; others are saved as safetensors")
    file = io.BytesIO()
    torch_export.write({name: _as_array(value, name) for name, value in obj.items()}, file)
    return file.getvalue()


def from_bytes(data: bytes, name: str) -> Any:
    """The object in the content `data` of a file; `name` is what error messages call it."""
    if torch_file.is_torch_file(data):
        try:
            return torch_file.read(io.BytesIO(data))
        except torch_file.TorchFileError as error:
            raise CheckpointError(f"{name}, a file of PyTorch's torch.save, cannot be read: {error}") from error
    arrays, metadata = _parse(data, name)
    if metadata.get("format") != FORMAT and CHECKSUM not in metadata:
        return arrays  # another library's
    found = metadata.pop(CHECKSUM, None)
    if found != _checksum(arrays, metadata):
        raise CheckpointError(f"{name} is damaged: its content does not have the checksum it was saved with")
    if metadata["format_version"] != str(FORMAT_VERSION):
        raise CheckpointError(
            f"{name} has format version {metadata['format_version']}, this library reads {FORMAT_VERSION}: "
            f"install tinygrad_mnist {metadata['library_version']} or later, which wrote it"
        )
    return _decode(json.loads(metadata["structure"]), arrays)


def _encode(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """`value` as JSON; its arrays go into `arrays`, under their path. Every JSON object is {kind: content}."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.generic():
            return _encode(value.item(), path, arrays)
        case list():
            return [_encode(item, _join(path, i), arrays) for i, item in enumerate(value)]
        case tuple():
            return {"tuple": [_encode(item, _join(path, i), arrays) for i, item in enumerate(value)]}
        case Mapping():
            for key in value:
                if not isinstance(key, None | bool | int | float | str):
                    raise TypeError(f"save: a key {_at(path)} is a {type(key).__name__}; use strings or numbers")
            return {"dict": [[key, _encode(item, _join(path, key), arrays)] for key, item in value.items()]}
    array = _as_array(value, path)
    name = base = path.encode("utf-8", "backslashreplace").decode()
    count = 1
    while name in arrays or name == "__metadata__":  # the format's own word
        count += 1
        name = f"{base}~{count}"
    arrays[name] = array
    return {"tensor": name}


def _decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    match value:
        case {"tensor": name}:
            return arrays[name]
        case {"tuple": items}:
            return tuple(_decode(item, arrays) for item in items)
        case {"dict": pairs}:
            return {key: _decode(item, arrays) for key, item in pairs}
        case list():
            return [_decode(item, arrays) for item in value]
    return value


def _as_array(value: Any, path: str) -> np.ndarray:
    """The tensor or array `value` in the memory order and byte order that the format has."""
    array = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    if type(array) not in (np.ndarray, np.memmap):
        usable = "tensors, numbers, strings, bools, None, and dicts, lists and tuples of them"
        advice = "save its state_dict()" if hasattr(value, "state_dict") else f"use {usable}"
        raise TypeError(f"save: cannot store the {type(value).__qualname__} {_at(path)}; {advice}")
    native = array.dtype.newbyteorder("=")
    if native not in DTYPES.values():
        raise TypeError(f"save: cannot store the {array.dtype} array {_at(path)}; use floats, integers or bools")
    return np.asarray(array, native, order="C")


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _at(path: str) -> str:
    return f"at {path!r}" if path else "given"


def _checksum(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """Of everything in the file, to tell when a disk or a copy has changed it; no protection against malice."""
    total = zlib.crc32(json.dumps(sorted(metadata.items())).encode())
    for name, array in sorted(arrays.items()):
        total = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), total)
        total = zlib.crc32(array.data, total)
    return f"crc32:{total:08x}"


def _parse(data: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    import safetensors

    if not data:
        raise CheckpointError(f"{name} is empty (0 bytes): what wrote it was stopped; take an earlier checkpoint")
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise CheckpointError(
            f"{name} is no safetensors file, or a truncated one: "
            f"it announces a header of {length:,} bytes and has {len(data):,} in all"
        )
    try:
        views = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{name} is no safetensors file, or a damaged or truncated one: {error}") from error
    arrays = {}
    for key, view in views:
        if view["dtype"] not in DTYPES:
            raise CheckpointError(f"{name}: tensor {key!r} has dtype {view['dtype']}, unknown to NumPy: store F32")
        arrays[key] = np.frombuffer(view["data"], DTYPES[view["dtype"]]).reshape(view["shape"])
    return arrays, json.loads(data[8 : 8 + length]).get("__metadata__") or {}


def _write_durably(path: Path, data: bytes) -> None:
    """Give `path` the content `data`, all of it or nothing, and return when it would survive a power cut."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "cannot save: this is not a regular file", str(path))
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "cannot save: this file is read-only", str(path))
    temporary = path.with_name(f".checkpoint-{secrets.token_hex(8)}.tmp")
    try:
        with writing_into(path.parent):
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                temporary.chmod(path.stat().st_mode)
            temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, f"could not save, and left what was there: {error.strerror}", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Delete the temporaries that killed processes left in `folder`; at the end, make the folder itself durable.

    Whoever writes holds a shared lock on the folder, so when nobody does, every temporary in it is stale.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # others are writing, or this file system has no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for stale in folder.glob(".checkpoint-*.tmp"):
                stale.unlink()
        with contextlib.suppress(OSError):  # no locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
