"""Parameter: a tensor that a Module trains."""

from __future__ import annotations

from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that, assigned as an attribute of a Module, becomes one of its parameters.

    It shares the memory of `data`.

    >>> from tinygrad_mnist import zeros
    >>> Parameter(zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    __slots__ = ()

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:  # `wrap`, copy and pickle fill in the rest
            return super().__new__(cls)
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: expected a Tensor, got {type(data).__name__}; use Parameter(tensor(data))")
        self = cls.wrap(data.array)
        self.version = data.version
        self.requires_grad = requires_grad
        return self

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """All is done in __new__."""

    def __deepcopy__(self, memo: dict) -> Parameter:
        """A copy with memory of its own and, unlike a Tensor's, without the gradient: as in PyTorch."""
        out = super().__deepcopy__(memo)
        out.grad = None
        return out

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
