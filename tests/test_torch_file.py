"""PyTorch's files are read as torch reads them, and nothing in them is ever run."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygrad_mnist import torch_file
from tinygrad_mnist.torch_file import TorchFileError

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
    torch.bool, torch.uint16, torch.uint32, torch.uint64,
]  # fmt: skip


def read(path: Path) -> object:
    with path.open("rb") as file:
        return torch_file.read(file)


FORMATS = {"zip": True, "legacy": False}


@pytest.fixture(params=FORMATS)
def save(request: pytest.FixtureRequest, tmp_path: Path):
    """torch.save into a file, in each of the two formats; gives the path."""

    def save_(obj: object) -> Path:
        path = tmp_path / "file.pt"
        torch.save(obj, path, _use_new_zipfile_serialization=FORMATS[request.param])
        return path

    return save_


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(save, dtype: torch.dtype) -> None:
    x = (torch.arange(6) % 2 if dtype is torch.bool else torch.arange(6)).to(dtype).reshape(2, 3)
    got = read(save({"x": x}))["x"]
    assert str(got.dtype) == str(dtype).removeprefix("torch.")
    assert np.array_equal(got, x.numpy())
    assert got.flags.writeable


def test_bfloat16_becomes_float32(save) -> None:
    x = torch.randn(7).bfloat16()
    got = read(save(x))
    assert got.dtype == np.float32
    assert np.array_equal(got, x.float().numpy())


def test_state_dict_of_a_model(save) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Linear(2, 2))
    state = model.state_dict()
    got = read(save(state))
    assert list(got) == list(state)
    assert all(np.array_equal(got[name], value.numpy()) for name, value in state.items())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nested_containers_and_numbers(tmp_path: Path, protocol: int) -> None:
    obj = {"a": [1, 2.5, -(2**70), "text", None, True, (), (3, [4])], "b": OrderedDict(x={1, 2}), 7: b"bytes", "c": {}}
    torch.save(obj, tmp_path / "x.pt", pickle_protocol=protocol)
    assert read(tmp_path / "x.pt") == obj


def test_opcodes_of_the_first_protocol(tmp_path: Path) -> None:
    text = b"(dp0\nVa\np1\n(lp2\nI1\naF2.5\naNas(I7\nVseven\nd0."
    assert pickle.loads(text.replace(b"(I7\nVseven\nd0", b"")) == {"a": [1, 2.5, None]}
    assert read(write_zip(tmp_path, text, {})) == {"a": [1, 2.5, None]}


def test_parameters_sizes_and_devices(save) -> None:
    p = torch.nn.Parameter(torch.ones(2, 3))
    got = read(save({"p": p, "size": p.shape, "device": torch.device("cuda", 1)}))
    assert np.array_equal(got["p"], np.ones((2, 3)))
    assert got["size"] == (2, 3)
    assert got["device"] == "cuda:1"


def test_optimizer_state(save) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    got = read(save(optimizer.state_dict()))
    assert np.array_equal(got["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"].numpy())
    assert got["param_groups"][0]["lr"] == 0.001


def test_views_share_memory(save) -> None:
    x = torch.randn(4, 5)
    got = read(save({"x": x, "t": x.t()[1:, ::2], "row": x[2], "scalar": x[1, 1], "none": x[:0]}))
    assert np.array_equal(got["t"], x.t()[1:, ::2].numpy())
    assert np.array_equal(got["row"], x[2].numpy())
    assert got["scalar"] == x[1, 1].item()
    assert got["none"].shape == (0, 5)
    got["x"][2] = 9
    assert (got["row"] == 9).all()


def test_expanded_tensor(save) -> None:
    got = read(save(torch.tensor([2.0]).expand(3, 4)))
    assert np.array_equal(got, np.full((3, 4), 2.0))


@given(
    sizes=st.lists(st.integers(0, 4), max_size=4),
    permuted=st.randoms(use_true_random=False),
    start=st.integers(0, 2),
    step=st.integers(1, 3),
    new=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_view(tmp_path: Path, sizes, permuted, start, step, new) -> None:
    x = torch.randn([n + 2 for n in sizes])
    axes = list(range(x.dim()))
    permuted.shuffle(axes)
    view = x.permute(axes)
    if axes:
        view = view[start::step]
    torch.save(view, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
    assert np.array_equal(read(tmp_path / "x.pt"), view.numpy())


@pytest.mark.parametrize("storage", ["FloatStorage", "LongStorage"])
def test_cuda_tensors_arrive_on_the_cpu(tmp_path: Path, storage: str) -> None:
    key = ("storage", getattr(torch, storage), "0", "cuda:0", 3)
    path = write_zip(tmp_path, rebuild_pickle(key, 0, (3,), (1,)), {"data/0": np.arange(3, dtype=np.float32).tobytes()}
                     if storage == "FloatStorage" else {"data/0": np.arange(3).tobytes()})
    assert np.array_equal(read(path), np.arange(3))


# What a hostile or damaged file may hold. Each is written by hand: torch would not.


class Named:
    """Pickles as a call of any function by name."""

    def __init__(self, module: str, name: str, *arguments: object):
        self.call = module, name, arguments


class Writer(pickle._Pickler):
    """A pickler that writes any name and any persistent id."""

    def persistent_id(self, obj: object) -> object:
        return obj[1] if isinstance(obj, tuple) and obj[:1] == ("PERSISTENT",) else None

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Named):
            module, name, arguments = obj.call
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
            self.save(arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def dump(obj: object) -> bytes:
    out = io.BytesIO()
    Writer(out, 2).dump(obj)
    return out.getvalue()


def rebuild_pickle(key: tuple, offset: object, size: object, stride: object) -> bytes:
    arguments = ("PERSISTENT", key), offset, size, stride, False, OrderedDict()
    return dump(Named("torch._utils", "_rebuild_tensor_v2", *arguments))


def write_zip(folder: Path, pickle_: bytes, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    path = folder / "hostile.pt"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle_)
        for name, content in entries.items():
            archive.writestr(f"archive/{name}", content)
    return path


FLOATS = {"data/0": np.arange(6, dtype=np.float32).tobytes()}


def key(elements: object = 6, name: str = "0", kind: object = torch.FloatStorage) -> tuple:
    return ("storage", kind, name, "cpu", elements)


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("os", "system", ("touch ran",)),
        ("posix", "system", ("touch ran",)),
        ("builtins", "eval", ("open('ran', 'w')",)),
        ("builtins", "getattr", (1, "real")),
        ("subprocess", "Popen", (["touch", "ran"],)),
        ("torch.hub", "load", ("x",)),
        ("torch", "load", ("x",)),
        ("torch.serialization", "load", ("x",)),
        ("numpy.core.multiarray", "scalar", ()),
        ("collections", "OrderedDict.fromkeys", ()),
        ("torch._utils", "_rebuild_tensor_v2.__globals__", ()),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_names_outside_the_list_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, arguments: tuple, legacy: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    evil = dump({"weight": Named(module, name, *arguments)})
    if legacy:
        path = tmp_path / "hostile.pt"
        head = [torch_file.LEGACY_MAGIC, 1001, {"little_endian": True, "protocol_version": 1001, "type_sizes": {}}]
        path.write_bytes(b"".join(map(dump, head)) + evil + dump([]))
    else:
        path = write_zip(tmp_path, evil, {})
    with pytest.raises(TorchFileError, match=f"{module}.{name}".replace(".", r"\.")):
        read(path)
    assert not Path("ran").exists()


def test_the_first_pickle_of_a_legacy_file_can_call_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pth").write_bytes(dump(Named("os", "system", "touch ran")))
    with pytest.raises(TorchFileError, match=r"os\.system"):
        read(tmp_path / "x.pth")
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("pickled", "entries", "message"),
    [
        (rebuild_pickle(key(), 1, (2, 3), (3, 1)), FLOATS, "reaches element 6"),
        (rebuild_pickle(key(), 0, (2, 3), (4, 1)), FLOATS, "reaches element 6"),
        (rebuild_pickle(key(), 0, (7,), (1,)), FLOATS, "reaches element 6"),
        (rebuild_pickle(key(), -1, (2,), (1,)), FLOATS, "offset -1"),
        (rebuild_pickle(key(), 0, (-1,), (1,)), FLOATS, r"sizes \(-1,\)"),
        (rebuild_pickle(key(), 0, (2,), (-1,)), FLOATS, r"strides \(-1,\)"),
        (rebuild_pickle(key(), 0, (2, 2), (1,)), FLOATS, "strides"),
        (rebuild_pickle(key(), 0, (2.0,), (1,)), FLOATS, "sizes"),
        (rebuild_pickle(key(), 0, [2], (1,)), FLOATS, "unknown way"),
        (rebuild_pickle(key(), 0, (1 << 40,), (0,)), FLOATS, "repeats the 6 elements"),
        (rebuild_pickle(key(7), 0, (2,), (1,)), FLOATS, "expected 7 elements"),
        (rebuild_pickle(key(1 << 50), 0, (2,), (1,)), FLOATS, "elements"),
        (rebuild_pickle(key(-6), 0, (2,), (1,)), FLOATS, "unknown way"),
        (rebuild_pickle(key("6"), 0, (2,), (1,)), FLOATS, "unknown way"),
        (rebuild_pickle(key(kind="FloatStorage"), 0, (2,), (1,)), FLOATS, "unknown way"),
        (rebuild_pickle(("storage",), 0, (2,), (1,)), FLOATS, "unknown way"),
        (rebuild_pickle(key(name="../../etc/passwd"), 0, (2,), (1,)), FLOATS, "no entry"),
        (rebuild_pickle(key(name="/etc/passwd"), 0, (2,), (1,)), FLOATS, "no entry"),
        (dump(Named("torch._utils", "_rebuild_tensor_v2", 1, 2, 3, 4)), FLOATS, "unknown way"),
        (dump(Named("torch._utils", "_rebuild_tensor_v2", 1)), FLOATS, "malformed"),
        (dump(Named("torch", "FloatStorage", 1)), FLOATS, "storage class is called"),
        (
            dump(Named("torch._utils", "_rebuild_tensor_v3", ("PERSISTENT", key()), 0, (1,), (1,), 0, {}, "float8")),
            FLOATS,
            "float8",
        ),
        (b"", {}, "malformed"),
        (b"\x80\x02", {}, "malformed"),
        (b"\x80\x02.", {}, "malformed"),
        (b"\x80\x02]K\x01K\x02s.", {}, "malformed"),  # SETITEM on a list
        (b"\x80\x02}]K\x01s.", {}, "malformed"),  # an unhashable key
        (b"\x80\x02K\x01K\x02a.", {}, "malformed"),  # APPEND to a number
        (b"\x80\x02K\x01)R.", {}, "malformed"),  # REDUCE of a number
        (b"\x80\x02u.", {}, "malformed"),  # SETITEMS without a mark
        (b"\x80\x02\x85.", {}, "malformed"),  # TUPLE1 of nothing
        (b"\x80\x02h\x05.", {}, "malformed"),  # a memo that is not there
        (b"\x80\x02]}b.", {}, "sets attributes"),  # BUILD on a list
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", {}, "NEWOBJ"),
        (b"\x80\x02\x82\x01.", {}, "EXT1"),
        (dump(Named("_codecs", "encode", "text", "rot13")), {}, "rot13"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", {}, "malformed"),  # 2^63 bytes announced
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", {}, "malformed"),  # a number of 2^31 bytes
    ],
)
def test_impossible_contents_are_refused(tmp_path: Path, pickled: bytes, entries: dict, message: str) -> None:
    with pytest.raises(TorchFileError, match=message):
        read(write_zip(tmp_path, pickled, entries))


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    zeros = {"data/0": bytes(1 << 24)}
    path = write_zip(tmp_path, rebuild_pickle(key(1 << 22), 0, (1,), (1,)), zeros, zipfile.ZIP_DEFLATED)
    with pytest.raises(TorchFileError, match="compressed"):
        read(path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [({"constants.pkl": b""}, "TorchScript"), ({"byteorder": b"big"}, "big-endian")],
)
def test_other_zips_from_torch(tmp_path: Path, entries: dict, message: str) -> None:
    with pytest.raises(TorchFileError, match=message):
        read(write_zip(tmp_path, dump({}), entries))


def test_a_zip_that_is_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(TorchFileError, match=r"no data\.pkl"):
        read(tmp_path / "x.zip")


LEGACY_HEAD = [torch_file.LEGACY_MAGIC, 1001, {"little_endian": True}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "malformed"),
        (b"hello", "malformed"),
        (dump(("PERSISTENT", "0")), "storage where none can be"),
        (dump({"a": 1}), "not one that torch.save wrote"),
        (dump(LEGACY_HEAD[0]) + dump(1000), "version 1000"),
        (dump(LEGACY_HEAD[0]) + dump(1001) + dump({"little_endian": False}), "big-endian"),
        (b"".join(map(dump, LEGACY_HEAD)) + dump({}) + dump(["0"]), "belongs to no tensor"),
        (b"".join(map(dump, LEGACY_HEAD)) + rebuild_pickle((*key(), None), 0, (1,), (1,)) + dump([]), "ends before"),
        (
            b"".join(map(dump, LEGACY_HEAD)) + rebuild_pickle((*key(), None), 0, (1,), (1,)) + dump(["0"]),
            "truncated: 8 bytes",
        ),
        (
            b"".join(map(dump, LEGACY_HEAD))
            + rebuild_pickle((*key(1 << 60), None), 0, (1,), (1,))
            + dump(["0"])
            + struct.pack("<q", 1 << 60),
            "truncated",
        ),
        (
            b"".join(map(dump, LEGACY_HEAD))
            + rebuild_pickle((*key(), None), 0, (1,), (1,))
            + dump(["0"])
            + struct.pack("<q", 5),
            "has 5 elements, expected 6",
        ),
        (
            b"".join(map(dump, LEGACY_HEAD)) + rebuild_pickle((*key(), ("0", 0, 1)), 0, (1,), (1,)) + dump([]),
            "views of others",
        ),
    ],
)
def test_damaged_legacy_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(TorchFileError, match=message):
        read(tmp_path / "x.pth")


def test_whole_models_are_refused(save) -> None:
    with pytest.raises(TorchFileError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read(save(torch.nn.Linear(2, 2)))


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("new", [True, False])
def test_damage_anywhere_is_an_error_or_harmless(tmp_path: Path, data, new: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save({"w": torch.arange(6.0), "b": torch.ones(2, 2)[:, 1]}, path, _use_new_zipfile_serialization=new)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "truncate"):
        content = content[: data.draw(st.integers(0, len(content) - 1), "length")]
    else:
        for _ in range(data.draw(st.integers(1, 3), "changes")):
            content[data.draw(st.integers(0, len(content) - 1), "at")] = data.draw(st.integers(0, 255), "byte")
    path.write_bytes(content)
    try:
        got = read(path)
    except TorchFileError:
        return
    assert isinstance(got, (dict, list, tuple, set, np.ndarray, int, float, str, bytes, type(None)))


def test_a_real_checkpoint_of_others() -> None:
    """A CIFAR-10 ResNet-20: older format, CUDA storages, nested; the file is no part of this project."""
    folder = os.environ.get("TINYGRAD_MNIST_CHECKPOINTS", Path(__file__).parents[2] / "shared/data/cifar_resnet20")
    path = Path(folder) / "resnet20-12fca82f.th"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine; name its folder in TINYGRAD_MNIST_CHECKPOINTS")
    got, expected = read(path), torch.load(path, map_location="cpu")
    assert got["best_prec1"] == expected["best_prec1"]
    assert list(got["state_dict"]) == list(expected["state_dict"])
    assert all(np.array_equal(got["state_dict"][k], v.numpy()) for k, v in expected["state_dict"].items())
