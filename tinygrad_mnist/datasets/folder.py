"""A user's own images, as files in a folder for each class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..utils.data.dataset import Dataset

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
MAX_PIXELS = 50_000_000  # a file of some kilobytes can announce more than fit in memory


def pil_loader(path: str | os.PathLike[str]) -> Any:
    """The image in a file as a PIL image in RGB.

    Raises ValueError, with the file's name, if it is no image, is damaged or has more than 50 million pixels, and
    ImportError without Pillow.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError("reading image files needs Pillow: pip install 'tinygrad_mnist[images]'") from error
    with Path(path).open("rb") as file:
        try:
            image = Image.open(file)
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"it announces {width} x {height} pixels, more than {MAX_PIXELS:,}; make it smaller")
            return image.convert("RGB")
        except UnidentifiedImageError as error:
            raise ValueError(f"{path} is no image that Pillow knows: remove it, or save it as PNG or JPEG") from error
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} cannot be read as an image: {error}") from error


class ImageFolder(Dataset[tuple[Any, Any]]):
    """Images root/CLASS/any/where.png: sample i is (image, class), each after its transform.

    `classes` are the names of the folders, sorted; `class_to_idx` numbers them, `targets` are the numbers of all
    samples, `samples` their paths with the numbers. A file counts by its extension, or if `is_valid_file(path)`.
    `loader` reads one (see `pil_loader`). Raises FileNotFoundError if there is no class, or a class without a file.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        loader: Callable[[str], Any] = pil_loader,
        is_valid_file: Callable[[str], bool] | None = None,
    ):
        self.root = Path(root)
        self.transform = transform
        self.target_transform = target_transform
        self.loader = loader
        is_valid = is_valid_file or (lambda path: path.lower().endswith(IMG_EXTENSIONS))
        self.classes = sorted(entry.name for entry in self.root.iterdir() if entry.is_dir())
        if not self.classes:
            raise FileNotFoundError(f"Couldn't find any class folder in {root}: expected {root}/CLASS/IMAGE.png")
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.samples = [
            (str(path), label)
            for name, label in self.class_to_idx.items()
            for path in sorted((self.root / name).rglob("*"))
            if path.is_file() and is_valid(str(path))
        ]
        self.targets = [label for _, label in self.samples]
        empty = [name for name, label in self.class_to_idx.items() if label not in self.targets]
        if empty:
            expected = "" if is_valid_file else f"; supported extensions are {', '.join(IMG_EXTENSIONS)}"
            raise FileNotFoundError(f"Found no valid file for the classes {', '.join(empty)} in {root}{expected}")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        image = self.loader(path)
        if self.transform is not None:
            image = self.transform(image)
        return image, target if self.target_transform is None else self.target_transform(target)
