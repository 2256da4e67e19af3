"""Learning from images without labels, along with the few that have one."""

from __future__ import annotations

from typing import Any

from ..autograd import no_grad
from ..nn import Module
from ..nn import functional as F
from ..random import default_generator
from ..tensor import Tensor
from ..utils.data import Dataset


class FixMatch:
    """A loss that also teaches `model` to answer for a distorted image as `teacher` does for the same image, if sure.

        cross_entropy(outputs, targets) + weight mean_u( sure_u cross_entropy(model(strong u), argmax p_u) )

    over `batch_size` random images u, with the constants p_u = softmax(teacher(weak u)) and sure_u, which is 1 where
    max p_u is at least `threshold`, else 0. `weak` and `strong` are the same
    images under two transforms, as data sets whose samples begin with the image: mildly and heavily distorted. The
    teacher is the model itself, or a moving average of it, as in a mean teacher, which judges in eval mode. Outside
    training (where no gradient is wanted) the loss is the cross-entropy alone.

    With `balance`, for classes that are about equally frequent, p_u is first divided by its mean over the batch and
    scaled to sum 1 again, so that no class takes in its neighbours (https://arxiv.org/abs/1911.09785, section 3.1).

    The images are drawn from the default generator, so that `training.fit` resumes exactly.
    Sources: https://arxiv.org/abs/2001.07685, https://arxiv.org/abs/1703.01780.

        ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
        loss_fn = FixMatch(model, weak, strong, batch_size=256, teacher=ema.module)
        training.fit(model, loader_of_the_few, optimizer, epochs, loss_fn=loss_fn, ema=ema)
    """

    def __init__(
        self,
        model: Module,
        weak: Dataset[Any],
        strong: Dataset[Any],
        batch_size: int,
        threshold: float = 0.95,
        weight: float = 1.0,
        teacher: Module | None = None,
        balance: bool = False,
    ):
        if len(weak) != len(strong) or len(weak) == 0:  # type: ignore[arg-type]  # a data set has a length
            sizes = f"{len(weak)} and {len(strong)}"  # type: ignore[arg-type]
            raise ValueError(f"FixMatch: expected the same images in weak and strong, at least one, got {sizes}")
        if batch_size < 1:
            raise ValueError(f"FixMatch: expected batch_size >= 1, got {batch_size}")
        if not 0 <= threshold <= 1:
            raise ValueError(f"FixMatch: expected a threshold from 0 to 1, got {threshold}")
        self.model = model
        self.weak = weak
        self.strong = strong
        self.batch_size = batch_size
        self.threshold = threshold
        self.weight = weight
        self.balance = balance
        self.teacher = model if teacher is None else teacher.eval()

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = F.cross_entropy(outputs, targets)
        return loss + self.weight * self.consistency(outputs.device) if outputs.requires_grad else loss

    def consistency(self, device: Any) -> Tensor:
        """The second term, for images drawn now."""
        rows = default_generator.integers(len(self.weak), self.batch_size).tolist()  # type: ignore[arg-type]
        with no_grad():
            p: Any = F.softmax(self.teacher(self.weak.fetch_batch(rows)[0].to(device)), 1)  # (U, classes)
            if self.balance:
                p = p / p.mean(0)
                p = p / p.sum(1, keepdim=True)
        sure = (p.amax(1) >= self.threshold).to(p.dtype)
        answers = self.model(self.strong.fetch_batch(rows)[0].to(device))
        return (F.cross_entropy(answers, p.argmax(1), reduction="none") * sure).mean()
