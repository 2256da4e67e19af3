"""MNIST and the sets made like it, under torchvision's names: found on disk, shipped, or downloaded."""

from __future__ import annotations

import copy
import os
import shutil
import string
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from .. import backend, creation
from ..hub import download_url_to_file
from ..utils.data.dataset import Dataset
from .idx import read_idx


class MNIST(Dataset):
    """Handwritten digits: 60,000 images to train on, 10,000 to test on, 28x28, uint8, 0 is the background.

    Sample i is `(image, label)`: an array (H, W), uint8, in the place of torchvision's PIL image, and an int, each
    after its transform. `ToTensor()` makes the image float32 (1, H, W) in [0, 1]. `data` (N, H, W), uint8, and
    `targets` (N,), int64, are the whole set as tensors.

    The files are looked for in `root/MNIST/raw` (as torchvision leaves them), then in `root` itself, gzipped or not;
    then MNIST, unlike its relatives, takes the ones that ship with this package. With `download=True` missing files
    are downloaded into `root/MNIST/raw`.

    Raises RuntimeError if the files are not there, ValueError if one is damaged or they do not belong together.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.MNIST.html

    >>> test_set = MNIST(train=False)
    >>> test_set
    Dataset MNIST
        Number of datapoints: 10000
        Root location: None
        Split: Test
    >>> image, label = test_set[0]
    >>> image.shape, image.dtype, label
    ((28, 28), dtype('uint8'), 7)
    """

    shipped: ClassVar[Path | None] = Path(__file__).with_name("mnist")
    mirrors: ClassVar[Sequence[str]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    resources: ClassVar[Mapping[str, tuple[int, str]]] = {  # bytes, SHA-256
        "train-images-idx3-ubyte.gz": (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        "train-labels-idx1-ubyte.gz": (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        "t10k-images-idx3-ubyte.gz": (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        "t10k-labels-idx1-ubyte.gz": (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    }
    classes: Sequence[str] = [
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four",
        "5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine",
    ]  # fmt: skip

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ):
        self.root = None if root is None else Path(root)
        self.train = train
        self.transform = transform
        self.target_transform = target_transform
        if self.root is None and self.shipped is None:
            name = type(self).__name__
            raise ValueError(f"{name}: does not ship with this package; give a folder: {name}('data', download=True)")
        if download and self._find() is None:
            self.download()
        found = self._find()
        if found is None:
            raise RuntimeError(self._not_found())
        images, labels = self._load(*found)
        self.data = creation.from_numpy(images)  # (N, H, W)
        self.targets = creation.from_numpy(labels.astype(np.int64))  # (N,)

    @property
    def raw_folder(self) -> Path:
        """Where files are downloaded to, and where torchvision keeps its own."""
        assert self.root is not None
        return self.root / type(self).__name__ / "raw"

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class name."""
        return {name: i for i, name in enumerate(self.classes)}

    def _stems(self) -> tuple[str, str]:
        """The names, without .gz, of the files with this split's images and labels."""
        part = "train" if self.train else "t10k"
        return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"

    def _folders(self) -> list[Path]:
        own = [] if self.root is None else [self.raw_folder, self.root]
        return own if self.shipped is None else [*own, self.shipped]

    def _find(self) -> tuple[Path, Path] | None:
        """The two files of this split, from the first folder that has both."""
        images, labels = self._stems()
        for folder in self._folders():
            found = [_first_existing(folder / stem, folder / f"{stem}.gz") for stem in (images, labels)]
            if found[0] is not None and found[1] is not None:
                return found[0], found[1]
            if any(found):
                return None  # half of a set: the other folders have other sets
        return None

    def _not_found(self) -> str:
        places = " or ".join(str(folder) for folder in self._folders())
        names = " and ".join(f"{stem}[.gz]" for stem in self._stems())
        return f"Dataset not found. You can use download=True to download it, or put {names} into {places} yourself"

    def _load(self, images_file: Path, labels_file: Path) -> tuple[np.ndarray, np.ndarray]:
        images, labels = read_idx(images_file), read_idx(labels_file)
        if images.ndim != 3 or images.dtype != np.uint8:
            raise ValueError(f"{images_file}: expected images (N, H, W), uint8; got {images.shape}, {images.dtype}")
        if labels.ndim != 1 or labels.dtype != np.uint8:
            raise ValueError(f"{labels_file}: expected labels (N,), uint8; got {labels.shape}, {labels.dtype}")
        if len(images) != len(labels):
            raise ValueError(
                f"{images_file} has {len(images)} images and {labels_file.name} has {len(labels)} labels; "
                "they do not belong together: delete both and download them again"
            )
        if len(labels) and labels.max() >= len(self.classes):
            raise ValueError(
                f"{labels_file}: label {labels.max()} at index {labels.argmax()}; "
                f"{type(self).__name__} has {len(self.classes)} classes, so expected at most {len(self.classes) - 1}"
            )
        return images, labels

    def download(self) -> None:
        """Download the files of both splits that are not in `raw_folder` yet."""
        if self.root is None:
            raise ValueError(f"{type(self).__name__}: download needs a folder: pass root")
        for name, (size, sha256) in self.resources.items():
            urls = [mirror + name for mirror in self.mirrors]
            download_url_to_file(urls, self.raw_folder / name, sha256, max_bytes=size)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image: Any = creation.to_array(self.data)[index].copy()
        target: Any = int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def fetch_batch(self, indices: Sequence[int]) -> Any:
        """The images and labels at `indices`, (N, ...) and (N,): as a list of two tensors.

        A transform that says `batched` gets all images at once, as an array (N, H, W, 1).
        """
        if self.target_transform is not None or not getattr(self.transform, "batched", self.transform is None):
            return super().fetch_batch(indices)
        data, targets = creation.to_array(self.data), creation.to_array(self.targets)
        place = backend.of(data)
        rows = place.to_device(np.asarray(indices, np.int64))
        if self.transform is None:
            images = place.kernels.take_rows(data, rows)  # (N, H, W)
        elif hasattr(self.transform, "of_rows"):
            images = self.transform.of_rows(data[..., None], rows)
        else:
            images = self.transform(place.kernels.take_rows(data, rows)[..., None])
        return [creation.as_tensor(images), creation.wrap(place.kernels.take_rows(targets, rows))]

    @property
    def device(self) -> Any:
        """Where the images and labels are."""
        return self.data.device

    def to(self, device: Any) -> Self:
        """This set with its images and labels on `device`, where a `DataLoader` then makes the same batches."""
        moved = copy.copy(self)
        moved.data, moved.targets = self.data.to(device), self.targets.to(device)
        return moved

    def __repr__(self) -> str:
        lines = [
            f"Dataset {type(self).__name__}",
            f"    Number of datapoints: {len(self)}",
            f"    Root location: {self.root}",
            f"    Split: {'Train' if self.train else 'Test'}",
        ]
        shown = [("Transform: ", self.transform), ("Target transform: ", self.target_transform)]
        given = [label + repr(fn).replace("\n", "\n" + " " * len(label)) for label, fn in shown if fn is not None]
        return "\n".join([*lines, *(["StandardTransform"] if given else []), *given])


class FashionMNIST(MNIST):
    """Pictures of clothes, in MNIST's format and size. See `MNIST`.

    Source: https://github.com/zalandoresearch/fashion-mnist
    """

    shipped = None
    mirrors = (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    )
    resources: ClassVar[Mapping[str, tuple[int, str]]] = {
        "train-images-idx3-ubyte.gz": (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        "train-labels-idx1-ubyte.gz": (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        "t10k-images-idx3-ubyte.gz": (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        "t10k-labels-idx1-ubyte.gz": (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    }
    classes: Sequence[str] = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
    ]  # fmt: skip


class KMNIST(MNIST):
    """Kuzushiji: ten cursive Japanese characters, in MNIST's format and size. See `MNIST`.

    Source: https://github.com/rois-codh/kmnist
    """

    shipped = None
    mirrors = ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    resources: ClassVar[Mapping[str, tuple[int, str]]] = {
        "train-images-idx3-ubyte.gz": (18165135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
        "train-labels-idx1-ubyte.gz": (29497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
        "t10k-images-idx3-ubyte.gz": (3041136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
        "t10k-labels-idx1-ubyte.gz": (5120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
    }
    classes: Sequence[str] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


_LIKE_ITS_CAPITAL = set("cijklmopsuvwxyz")  # the merged splits count these lower-case letters as capitals
_CHARACTERS = sorted(string.digits + string.ascii_letters)


class EMNIST(MNIST):
    """Handwritten letters and digits in six splits, in MNIST's format. See `MNIST`.

    As in torchvision, the images are as the files have them: transposed, so that a character reads upright after
    `image.T`; and the labels of "letters" go from 1 to 26, class 0 being "N/A".

    Source: https://www.nist.gov/itl/products-and-services/emnist-dataset
    """

    shipped = None
    mirrors = (
        "https://biometrics.nist.gov/cs_links/EMNIST/",
        "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/",
    )
    resources: ClassVar[Mapping[str, tuple[int, str]]] = {
        "gzip.zip": (561753746, "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e")
    }
    classes_split_dict: ClassVar[Mapping[str, Sequence[str]]] = {
        "byclass": _CHARACTERS,
        "bymerge": [c for c in _CHARACTERS if c not in _LIKE_ITS_CAPITAL],
        "balanced": [c for c in _CHARACTERS if c not in _LIKE_ITS_CAPITAL],
        "letters": ["N/A", *string.ascii_lowercase],
        "digits": list(string.digits),
        "mnist": list(string.digits),
    }
    splits = tuple(classes_split_dict)

    def __init__(self, root: str | os.PathLike[str], split: str, **kwargs: Any):
        if split not in self.splits:
            raise ValueError(f"EMNIST: unknown split {split!r}; expected one of {', '.join(self.splits)}")
        self.split = split
        self.classes = self.classes_split_dict[split]
        super().__init__(root, **kwargs)

    def _stems(self) -> tuple[str, str]:
        prefix = f"emnist-{self.split}-{'train' if self.train else 'test'}"
        return f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"

    def download(self) -> None:
        """Download the archive of all splits (562 MB), and unpack its files into `raw_folder`."""
        super().download()
        archive = self.raw_folder / "gzip.zip"
        with zipfile.ZipFile(archive) as opened:
            for member in opened.namelist():
                if member.endswith(".gz"):
                    target = self.raw_folder / Path(member).name
                    part = target.with_name(f"{target.name}.part")
                    with opened.open(member) as source, part.open("wb") as file:
                        shutil.copyfileobj(source, file)
                    part.replace(target)
        archive.unlink()


def _first_existing(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
