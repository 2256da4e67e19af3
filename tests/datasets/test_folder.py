"""ImageFolder: what it finds, and files that are no images."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_mnist import datasets, transforms
from tinygrad_mnist.utils.data import DataLoader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, three images in two formats, a text file."""
    for i, name in enumerate(["seven/a.png", "one/deep/er/b.PGM", "one/a.png"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((5, 4), 50 * i, np.uint8)).save(path)
    (tmp_path / "one" / "notes.txt").write_text("mine")
    return tmp_path


def test_classes_are_folders(folder: Path) -> None:
    found = datasets.ImageFolder(folder)
    assert (found.classes, found.class_to_idx) == (["one", "seven"], {"one": 0, "seven": 1})
    assert [Path(path).name for path, _ in found.samples] == ["a.png", "b.PGM", "a.png"]
    assert found.targets == [0, 0, 1]
    assert len(found) == 3
    image, label = found[0]
    assert (image.mode, image.size, label) == ("RGB", (4, 5), 0)
    assert np.asarray(image)[0, 0].tolist() == [100] * 3


def test_batches(folder: Path) -> None:
    to_tensor = transforms.Compose([transforms.Grayscale(1), transforms.Resize((28, 28)), transforms.ToTensor()])
    found = datasets.ImageFolder(folder, to_tensor, target_transform=lambda y: y + 5)
    ((x, y),) = DataLoader(found, batch_size=3)
    assert x.shape == (3, 1, 28, 28)
    assert y.tolist() == [5, 5, 6]
    np.testing.assert_allclose(x.numpy()[:, 0, 3, 3], np.array([100, 50, 0]) / 255, rtol=1e-6)


def test_loader_and_filter_of_the_users(folder: Path) -> None:
    found = datasets.ImageFolder(folder, loader=lambda p: Path(p).stem, is_valid_file=lambda p: p.endswith("a.png"))
    assert [found[i] for i in range(len(found))] == [("a", 0), ("a", 1)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no image that Pillow knows: remove it, or save it as PNG or JPEG"),
        (b"no image at all", "is no image that Pillow knows"),
        ("half", "cannot be read as an image"),
        ("huge", r"announces 9000 x 9000 pixels, more than 50,000,000; make it smaller"),
    ],
)
def test_image_files_that_are_none(folder: Path, content: bytes | str, message: str) -> None:
    path = folder / "seven" / "a.png"
    if content == "half":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
        Image.fromarray(noise).save(path)
        content = path.read_bytes()[:1000]
    elif content == "huge":
        Image.new("1", (9000, 9000)).save(path)
        content = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.png.*{message}"):
        datasets.ImageFolder(folder)[2]


def test_missing_folders_and_pillow(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        datasets.ImageFolder(folder / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"any class folder in .*deep/er: expected .*er/CLASS/IMAGE\.png"):
        datasets.ImageFolder(folder / "one" / "deep" / "er")
    (folder / "two").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no valid file for the classes two in .*extensions are \.jpg"):
        datasets.ImageFolder(folder)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"needs Pillow: pip install 'tinygrad_mnist\[images\]'"):
        datasets.folder.pil_loader(folder / "one" / "a.png")
