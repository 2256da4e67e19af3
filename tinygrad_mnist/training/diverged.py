"""What is said when training has failed."""

from __future__ import annotations

from pathlib import Path


class DivergedError(RuntimeError):
    """The loss or the weights became NaN or infinite; the message says when, where the last good weights are, and
    what to try."""


def diverged(what: str, step: int, epoch: int, batch: int, lr: float, newest: Path | None) -> DivergedError:
    """`what` happened at this step, this batch of this epoch (all from 1), with `newest` as the last checkpoint."""
    return DivergedError(
        f"{what} at step {step} (epoch {epoch}, batch {batch}). Try a lower learning rate (now {lr:.3g}), clip "
        "gradients with max_grad_norm, or find the first NaN inside `with autograd.detect_anomaly():`. "
        + (f"The last good checkpoint is {newest}." if newest else "No checkpoint was saved before.")
    )
