"""The ways to use PyTorch that we are compared with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo
import torch._functorch.config
import torch._inductor.config

EAGER, CHANNELS_LAST, COMPILE = "eager", "channels_last", "compile"
WAYS = (EAGER, CHANNELS_LAST, COMPILE)
"""eager: as everybody writes it, images NCHW in memory; channels_last: eager, with images and convolutions' weights in
that memory format; compile: NCHW through torch.compile, whose compiling is not timed."""

torch._functorch.config.donated_buffer = False  # else a compiled graph's gradient can be taken only once
torch._dynamo.config.fail_on_recompile_limit_hit = True  # else it goes on in eager mode without a word
# Else torch 2.13 scatters the gradient of max-pooling after it was used: at some batch sizes (32, 64) those of the
# example CNN's convolutions are 0.
torch._inductor.config.reorder_for_peak_memory = False


@functools.cache
def why_not_compile() -> str | None:
    """Why torch.compile does not run here (it needs a C++ compiler); None if it does."""
    try:
        torch.compile(lambda x: x.relu() * 2)(torch.ones(8))
    except Exception as error:  # each thing that can be missing has a type of its own; what it says is printed
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None


def ways_that_run(wanted: list[str]) -> list[str]:
    """Those of `wanted` that run here; says which do not."""
    if COMPILE in wanted and why_not_compile():
        print(f"torch.compile does not run here and is left out: {why_not_compile()}")
        return [way for way in wanted if way != COMPILE]
    return wanted


def compiled(work: Callable[..., Any]) -> Callable[..., Any]:
    """torch.compile for these shapes, without what it remembers of other shapes."""
    torch._dynamo.reset()
    return torch.compile(work, dynamic=False)


def prepare(way: str, network: torch.nn.Module, x: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """The network and its input as that way wants them."""
    if way == CHANNELS_LAST:
        return channels_last(network), channels_last(x)
    return (compiled(network) if way == COMPILE else network), x


def channels_last(x: Any) -> Any:
    """A tensor of images, or a module, in that memory format; other tensors as they are."""
    if isinstance(x, torch.nn.Module) or x.ndim == 4:
        return x.to(memory_format=torch.channels_last)
    return x
