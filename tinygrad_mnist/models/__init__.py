"""Networks, each a class and a function that makes one: `models.cnn()`, `models.lenet5()`."""

from .cnn import CNN, cnn
from .lenet import LeNet5, lenet5
from .resnet import CifarResNet, ResNet, resnet18, resnet20, resnet34
from .strided_cnn import StridedCNN, strided_cnn
from .vit import VisionTransformer, vit_b_16, vit_tiny

__all__ = [
    "CNN",
    "CifarResNet",
    "LeNet5",
    "ResNet",
    "StridedCNN",
    "VisionTransformer",
    "cnn",
    "lenet5",
    "resnet18",
    "resnet20",
    "resnet34",
    "strided_cnn",
    "vit_b_16",
    "vit_tiny",
]
