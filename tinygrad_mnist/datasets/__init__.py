"""MNIST and its relatives, and the file format they come in."""

from .folder import ImageFolder
from .idx import read_idx, write_idx
from .vision import EMNIST, KMNIST, MNIST, FashionMNIST

__all__ = ["EMNIST", "KMNIST", "MNIST", "FashionMNIST", "ImageFolder", "read_idx", "write_idx"]
