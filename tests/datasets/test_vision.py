"""MNIST and its relatives: what ships, where files are found, what is downloaded, and what is refused."""

import gzip
import hashlib
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from https_mirror import Mirror

import tinygrad_mnist as tg
from tinygrad_mnist.datasets import EMNIST, KMNIST, MNIST, FashionMNIST, write_idx
from tinygrad_mnist.transforms import Compose, Lambda, Normalize, ToTensor
from tinygrad_mnist.utils.data import DataLoader

RAW_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
IMAGES = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


@pytest.fixture(scope="module")
def test_set() -> MNIST:
    return MNIST(train=False)


def put(
    folder: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, part: str = "train", gz: str = ""
) -> Path:
    """A small set in `folder`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_idx(folder / f"{part}-images-idx3-ubyte{gz}", images)
    write_idx(folder / f"{part}-labels-idx1-ubyte{gz}", labels)
    return folder


# --- what ships


@pytest.mark.parametrize("name", RAW_SHA256)
def test_the_shipped_files_are_the_originals(name: str) -> None:
    raw = gzip.decompress((MNIST.shipped / f"{name}.gz").read_bytes())
    assert hashlib.sha256(raw).hexdigest() == RAW_SHA256[name]
    licence = (MNIST.shipped / "LICENSE").read_text()
    assert f"{RAW_SHA256[name]}  {name}" in licence


def test_the_shipped_training_set() -> None:
    train_set = MNIST()
    assert train_set.train
    assert train_set.data.shape == (60000, 28, 28)
    assert train_set.data.dtype == tg.uint8
    assert train_set.targets.shape == (60000,)
    assert train_set.targets.dtype == tg.int64
    assert np.bincount(train_set.targets.numpy()).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    # The mean and standard deviation that every MNIST script normalizes with.
    assert train_set.data.numpy().mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train_set.data.numpy().std() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_the_shipped_test_set(test_set: MNIST) -> None:
    assert len(test_set) == 10000
    assert test_set.targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert test_set.class_to_idx["7 - seven"] == 7


def test_a_sample(test_set: MNIST) -> None:
    image, label = test_set[0]
    assert isinstance(image, np.ndarray)
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    assert label == 7
    assert type(label) is int
    np.testing.assert_array_equal(image, test_set.data[0].numpy())
    image[:] = 1  # the sample is the caller's own
    assert test_set.data[0].numpy().max() == 255
    with pytest.raises(IndexError):
        test_set[10000]


def test_a_sample_becomes_what_torchvisions_pipeline_makes_of_it(test_set: MNIST) -> None:
    pipeline = Compose([ToTensor(), Normalize((0.1307,), (0.3081,))])
    x, _ = MNIST(train=False, transform=pipeline)[0]
    theirs = torch.from_numpy(test_set.data[0].numpy())[None].to(torch.float32).div(255)
    theirs.sub_(torch.tensor([0.1307])[:, None, None]).div_(torch.tensor([0.3081])[:, None, None])
    np.testing.assert_array_equal(x.numpy(), theirs.numpy(), strict=True)


def test_it_reads_like_torchvisions() -> None:
    plain = MNIST(train=False)
    assert repr(plain) == ("Dataset MNIST\n    Number of datapoints: 10000\n    Root location: None\n    Split: Test")
    plain.transform = Compose([ToTensor()])
    plain.target_transform = Lambda(abs)
    assert repr(plain).endswith(
        "    Split: Test\nStandardTransform\nTransform: Compose(\n               ToTensor()\n           )\n"
        "Target transform: Lambda()"
    )


# --- batches


@pytest.mark.parametrize(
    "transform",
    [
        None,
        ToTensor(),
        Compose([ToTensor(), Normalize((0.5,), (0.5,))]),
        Compose([ToTensor(), Lambda(lambda x: x.reshape(-1))]),
        Lambda(lambda image: image[:, ::2]),
    ],
    ids=["none", "ToTensor", "Compose", "sample by sample", "arrays"],
)
@pytest.mark.parametrize("target_transform", [None, lambda label: label * 2])
def test_a_batch_is_its_samples_stacked(tmp_path: Path, transform: object, target_transform: object) -> None:
    dataset = MNIST(put(tmp_path), transform=transform, target_transform=target_transform)
    indices = [4, 0, 0, 2]
    x, y = dataset.fetch_batch(indices)
    samples = [dataset[i] for i in indices]
    np.testing.assert_array_equal(x.numpy(), np.stack([np.asarray(image) for image, _ in samples]), strict=True)
    assert y.tolist() == [label for _, label in samples]
    assert y.dtype == tg.int64


def test_transforms_see_a_whole_batch_at_once(tmp_path: Path) -> None:
    seen = []
    spy = Lambda(lambda batch: seen.append(batch.shape) or batch, batched=True)
    dataset = MNIST(put(tmp_path), transform=Compose([spy, ToTensor()]))
    batches = list(DataLoader(dataset, batch_size=2))
    assert seen == [(2, 3, 4, 1), (2, 3, 4, 1), (1, 3, 4, 1)]
    assert [x.shape for x, _ in batches] == [(2, 1, 3, 4), (2, 1, 3, 4), (1, 1, 3, 4)]


def test_the_set_can_be_cut_down_in_place(test_set: MNIST) -> None:
    sevens = MNIST(train=False)
    keep = sevens.targets == 7
    sevens.data, sevens.targets = sevens.data[keep], sevens.targets[keep]
    assert len(sevens) == 1028
    x, y = sevens.fetch_batch([0, 1])
    np.testing.assert_array_equal(x[0].numpy(), test_set.data[0].numpy())
    assert y.tolist() == [7, 7]


# --- where files are found


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("folder", ["MNIST/raw", "."])
def test_finds_torchvisions_folder_and_a_plain_one(tmp_path: Path, folder: str, gz: str) -> None:
    put(tmp_path / folder, gz=gz)
    dataset = MNIST(str(tmp_path))
    np.testing.assert_array_equal(dataset.data.numpy(), IMAGES)
    assert dataset.targets.tolist() == LABELS.tolist()


def test_torchvisions_folder_comes_first(tmp_path: Path) -> None:
    put(tmp_path)
    put(tmp_path / "MNIST" / "raw", labels=LABELS + 1)
    assert MNIST(tmp_path).targets.tolist() == (LABELS + 1).tolist()


def test_mnist_ships_so_that_any_folder_will_do(tmp_path: Path, test_set: MNIST) -> None:
    for download in (False, True):
        dataset = MNIST(tmp_path / "data", train=False, download=download)
        np.testing.assert_array_equal(dataset.data.numpy(), test_set.data.numpy())
    assert not (tmp_path / "data").exists()


def test_the_shipped_files_do_not_complete_a_folder(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(RuntimeError, match="Dataset not found"):
        MNIST(tmp_path)


@pytest.mark.parametrize("kind", [FashionMNIST, KMNIST])
def test_missing_files_are_named(tmp_path: Path, kind: type[MNIST]) -> None:
    message = (
        "Dataset not found. You can use download=True to download it, or put t10k-images-idx3-ubyte[.gz] and "
        f"t10k-labels-idx1-ubyte[.gz] into {tmp_path}/{kind.__name__}/raw or {tmp_path} yourself"
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        kind(tmp_path, train=False)
    with pytest.raises(ValueError, match=rf"does not ship with this package; give a folder: {kind.__name__}\('data'"):
        kind()


# --- what is refused


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, LABELS[:4], "has 5 images and train-labels-idx1-ubyte has 4 labels; they do not belong together"),
        (IMAGES[0], LABELS, "expected images (N, H, W), uint8; got (3, 4), uint8"),
        (IMAGES.astype("i4"), LABELS, "expected images (N, H, W), uint8; got (5, 3, 4), int32"),
        (IMAGES, LABELS[None], "expected labels (N,), uint8; got (1, 5), uint8"),
        (IMAGES, LABELS.astype("i4"), "expected labels (N,), uint8; got (5,), int32"),
        (IMAGES, np.uint8([0, 10, 1, 2, 3]), "label 10 at index 1; MNIST has 10 classes"),
        (IMAGES, np.uint8([0, 1, 10, 255, 3]), "label 255 at index 3; MNIST has 10 classes, so expected at most 9"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    put(tmp_path, images, labels)
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        MNIST(tmp_path)
    assert str(raised.value).startswith(str(tmp_path))


def test_an_empty_set_is_a_set(tmp_path: Path) -> None:
    assert len(MNIST(put(tmp_path, IMAGES[:0], LABELS[:0]))) == 0


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte: the file is empty"):
        MNIST(tmp_path)


# --- downloads


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """The four files of a small set, by name, as a mirror has them."""
    folder = tmp_path / "served"
    put(folder, part="train", gz=".gz")
    put(folder, labels=LABELS + 1, part="t10k", gz=".gz")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sums(files: dict[str, bytes]) -> dict[str, tuple[int, str]]:
    return {name: (len(body), hashlib.sha256(body).hexdigest()) for name, body in files.items()}


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, KMNIST])
def test_downloads_both_splits_from_the_first_mirror_that_works(
    mirror: Mirror, tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, kind: type[MNIST]
) -> None:
    for name, body in files.items():
        mirror.serve(f"/damaged/{name}", body[:-1] + b"?")
        mirror.serve(f"/good/{name}", body)
    monkeypatch.setattr(kind, "shipped", None)
    monkeypatch.setattr(kind, "mirrors", [f"{mirror.url}/{folder}/" for folder in ("gone", "damaged", "good")])
    monkeypatch.setattr(kind, "resources", sums(files))
    root = tmp_path / "data"
    assert kind(root, download=True).targets.tolist() == LABELS.tolist()
    assert {p.name for p in (root / kind.__name__ / "raw").glob("*.gz")} == set(files)
    asked = len(mirror.requests)
    assert asked == 3 * 4
    assert kind(root, train=False, download=True).targets.tolist() == (LABELS + 1).tolist()
    assert kind(root).targets.tolist() == LABELS.tolist()
    assert len(mirror.requests) == asked


def test_an_interrupted_download_of_the_set_is_completed(
    mirror: Mirror, tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [f"{mirror.url}/"])
    monkeypatch.setattr(MNIST, "resources", sums(files))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(files["train-images-idx3-ubyte.gz"])
    for name, body in files.items():
        mirror.serve(f"/{name}", body)
    assert MNIST(tmp_path, download=True).targets.tolist() == LABELS.tolist()
    assert "/train-images-idx3-ubyte.gz" not in [path for path, _ in mirror.requests]


def test_when_every_mirror_fails_the_error_says_what_to_put_where(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"{mirror.url}/a/", f"{mirror.url}/b/"])
    with pytest.raises(RuntimeError) as raised:
        FashionMNIST(tmp_path, download=True)
    sha256 = FashionMNIST.resources["train-images-idx3-ubyte.gz"][1]
    assert str(raised.value).splitlines() == [
        "could not download train-images-idx3-ubyte.gz:",
        f"  {mirror.url}/a/train-images-idx3-ubyte.gz: 404 Not Found",
        f"  {mirror.url}/b/train-images-idx3-ubyte.gz: 404 Not Found",
        f"Check the network and run it again, or put the file with SHA-256 {sha256} at "
        f"{tmp_path}/FashionMNIST/raw/train-images-idx3-ubyte.gz yourself.",
    ]


def test_download_needs_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="MNIST: download needs a folder: pass root"):
        MNIST(train=False).download()


def test_addresses_are_https_and_the_dead_host_is_not_among_them() -> None:
    for kind in (MNIST, FashionMNIST, KMNIST, EMNIST):
        for mirror in kind.mirrors:
            assert mirror.startswith("https://")
            assert mirror.endswith("/")
            assert "yann.lecun.com" not in mirror


# --- EMNIST


def emnist_files(split: str) -> dict[str, bytes]:
    """A small archive's members, by name, as NIST names them."""
    found = {}
    for part, labels in (("train", LABELS), ("test", LABELS + 1)):
        for kind, array in (("images-idx3", IMAGES), ("labels-idx1", labels)):
            name = f"emnist-{split}-{part}-{kind}-ubyte.gz"
            data = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
            found[name] = gzip.compress(data)
    return found


def test_emnist_is_unpacked_from_its_archive(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for split in ("letters", "digits"):
            for name, body in emnist_files(split).items():
                archive.writestr(f"gzip/{name}", body)
        archive.writestr("gzip/emnist-letters-mapping.txt", "1 65 97")
        archive.writestr("../../escaped.gz", b"")
    body = packed.getvalue()
    mirror.serve("/gzip.zip", body)
    monkeypatch.setattr(EMNIST, "mirrors", [f"{mirror.url}/"])
    monkeypatch.setattr(EMNIST, "resources", sums({"gzip.zip": body}))

    dataset = EMNIST(tmp_path, "letters", train=False, download=True)
    assert dataset.targets.tolist() == (LABELS + 1).tolist()
    np.testing.assert_array_equal(dataset.data.numpy(), IMAGES)
    assert EMNIST(tmp_path, split="digits").targets.tolist() == LABELS.tolist()
    assert len(mirror.requests) == 1
    raw = tmp_path / "EMNIST" / "raw"
    assert {p.suffix for p in raw.iterdir()} <= {".gz", ".lock"}
    assert not (tmp_path / "escaped.gz").exists()


@pytest.mark.parametrize(
    ("split", "count", "some"),
    [
        ("byclass", 62, {0: "0", 10: "A", 36: "a", 61: "z"}),
        ("bymerge", 47, {10: "A", 36: "a", 37: "b", 38: "d", 46: "t"}),
        ("balanced", 47, {46: "t"}),
        ("letters", 27, {0: "N/A", 1: "a", 26: "z"}),
        ("digits", 10, {9: "9"}),
        ("mnist", 10, {0: "0"}),
    ],
)
def test_emnist_classes(tmp_path: Path, split: str, count: int, some: dict[int, str]) -> None:
    for name, body in emnist_files(split).items():
        (tmp_path / name).write_bytes(body)
    classes = EMNIST(tmp_path, split).classes
    assert len(classes) == count
    assert {i: classes[i] for i in some} == some


def test_emnist_names_its_splits(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown split 'test'; expected one of byclass, bymerge, balanced, letters"):
        EMNIST(tmp_path, "test")
    with pytest.raises(RuntimeError, match=r"emnist-mnist-train-images-idx3-ubyte\[.gz\]"):
        EMNIST(tmp_path, "mnist")
