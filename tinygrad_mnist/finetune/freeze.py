"""Which parameters train, chosen by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from ..nn import BatchNorm1d, BatchNorm2d, Module


def freeze(model: Module, *patterns: str, eval_batch_norm: bool = True) -> list[str]:
    """Stop training the parameters that `patterns` name (none: all of them); returns their names.

    A pattern is the name of a parameter or of a module, which stands for everything in it; `*`, `?` and `[...]` mean
    what they do in file names, and `*` matches dots too. A batch-norm layer without a trainable parameter stays in
    eval mode, also after `model.train()`: otherwise its running statistics would go on moving under the frozen
    weights. `eval_batch_norm=False` lets them. Raises ValueError for a pattern that matches nothing.

    >>> from tinygrad_mnist import models
    >>> freeze(models.lenet5(), "conv?", "fc1.bias")
    ['conv1.weight', 'conv1.bias', 'conv2.weight', 'conv2.bias', 'fc1.bias']
    """
    return _set_trainable(model, patterns, False, eval_batch_norm)


def unfreeze(model: Module, *patterns: str) -> list[str]:
    """Train the parameters that `patterns` name (none: all of them) again, as `freeze` reads them; their names."""
    return _set_trainable(model, patterns, True, False)


def _set_trainable(model: Module, patterns: Iterable[str], trainable: bool, eval_batch_norm: bool) -> list[str]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    modules = model.named_modules(remove_duplicate=False)
    norms = {path: m for path, m in modules if isinstance(m, BatchNorm1d | BatchNorm2d)}
    matching = _matching([*parameters, *norms], patterns or ("*",), model)
    chosen = [name for name in parameters if name in matching]
    for name in chosen:
        parameters[name].requires_grad = trainable
        if not trainable:
            parameters[name].grad = None  # or the next optimizer step would still use it
    for path, norm in norms.items():
        if matching & {path, *(name for name, _ in norm.named_parameters(path))}:
            norm.always_eval = eval_batch_norm and not any(p.requires_grad for p in norm.parameters())
            norm.train(model.training)
    return chosen


def _matching(names: list[str], patterns: Iterable[str], model: Module) -> set[str]:
    """Those of `names` that a pattern matches, themselves or a module around them."""
    matching: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")}
        if not found:
            known = [*(path for path, _ in model.named_modules() if path), *names]
            near = difflib.get_close_matches(pattern, dict.fromkeys(known), n=5, cutoff=0.5)
            others = f"close names are {near}" if near else f"its parts are {[n for n, _ in model.named_children()]}"
            raise ValueError(f"no parameter of {type(model).__name__} matches {pattern!r}; {others}")
        matching |= found
    return matching
