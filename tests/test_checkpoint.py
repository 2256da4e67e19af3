"""Checkpoint files: round trips, damage of every kind, full disks and killed processes."""

import errno
import io
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as arrays_of
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_mnist import checkpoint
from tinygrad_mnist.checkpoint import CheckpointError, load, save

STATE = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.float64([0.5, -0.5])}


def same(a: Any, b: Any) -> bool:
    """Equal in type, value and, for arrays, in every bit."""
    match a:
        case np.ndarray():
            return isinstance(b, np.ndarray) and (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()
        case dict():
            return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
        case list() | tuple():
            return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
        case float() if math.isnan(a):
            return isinstance(b, float) and math.isnan(b)
        case float():
            return type(b) is float and a == b and math.copysign(1, a) == math.copysign(1, b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, True), (1, 1.0), (0.0, -0.0), ([1], (1,)), ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (np.zeros(2, np.float32), np.zeros(2)), (np.zeros(2), np.zeros((2, 1))), (np.array(0.0), np.array(-0.0)),
    ],
)  # fmt: skip
def test_same_sees_differences(a: Any, b: Any) -> None:
    assert same(a, a)
    assert not same(a, b)


# ---------------------------------------------------------------------------------------------------- round trips

SHAPES = arrays_of.array_shapes(min_dims=0, min_side=0, max_side=3)
ARRAYS = arrays_of.arrays(st.sampled_from(sorted(checkpoint.DTYPES.values(), key=str)), SHAPES)
KEYS = st.text(max_size=5) | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False)
LEAVES = ARRAYS | st.text() | st.integers() | st.booleans() | st.none() | st.floats()
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(OBJECTS)
def test_round_trip(obj: Any) -> None:
    assert same(checkpoint.from_bytes(checkpoint.to_bytes(obj), "file"), obj)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")).filter(lambda name: name != "__metadata__"), ARRAYS))
def test_state_dict_is_plain_safetensors(state: dict[str, np.ndarray]) -> None:
    assert same(dict(sorted(safetensors.numpy.load(checkpoint.to_bytes(state)).items())), dict(sorted(state.items())))


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model", "mödel.PTH"])
def test_any_extension(tmp_path: Path, name: str) -> None:
    save(STATE, tmp_path / name)
    assert same(load(str(tmp_path / name)), STATE)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_torch_users_can_read_it(tmp_path: Path) -> None:
    save(STATE, tmp_path / "model.pt")
    theirs = safetensors.torch.load_file(tmp_path / "model.pt")
    assert same({name: t.numpy() for name, t in sorted(theirs.items())}, dict(sorted(STATE.items())))


def test_reads_what_torch_users_write(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    safetensors.torch.save_file({name: torch.from_numpy(a) for name, a in STATE.items()}, path, {"format": "pt"})
    found = load(path)
    assert same(dict(sorted(found.items())), dict(sorted(STATE.items())))
    found["weight"] += 1  # it is ours to change


def test_tensors_of_any_library() -> None:
    tensor = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    assert same(checkpoint.from_bytes(checkpoint.to_bytes([tensor]), "file"), [np.float32([1, 2])])


def test_awkward_arrays() -> None:
    base = np.arange(24.0).reshape(4, 6)
    obj = {
        "strided": base[::2, ::-3],
        "transposed": base.T,
        "broadcast": np.broadcast_to(np.float32(3), (2, 2)),
        "shared": [base, base],
        "scalar": np.array(7),
        "empty": np.zeros((0, 3), np.int8),
        "big-endian": np.arange(3, dtype=">f4"),
        "read-only": np.frombuffer(b"abc", np.uint8),
    }
    found = checkpoint.from_bytes(checkpoint.to_bytes(obj), "file")
    for name in obj.keys() - {"shared"}:
        np.testing.assert_array_equal(found[name], obj[name], strict=name != "big-endian")
    assert found["big-endian"].dtype == np.float32
    assert same(found["shared"], [base, base])
    found["read-only"][0] = 0


def test_plain_types_come_back() -> None:
    obj = OrderedDict(a=np.float32(0.5), b=np.int64(3), c=np.bool_(True))
    assert same(checkpoint.from_bytes(checkpoint.to_bytes(obj), "file"), {"a": 0.5, "b": 3, "c": True})


def test_names_that_meet() -> None:
    obj = {"a": {"b": np.zeros(1)}, "a.b": np.ones(1), "__metadata__": np.full(1, 2.0), "\ud800": np.full(1, 3.0)}
    assert same(checkpoint.from_bytes(checkpoint.to_bytes(obj), "file"), obj)


def test_tensors_lie_under_their_path() -> None:
    data = checkpoint.to_bytes({"model": {"fc.weight": np.zeros(1)}, "steps": [np.zeros(2), {0: np.zeros(3)}]})
    assert set(safetensors.numpy.load(data)) == {"model.fc.weight", "steps.0", "steps.1.0"}


def test_metadata_tells_where_it_comes_from(tmp_path: Path) -> None:
    save(STATE, tmp_path / "model.pt")
    with safetensors.safe_open(tmp_path / "model.pt", "np") as file:
        metadata = file.metadata()
    assert metadata["format"] == "tinygrad_mnist"
    assert metadata["format_version"] == "1"
    assert metadata["library_version"][0].isdigit()
    assert metadata["date"][:2] == "20"


def test_streams() -> None:
    stream = io.BytesIO()
    save(STATE, stream)
    stream.seek(0)
    assert same(load(stream), STATE)


# ------------------------------------------------------------------------------------------------ what cannot be stored


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"opt": [1, {"fn": abs}]}, r"builtin_function_or_method at 'opt\.1\.fn'"),
        ({"a": {1, 2}}, "set at 'a'"),
        ({"a": b"x"}, "bytes at 'a'"),
        (object(), "object given; use tensors, numbers"),
        (torch.nn.ReLU(), r"ReLU given; save its state_dict\(\)"),
        ({"z": np.zeros(1, complex)}, "complex128 array at 'z'"),
        ({"o": np.array([None])}, "object array at 'o'"),
        ({"s": np.array(["x"])}, "<U1 array at 's'"),
        ({"m": np.ma.masked_array([1.0])}, "MaskedArray at 'm'"),
        ({"a": {(1, 2): 3}}, "key at 'a' is a tuple"),
    ],
)
def test_unsupported_objects_are_named(tmp_path: Path, obj: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        save(obj, tmp_path / "x")
    assert not any(tmp_path.iterdir())


def test_object_that_contains_itself(tmp_path: Path) -> None:
    obj: list = []
    obj.append(obj)
    with pytest.raises(ValueError, match="contains itself"):
        save(obj, tmp_path / "x")


# ------------------------------------------------------------------------------------------------------------- damage

WHOLE = checkpoint.to_bytes({"model": STATE, "lr": 0.1, "step": 12})


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
@settings(max_examples=500)
def test_a_changed_byte_is_found(offset: int, flip: int) -> None:
    data = bytearray(WHOLE)
    data[offset] ^= flip
    try:
        found = checkpoint.from_bytes(bytes(data), "file")
    except CheckpointError:
        return
    # White space in the header is the only place where a change means nothing.
    assert same(found, {"model": STATE, "lr": 0.1, "step": 12})


@pytest.mark.parametrize("length", [*range(0, len(WHOLE), 7), len(WHOLE) - 1])
def test_a_truncated_file_is_found(tmp_path: Path, length: int) -> None:
    path = tmp_path / "half.pt"
    path.write_bytes(WHOLE[:length])
    with pytest.raises(CheckpointError, match=r"half\.pt.*(empty|truncated)"):
        load(path)


def file_of(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello, world", "no safetensors file"),
        (WHOLE + b"x", "damaged or truncated"),
        (file_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)), "damaged or truncated"),
        (file_of({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 9]}}, bytes(4)), "damaged or truncated"),
        (file_of({"a": {"dtype": "U8", "shape": [2**62], "data_offsets": [0, 4]}}, bytes(4)), "damaged or truncated"),
        (file_of(b"{" * 100), "damaged or truncated"),
        (file_of({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}, bytes(2)), "'a' has dtype BF16"),
        ((2**63).to_bytes(8, "little") + b"{}", "announces a header of 9,223,372,036,854,775,808 bytes"),
        (file_of({"__metadata__": {"format": "tinygrad_mnist"}}), "damaged"),
    ],
)  # fmt: skip
def test_lying_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "liar.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"liar\.safetensors.*{message}"):
        load(path)


def test_a_file_of_a_later_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 2)
    data = checkpoint.to_bytes(STATE)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"format version 2.*reads 1"):
        checkpoint.from_bytes(data, "file")


def test_a_header_without_metadata() -> None:
    assert checkpoint.from_bytes(file_of({"__metadata__": None}), "file") == {}


@pytest.mark.parametrize("new_format", [True, False])
def test_pytorch_files_are_read(tmp_path: Path, new_format: bool) -> None:
    torch.save({"w": torch.ones(2), "epoch": 3}, tmp_path / "model.pth", _use_new_zipfile_serialization=new_format)
    got = load(tmp_path / "model.pth")
    assert got["w"].tolist() == [1, 1]
    assert got["epoch"] == 3
    torch.save({"w": torch.nn.Linear(2, 2)}, tmp_path / "model.pth", _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"model\.pth, a file of PyTorch's torch\.save, .*linear\.Linear"):
        load(tmp_path / "model.pth")


def test_exported_state_dicts_are_read_by_torch(tmp_path: Path) -> None:
    save({"a.weight": np.eye(2, dtype=np.float32), "n": np.array(3)}, tmp_path / "model.pth", format="torch")
    state = torch.load(tmp_path / "model.pth", weights_only=True)
    assert state["a.weight"].tolist() == [[1, 0], [0, 1]]
    assert state["n"].item() == 3
    for obj in ([1], {"epoch": 3}, {3: np.zeros(1)}):
        with pytest.raises(TypeError):
            save(obj, tmp_path / "model.pth", format="torch")
    with pytest.raises(ValueError, match="got 'onnx'"):
        save({}, tmp_path / "model.pth", format="onnx")
    assert torch.load(tmp_path / "model.pth", weights_only=True)["n"] == 3


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.pt"):
        load(tmp_path / "nothing.pt")


# ------------------------------------------------------------------------------------------------------------ writing


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    save(STATE, path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"left what was there: No space left on device.*model\.pt"):
        save({"new": np.zeros(3)}, path)
    assert same(load(path), STATE)
    assert list(tmp_path.iterdir()) == [path]


def test_a_really_full_disk() -> None:
    """/dev/full gives ENOSPC at each write; the same error as above, without a stand-in."""
    with pytest.raises(OSError, match="not a regular file"):
        save(STATE, "/dev/full")
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("wb", buffering=0) as full:
        save(STATE, full)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_save_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    path = tmp_path / "model.pt"
    save(STATE, path)

    def interrupted(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(error):
        save({"new": np.zeros(3)}, path)
    assert same(load(path), STATE)
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"could not save.*nowhere/model\.pt"):
        save(STATE, tmp_path / "nowhere" / "model.pt")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        save(STATE, tmp_path)


def test_read_only_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    save(STATE, path)
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, _: path.stat().st_mode & 0o200 != 0)  # as for users other than root
    with pytest.raises(PermissionError, match="this file is read-only"):
        save({}, path)
    assert same(load(path), STATE)


def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real.pt", tmp_path / "link.pt"
    save({}, real)
    real.chmod(0o600)
    link.symlink_to(real)
    save(STATE, link)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert same(load(real), STATE)


def test_stale_temporaries_are_removed_unless_somebody_writes(tmp_path: Path) -> None:
    for name in (".checkpoint-1.tmp", "mine.tmp"):
        (tmp_path / name).write_bytes(b"half")
    with checkpoint.writing_into(tmp_path):
        (tmp_path / ".checkpoint-2.tmp").write_bytes(b"being written")
        save(STATE, tmp_path / "model.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".checkpoint-2.tmp", "mine.tmp", "model.pt"]
    save(STATE, tmp_path / "model.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.tmp", "model.pt"]


@pytest.mark.parametrize("missing", ["module", "support"])
def test_saves_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if missing == "module":
        monkeypatch.setattr(checkpoint, "fcntl", None)
    else:
        monkeypatch.setattr(checkpoint.fcntl, "flock", unsupported)
    (tmp_path / ".checkpoint-1.tmp").write_bytes(b"perhaps being written")
    save(STATE, tmp_path / "model.pt")
    assert same(load(tmp_path / "model.pt"), STATE)
    assert (tmp_path / ".checkpoint-1.tmp").exists()


def test_threads_save_to_one_path(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    objects = [{"writer": i, "w": np.full(1000, i)} for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: save(objects[i % 4], path), range(100)))
    assert any(same(load(path), o) for o in objects)
    assert list(tmp_path.iterdir()) == [path]


def test_kill_during_saves(tmp_path: Path, rng: np.random.Generator) -> None:
    """A process that saves without a pause is killed 20 times: each time the file is whole and no older than known."""
    path = tmp_path / "model.pt"
    program = textwrap.dedent("""
        import sys, numpy as np
        from tinygrad_mnist.checkpoint import save
        count = int(sys.argv[2])
        while True:
            count += 1
            save({"count": count, "w": np.full(200_000, count)}, sys.argv[1])
            print(count, flush=True)
    """)
    known = 0
    for _ in range(20):
        command = [sys.executable, "-c", program, path, str(known)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.03))
            writer.send_signal(signal.SIGKILL)
            said = [int(line) for line in writer.stdout]
        state = load(path)
        assert state["count"] >= max(said, default=known + 1)
        assert (state["w"] == state["count"]).all()
        known = state["count"]
    save({}, path)
    assert list(tmp_path.iterdir()) == [path]


# -------------------------------------------------------------------------------------------------------- metadata


def test_words_about_a_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save(STATE, path, metadata={"model": "lenet5", "method": "supervised"})
    found = checkpoint.load_metadata(path)
    assert (found["model"], found["method"]) == ("lenet5", "supervised")
    assert found["library_version"]
    assert found["date"].startswith("2")
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata() == found
    assert same(load(path), STATE)


def test_changed_words_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save(STATE, path, metadata={"model": "lenet5"})
    path.write_bytes(path.read_bytes().replace(b"lenet5", b"lenet6"))
    with pytest.raises(CheckpointError, match="damaged"):
        load(path)


@pytest.mark.parametrize("word", ["format", "date", "structure", checkpoint.CHECKSUM])
def test_words_that_the_format_needs(word: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"'{word}' is the file format's own"):
        save(STATE, tmp_path / "w", metadata={word: "x"})
    assert not (tmp_path / "w").exists()


def test_metadata_that_there_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'torch' has no metadata"):
        save(STATE, tmp_path / "w", format="torch", metadata={"model": "lenet5"})
    safetensors.numpy.save_file({"a": np.zeros(1)}, tmp_path / "plain")
    assert checkpoint.load_metadata(tmp_path / "plain") == {}
