"""What torchvision.transforms offers for this work, on one image or a whole batch at once.

An image is an array (H, W) or (H, W, C), as datasets give it, a PIL image, or a Tensor (C, H, W). A batch is an
array (N, H, W, C) or a Tensor (N, C, H, W). A transform that takes batches too has `batched = True`. MixUp and CutMix
are for what comes out of a loader: a Tensor of images and one of classes.
"""

from .compose import Compose, Lambda, RandomApply
from .convert import ConvertImageDtype, Grayscale, Normalize, PILToTensor, ToTensor
from .crop import CenterCrop, Pad, RandomCrop, RandomErasing, RandomHorizontalFlip, RandomVerticalFlip
from .images import InterpolationMode
from .mix import CutMix, MixUp
from .resize import GaussianBlur, RandomResizedCrop, Resize
from .warp import ElasticTransform, RandomAffine, RandomPerspective, RandomRotation

__all__ = [
    "CenterCrop", "Compose", "ConvertImageDtype", "CutMix", "ElasticTransform", "GaussianBlur", "Grayscale",
    "InterpolationMode", "Lambda", "MixUp", "Normalize", "PILToTensor", "Pad", "RandomAffine", "RandomApply",
    "RandomCrop", "RandomErasing", "RandomHorizontalFlip", "RandomPerspective", "RandomResizedCrop", "RandomRotation",
    "RandomVerticalFlip", "Resize", "ToTensor",
]  # fmt: skip
