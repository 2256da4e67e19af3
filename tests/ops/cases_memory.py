"""Ops that change only where the elements lie."""

from op_case import case

from tinygrad_mnist import ops

CASES = [
    case("clone", (2, 3)),
    case("clone", (0,)),
    case(
        "to_device",
        (2, 3),
        ours=lambda x: ops.to_device(ops.to_device(x, "cpu"), x.device.type),
        theirs=lambda x: x.to("cpu"),
    ),
]
