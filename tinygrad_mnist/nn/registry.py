"""What a Module knows by name: its parameters, its buffers and the modules inside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..tensor import Tensor
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module


class Registry:
    """Files parameters, buffers and submodules under the attribute names they are assigned to, and finds them."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent: set[str]  # the buffers that stay out of state_dict

    def __init__(self) -> None:
        self.__dict__.update(_parameters={}, _buffers={}, _modules={}, _non_persistent=set())

    # ---- registering

    def _register(self, store: str, name: str, value: Any) -> None:
        what, kind, kind_name = _STORES[store]
        if store not in self.__dict__:
            raise AttributeError(
                f"cannot assign a {what} before Module.__init__() was called: call super().__init__() first"
            )
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"the name of a {what} must be a string that is not empty and has no '.', got {name!r}")
        if hasattr(self, name) and name not in self.__dict__[store]:
            raise KeyError(f"attribute {name!r} already exists")
        if value is not None and not isinstance(value, kind):
            raise TypeError(
                f"cannot assign {type(value).__qualname__} as {what} {name!r} ({kind_name} or None expected)"
            )
        self.__dict__[store][name] = value
        if store != "_modules":
            self.__dict__[name] = value  # where it is found several times as fast as by __getattr__

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; None reserves the name, as `bias=False` layers do."""
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is part of the state but not trained; `persistent=False` keeps it out of state_dict."""
        self._register("_buffers", name, tensor)
        (self._non_persistent.discard if persistent else self._non_persistent.add)(name)

    def add_module(self, name: str, module: Any) -> None:
        """Add a submodule under `name`."""
        self._register("_modules", name, module)

    register_module = add_module

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        store = next((s for s in _STORES if name in own.get(s, ())), None)
        target = store
        if isinstance(value, Parameter | Registry):
            target = "_parameters" if isinstance(value, Parameter) else "_modules"
        if target is None:
            object.__setattr__(self, name, value)
            return
        if store is not None and store != target:
            del own[store][name]
        if store != target:
            own.pop(name, None)
        self._register(target, name, value)

    def __getattr__(self, name: str) -> Any:
        modules = self.__dict__.get("_modules", ())
        if name in modules:
            return modules[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for store in _STORES:
            if name in self.__dict__.get(store, ()):
                del self.__dict__[store][name]
                self.__dict__.pop(name, None)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._parameters, *self._buffers, *self._modules})

    # ---- finding

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module and all below it, parents first; a shared one once."""
        module: Any = self
        memo = set() if memo is None else memo
        if module in memo:
            return
        if remove_duplicate:
            memo.add(module)
        yield prefix, module
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def _named(
        self, store: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        """(path, tensor) of the parameters or buffers, None left out."""
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, tensor in module.__dict__[store].items():
                if tensor is None or id(tensor) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(tensor))
                yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) of this module and, with `recurse`, all below it."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer) of this module and, with `recurse`, all below it."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, as an optimizer wants them."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct submodules; a shared one once."""
        seen: set[Module] = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The direct submodules."""
        return (m for _, m in self.named_children())

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as 'features.0'; '' is this one."""
        module: Any = self
        for name in target.split(".") if target else ():
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(
                    f"{type(module).__name__} has no submodule {name!r} (path {target!r}); it has {[*module._modules]}"
                )
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as 'features.0.weight'."""
        return self._get("_parameters", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path such as 'bn1.running_mean'."""
        return self._get("_buffers", target)

    def _get(self, store: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        found = owner.__dict__[store].get(name)
        if found is None:
            raise AttributeError(
                f"{type(owner).__name__} has no {_STORES[store][0]} {name!r} (path {target!r}); "
                f"it has {[*owner.__dict__[store]]}"
            )
        return found


# store -> what one of its entries is called, its type, and the type's name for the user
_STORES = {
    "_parameters": ("parameter", Parameter, "Parameter"),
    "_buffers": ("buffer", Tensor, "Tensor"),
    "_modules": ("module", Registry, "Module"),
}
