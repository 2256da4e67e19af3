"""Networks, each a class and a function that makes one: `models.cnn()`, `models.lenet5()`."""

from .cnn import CNN, cnn
from .lenet import LeNet5, lenet5
from .resnet import CifarResNet, ResNet, resnet18, resnet20, resnet34
from .vit import VisionTransformer, vit_b_16, vit_tiny

__all__ = [
    "CNN",
    "CifarResNet",
    "LeNet5",
    "ResNet",
    "VisionTransformer",
    "cnn",
    "lenet5",
    "resnet18",
    "resnet20",
    "resnet34",
    "vit_b_16",
    "vit_tiny",
]
