"""Whole training steps and inference: the same network, weights, batch and optimizer for both."""

from __future__ import annotations

from collections.abc import Container, Iterator

from .networks import NETWORKS, Network, cnn
from .pair import Pair, flops
from .timing import Case, assert_close

IMAGE_SIZES = (14, 28, 56, 112)  # of the scaling part,
CHANNELS = (8, 16, 32, 64, 128)  # with what the first convolution gives; the second gives twice as many
SCALED_BATCH = 64


def training(batches: list[int], ways: list[str], wanted: Container[str] | None = None) -> Iterator[Case]:
    """One SGD step with momentum of each network; only those `wanted`, if given, by their names."""
    for name, network, batch in _networks(batches, wanted):
        yield _training(name, network, batch, ways)


def inference(batches: list[int], ways: list[str], wanted: Container[str] | None = None) -> Iterator[Case]:
    """Logits of a batch, in eval mode and without gradients."""
    for name, network, batch in _networks(batches, wanted):
        yield _inference(name, network, batch, ways)


def _networks(batches: list[int], wanted: Container[str] | None) -> Iterator[tuple[str, Network, int]]:
    for short, network in NETWORKS.items():
        for batch in batches:
            name = f"{short}, batch {batch}"
            if wanted is None or name in wanted:
                yield name, network, batch


def scaling(batches: list[int], ways: list[str]) -> Iterator[Case]:
    """A training step of the example CNN as batch, image size and channels grow, one at a time."""
    for batch in batches:
        yield _training(f"batch {batch}", NETWORKS["cnn"], batch, ways)
    for size in IMAGE_SIZES:
        network = Network(lambda nn, size=size: cnn(nn, image=size), (1, size, size))
        yield _training(f"image size {size}", network, SCALED_BATCH, ways)
    for channels in CHANNELS:
        network = Network(lambda nn, channels=channels: cnn(nn, channels=channels))
        yield _training(f"channels {channels}", network, SCALED_BATCH, ways)


def _training(name: str, network: Network, batch: int, ways: list[str]) -> Case:
    pair = Pair(network, batch)
    theirs = {way: pair.their_step(way) for way in ways}

    def check() -> None:
        pair.check_step()
        for way, step in theirs.items():
            pair.check_their_step(way, step)

    return Case(name, pair.our_step(), theirs, check, batch * flops(network)[1], batch=batch)


def _inference(name: str, network: Network, batch: int, ways: list[str]) -> Case:
    pair = Pair(network, batch)
    ours = pair.our_logits()
    theirs = {way: pair.their_logits(way) for way in ways}

    def check() -> None:
        for way, work in theirs.items():
            assert_close(ours(), work(), f"logits ({way})")

    return Case(name, ours, theirs, check, batch * flops(network)[0], batch=batch)
