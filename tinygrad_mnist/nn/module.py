"""Module: the base class of every layer and model. What it knows by name is in `registry.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from .. import dtypes
from ..autograd import RemovableHandle
from ..backend import device as Device
from ..tensor import Tensor
from . import state
from .errors import say_where
from .registry import Registry


class Module(Registry):
    """A layer or model: subclass it, make the parts in `__init__`, combine them in `forward`.

    Parameters, buffers and submodules register themselves when they are assigned as attributes.

    >>> from tinygrad_mnist import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = nn.Linear(4, 2)
    ...     def forward(self, x):
    ...         return self.fc(x).relu()
    >>> [(name, tuple(p.shape)) for name, p in Net().named_parameters()]
    [('fc.weight', (2, 4)), ('fc.bias', (2,))]
    """

    training: bool
    _forward_pre_hooks: dict[int, Callable]
    _forward_hooks: dict[int, Callable]

    # Names of buffers that a state dict may lack: see BatchNorm.
    optional_buffers: tuple[str, ...] = ()
    # Whether `train()` leaves this module in eval mode, as finetune.freeze has it for batch-norm layers.
    always_eval = False

    def __init__(self) -> None:
        super().__init__()
        self.__dict__.update(training=True, _forward_pre_hooks={}, _forward_hooks={})

    # ---- calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. To be written by the subclass."""
        raise NotImplementedError(f"{type(self).__name__} needs a forward() method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            for hook in list(self._forward_pre_hooks.values()) if self._forward_pre_hooks else ():
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
            result = self.forward(*args, **kwargs)
            for hook in list(self._forward_hooks.values()) if self._forward_hooks else ():
                changed = hook(self, args, result)
                result = result if changed is None else changed
            return result
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            say_where(self, error)
            raise

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple], Any]) -> RemovableHandle:
        """Call `hook(module, args)` before each forward; what it returns (if anything) replaces the arguments."""
        return RemovableHandle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> RemovableHandle:
        """Call `hook(module, args, output)` after each forward; what it returns (if anything) replaces the output."""
        return RemovableHandle(self._forward_hooks, hook)

    # ---- changing all of it

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every submodule, then on this one: how weights are initialised."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode (dropout drops, batch-norm uses the batch) here and below; `mode=False` is `eval()`.

        Modules with `always_eval` stay in evaluation mode.
        """
        if not isinstance(mode, bool):
            raise ValueError(f"train(mode): expected a bool, got {mode!r}")
        for module in self.modules():
            module.training = mode and not module.always_eval
        return self

    def eval(self) -> Self:
        """Set evaluation mode here and below."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or train (True) all parameters here and below."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad = p.like(p.xp.zeros_like(p.array))

    def _apply(self, fn: Callable[[Any], Tensor]) -> Self:
        """Replace the memory of every parameter, gradient and buffer by that of `fn(tensor)`."""
        for tensor in [*self.parameters(), *self.buffers()]:
            for t in (tensor, tensor.grad):
                if t is not None:
                    t.array = fn(t.detach()).array
        return self

    def to(self, *args: Any, device: Any = None, dtype: Any = None) -> Self:
        """Move and cast in place: to(device), to(dtype), to(device, dtype) or to(tensor).

        Only floating-point parameters and buffers are cast; all are moved.
        """
        for arg in args:
            if isinstance(arg, Tensor):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, str | Device):
                device = arg
            else:
                dtype = arg
        if dtype is not None and np.dtype(dtype).kind != "f":
            raise TypeError(f"a Module can be cast to floating dtypes only, got {np.dtype(dtype)}")

        def move(t: Tensor) -> Tensor:
            t = t if device is None else t.to(device)
            return t if dtype is None or t.dtype.kind != "f" else t.to(dtype)

        return self._apply(move)

    def cpu(self) -> Self:
        """Move all parameters and buffers to the CPU."""
        return self.to("cpu")

    def cuda(self, device: int | str | Device | None = None) -> Self:
        """Move all parameters and buffers to a CUDA device."""
        return self.to(Device("cuda", device) if device is None or isinstance(device, int) else device)

    def float(self) -> Self:
        """Cast all floating-point parameters and buffers to float32."""
        return self.to(dtypes.float32)

    def double(self) -> Self:
        """Cast all floating-point parameters and buffers to float64."""
        return self.to(dtypes.float64)

    def half(self) -> Self:
        """Cast all floating-point parameters and buffers to float16."""
        return self.to(dtypes.float16)

    # ---- state and text

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Path -> tensor of every parameter and persistent buffer; it shares the model's memory."""
        return state.state_dict(self, prefix, keep_vars)

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any],
        strict: bool = True,
        *,
        prefix: Mapping[str, str] | None = None,
        skip_mismatched: bool = False,
    ) -> state.IncompatibleKeys:
        """Copy tensors or arrays into the parameters and buffers of the same name, cast to their dtype.

        Raises RuntimeError with a table of every missing, unexpected and mis-shaped name, and then has changed
        nothing. `strict=False` forgives missing and unexpected names, `skip_mismatched=True` other shapes (a head for
        other classes); the result tells what was left out, its `report` as a table. `prefix` replaces beginnings of
        names: {"module.": ""} takes "module." off, {"": "backbone."} puts "backbone." before every name.
        PyTorch has neither `prefix` nor `skip_mismatched`.
        """
        return state.load_state_dict(self, state_dict, strict, prefix or {}, skip_mismatched)

    def extra_repr(self) -> str:
        """What `repr` shows between the parentheses. To be written by the subclass."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [f"({name}): {child!r}" for name, child in self._modules.items()]
        return f"{type(self).__name__}({layout(extra, children)})"


@contextlib.contextmanager
def in_eval_mode(model: Module) -> Iterator[None]:
    """Evaluation mode inside; after it each module has its own mode again (some may have been in eval mode alone)."""
    were_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in were_training:
            module.training = True


def layout(extra: str, children: list[str]) -> str:
    """The inside of a repr: on one line where it is one, else indented."""
    lines = [*extra.split("\n"), *children] if extra else children
    if not children and len(lines) < 2:
        return extra
    return "\n  " + "\n".join(lines).replace("\n", "\n  ") + "\n"
