"""The tape, its switches and the walk back. See `tape.py` first."""

from .function import Function
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .hooks import RemovableHandle
from .modes import (
    detect_anomaly,
    enable_grad,
    every_gradient_is_wanted,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)
from .tape import Node, Variable, check_same_device, op, record
from .walk import backward, grad

__all__ = [
    "Function",
    "GradcheckError",
    "Node",
    "RemovableHandle",
    "Variable",
    "backward",
    "check_same_device",
    "detect_anomaly",
    "enable_grad",
    "every_gradient_is_wanted",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "op",
    "record",
    "set_detect_anomaly",
    "set_grad_enabled",
]
