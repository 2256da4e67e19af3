"""Pretraining without labels: what each method needs besides `training.fit`, and how good the features are.

    encoder = models.strided_cnn()
    encoder.fc = pretraining.projection_head(256, 64)
    loader = DataLoader(pretraining.Views(images, transform), 256, shuffle=True)
    training.fit(encoder, loader, optimizer, epochs, loss_fn=pretraining.nt_xent, accuracy=False)
"""

from .contrastive import Views, nt_xent, projection_head
from .gan import GAN, Generator
from .mae import MaskedAutoencoder
from .probe import knn_accuracy, linear_probe
from .rotation import Rotations

__all__ = [
    "GAN", "Generator", "MaskedAutoencoder", "Rotations", "Views", "knn_accuracy", "linear_probe", "nt_xent",
    "projection_head",
]  # fmt: skip
