"""Training in half precision, against the same in float32."""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_mnist as tg
from tinygrad_mnist import datasets, nn, optim
from tinygrad_mnist.nn import functional as F
from tinygrad_mnist.training import train_step

PAGE = Path(__file__).parents[2] / "docs" / "cuda.md"
DIGITS = datasets.MNIST(train=False)


def digits(n: int, device: str) -> tuple[Any, Any]:
    """n images, 0 to 1, and their classes."""
    return DIGITS.data[:n].unsqueeze(1).float().to(device) / 255, DIGITS.targets[:n].to(device)


def test_gradients_are_those_of_float32_but_for_rounding(device: str) -> None:
    """Each of some ten steps there and back rounds by 2^-11, together less than 1 %; a lost digit would be more."""
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(72, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 10),
    )  # fmt: skip
    half = model.to(device).half()
    single = copy.deepcopy(half).float()
    x, t = digits(6, device)
    results = []
    for one, inputs in ((half, x.half()), (single, x.half().float())):
        tg.manual_seed(0)
        loss = F.cross_entropy(one(inputs), t, label_smoothing=0.1)
        loss.backward()
        assert {p.grad.dtype for p in one.parameters()} == {inputs.dtype} == {loss.dtype}
        results.append([loss, *(p.grad for p in one.parameters()), one[1].running_var])
    for a, b in zip(*results, strict=True):
        got, expected = (v.detach().cpu().numpy().astype(np.float64) for v in (a, b))
        assert np.linalg.norm(got - expected) <= 0.01 * np.linalg.norm(expected)


def test_the_recipe_of_the_page_trains_as_float32_does(device: str) -> None:
    tg.manual_seed(0)
    program = re.search(r"```python\n(import copy.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert program is not None
    names: dict[str, Any] = {}
    exec(program[1].replace('"cuda"', repr(device)).replace("models.cnn()", "models.lenet5()"), names)
    before, single = (copy.deepcopy(names["master"]) for _ in range(2))
    optimizer = optim.SGD(single.parameters(), lr=0.05, momentum=0.9)
    x, t = digits(24, device)
    for i in (0, 8, 16, 0):
        images, labels = x[i : i + 8], t[i : i + 8]
        loss, expected = names["step"](images, labels).item(), train_step(single, optimizer, images, labels)[0].item()
        assert abs(loss - expected) <= 0.005
    for w0, w, expected in zip(*(m.parameters() for m in (before, names["master"], single)), strict=True):
        # Not 2^-11: where two numbers are rounded to the same, pooling sends the gradient to another pixel.
        assert (w - expected).norm().item() <= 0.05 * (expected - w0).norm().item()
