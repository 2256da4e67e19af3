"""One training step, one evaluation, and the running mean of what they give."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .. import random
from ..autograd import no_grad
from ..backend import OutOfMemoryError
from ..nn import Module
from ..nn import functional as F
from ..nn.module import in_eval_mode
from ..nn.utils import clip_grad_norm_
from ..tensor import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def train_step(
    model: Module,
    optimizer: Any,
    inputs: Tensor,
    targets: Tensor,
    loss_fn: Loss = F.cross_entropy,
    max_grad_norm: float | None = None,
) -> tuple[Tensor, Tensor]:
    """One update of the weights by one batch; returns the batch's loss and outputs from before the update.

    The batch is moved to the device of the model. `max_grad_norm` clips the gradients to this norm.
    """
    try:
        loss, outputs = gradients(model, optimizer, inputs, targets, loss_fn)
        update(optimizer, max_grad_norm)
        return loss, outputs
    except OutOfMemoryError as error:
        message = str(error)
    # Only here is the memory of the failed step free: the error's traceback held it.
    fitting = _largest_batch(model, optimizer, inputs, targets, loss_fn)
    advice = f"{fitting} fit (found by trying)" if fitting else "not even one fits, take a smaller model"
    raise OutOfMemoryError(f"{message}. This batch has {len(inputs)} images: {advice}")


def gradients(model: Module, optimizer: Any, inputs: Tensor, targets: Tensor, loss_fn: Loss) -> tuple[Tensor, Tensor]:
    """Loss and outputs of a batch; its gradients are in the parameters."""
    device = _device(model)
    optimizer.zero_grad()
    outputs = model(inputs.to(device))
    loss = loss_fn(outputs, targets.to(device))
    loss.backward()
    return loss.detach(), outputs.detach()  # type: ignore[return-value]  # Tensors, as they were


def update(optimizer: Any, max_grad_norm: float | None) -> None:
    """Update the weights by their gradients, which are clipped to this norm before."""
    if max_grad_norm is not None:
        clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], max_grad_norm)
    optimizer.step()


def _largest_batch(model: Module, optimizer: Any, inputs: Tensor, targets: Tensor, loss_fn: Loss) -> int:
    """The most of these images that a step has memory for, within an eighth; 0 if not one. Found by trying."""
    fits, too_many = 0, len(inputs)
    while too_many - fits > max(1, too_many // 8):
        n = (fits + too_many) // 2
        try:
            optimizer.zero_grad()
            fresh = [p for p in model.parameters() if p not in optimizer.state]
            _held = [p.array.copy() for p in fresh * 2]  # as what the optimizer has yet to make: Adam keeps two
            gradients(model, optimizer, inputs[:n], targets[:n], loss_fn)
            fits = n
        except OutOfMemoryError:
            too_many = n
    optimizer.zero_grad()
    return fits


def evaluate(
    model: Module, loader: Iterable[tuple[Tensor, Tensor]], loss_fn: Loss = F.cross_entropy
) -> tuple[float, float]:
    """Mean loss and accuracy (0 to 1) of a classifier over the images of `loader`, in eval mode, without gradients.

    `loss_fn` must give the mean over a batch. Raises ValueError if the loader is empty.
    """
    mean = mean_over(model, loader, loss_fn)
    if mean.images == 0:
        raise ValueError("evaluate: the loader gave no images")
    return mean.loss, mean.accuracy


def mean_over(
    model: Module, loader: Iterable[tuple[Tensor, Tensor]], loss_fn: Loss, accuracy: bool = True
) -> RunningMean:
    """What `evaluate` reports, as a RunningMean; without `accuracy` the loss alone."""
    device, mean = _device(model), RunningMean()
    with in_eval_mode(model), no_grad():
        for inputs, targets in loader:
            outputs = model(inputs.to(device))
            mean.add(loss_fn(outputs, targets.to(device)), outputs if accuracy else None, targets)
    mean.read()
    return mean


@contextlib.contextmanager
def drawing_nothing() -> Iterator[None]:
    """What is drawn inside is drawn again after: work that is cut short and repeated then changes nothing."""
    state = random.get_rng_state()
    try:
        yield
    finally:
        random.set_rng_state(state)


def _device(model: Module) -> Any:
    return next(model.parameters()).device


class RunningMean:
    """Mean loss and accuracy over batches, which are read from their device only when `read` is called."""

    def __init__(self, sums: tuple[float, float, int] = (0.0, 0, 0)):
        self.sums = sums  # of the losses of all images, of the right answers, of the images
        self._unread: list[tuple[Tensor, Tensor | None, int]] = []

    def add(self, loss: Tensor, outputs: Tensor | None, targets: Tensor) -> None:
        """Count a batch: its mean loss, its logits (N, classes), its classes (N,) or probabilities (N, classes).

        An answer is as right as the targets' probability for it. For a mixture of two images that is the share of the
        one that was recognised, so that the accuracy is that of https://arxiv.org/abs/1710.09412. Without logits
        nothing is right.
        """
        if outputs is None:
            self._unread.append((loss, None, len(targets)))
            return
        targets = targets.to(outputs.device)
        if targets.ndim == 1:
            hits = outputs.like(outputs.kernels.count_correct(outputs.array, targets.array))
        else:
            rows = targets.like(targets.xp.arange(len(targets)))
            hits = targets[rows, outputs.argmax(1)].sum()
        self._unread.append((loss, hits, len(targets)))

    def read(self) -> list[float]:
        """The losses of the batches that were added since the last `read`; now `sums` has them too."""
        losses = []
        for loss, correct, images in self._unread:
            losses.append(float(loss))
            total_loss, total_correct, total = self.sums
            right = 0 if correct is None else correct.item()
            self.sums = total_loss + losses[-1] * images, total_correct + right, total + images
        self._unread.clear()
        return losses

    def take(self, other: RunningMean) -> None:
        """Add the sums of `other`, which starts again from 0."""
        loss, correct, images = (a + b for a, b in zip(self.sums, other.sums, strict=True))
        self.sums, other.sums = (loss, correct, int(images)), (0.0, 0, 0)

    @property
    def images(self) -> int:
        """How many images were read."""
        return self.sums[2]

    @property
    def loss(self) -> float:
        """Mean loss of an image."""
        return self.sums[0] / self.images

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1."""
        return self.sums[1] / self.images
