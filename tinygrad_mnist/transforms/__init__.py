"""What torchvision.transforms offers for this work, on one image or a whole batch at once.

An image is an array (H, W) or (H, W, C), as datasets give it, a PIL image, or a Tensor (C, H, W). A batch is an
array (N, H, W, C) or a Tensor (N, C, H, W). A transform that takes batches too has `batched = True`.
"""

from .compose import Compose, Lambda
from .convert import ConvertImageDtype, Normalize, PILToTensor, ToTensor

__all__ = ["Compose", "ConvertImageDtype", "Lambda", "Normalize", "PILToTensor", "ToTensor"]
