"""Watches a model run under fake tensors and writes down every kernel: what, by which module, on which tensors."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from tilecast.graph.classify import classify, moved_bytes, operands_and_traffic, silent
from tilecast.graph.kernels import Kernel, Launch, Wire

_DEVICE = torch.ops.prim.device.default


class Recorder(TorchDispatchMode):
    """Collects `launches` while `phase` is set; knows which module is running, forward and backward."""

    def __init__(self, model: nn.Module, dtype: str) -> None:
        super().__init__()
        self.launches: list[Launch] = []
        self.phase: str | None = None
        self.dtype = dtype
        self._names = {id(module): name for name, module in model.named_modules()}
        self._classes = {name: type(module).__name__ for name, module in model.named_modules()}
        self._running: list[str] = []
        self._sequence: list[int] = []  # autograd's sequence number whenever the running module changes ...
        self._entered: list[str] = []  # ... and the module from there on
        self._gradients: dict[int, str] = {}  # a parameter's gradient -> the module that owns the parameter
        self._cache: set[int] = set()  # storages of the key-value cache
        self._kept: list[Tensor] = []  # what lies in them, alive: no later tensor is given one of their addresses
        self._tensors: dict[int, int] = {}  # storage -> the tensor it holds now; renewed with every write
        self._count = 0
        self._silent: dict[Any, bool] = {}
        self._known: dict[Kernel, Kernel] = {}

    @property
    def where(self) -> str:
        """The module that is running, or was when something failed: its path and class."""
        path = self._running[-1] if self._running else ""
        return f"{path or 'the model itself'} ({self._classes.get(path, '?')})"

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within: operations are seen, and modules as they come and go."""
        before = register_module_forward_pre_hook(self._enter)
        after = register_module_forward_hook(self._leave)
        try:
            with self:
                yield
        finally:
            before.remove()
            after.remove()

    @contextlib.contextmanager
    def recording(self, phase: str) -> Iterator[None]:
        """Within: kernels are written down as `phase`."""
        self.phase = phase
        try:
            yield
        finally:
            self.phase = None

    def own_gradients(self, model: nn.Module) -> None:
        """Additions into the parameters' present gradients count as accumulation."""
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                self._gradients[id(parameter.grad)] = name.rpartition(".")[0]

    def own_cache(self, tensors: list[Tensor]) -> None:
        """These tensors are the key-value cache: appended to in place, as serving engines do."""
        self._cache = {tensor.untyped_storage()._cdata for tensor in tensors}
        self._kept = tensors

    def add(self, kernel: Kernel, module: str) -> None:
        """Record a kernel that was not run (an optimizer's)."""
        self.launches.append(Launch(kernel, module, (), ()))

    def _enter(self, module: nn.Module, arguments: Any) -> None:
        name = self._names.get(id(module))
        if name is not None:
            self._running.append(name)
            self._changed()

    def _leave(self, module: nn.Module, arguments: Any, output: Any) -> None:
        if self._names.get(id(module)) is not None:
            self._running.pop()
            self._changed()

    def _changed(self) -> None:
        self._sequence.append(torch._C._autograd._get_sequence_nr())
        self._entered.append(self._running[-1] if self._running else "")

    def _module(self) -> str:
        """The running module; in a backward pass, the one whose forward made the node that is running."""
        if self._running:
            return self._running[-1]
        node = torch._C._current_autograd_node() if self.phase == "backward" else None
        if node is None:
            return ""
        return self._entered[max(0, bisect.bisect_right(self._sequence, node._sequence_nr()) - 1)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _DEVICE:  # two thirds of all calls
            return args[0].fake_device
        result = func(*args, **(kwargs or {}))
        skip = self.phase is None
        if not skip:
            known = self._silent.get(func)
            skip = self._silent[func] = silent(func) if known is None else known
        if skip:
            self._forget(args, result)
        else:
            self._record(func, args, kwargs or {}, result)
        return result

    def _forget(self, args: Any, result: Any) -> None:
        """Forget tensors whose storage an unrecorded operation has taken over."""
        outputs = _tensors(result if isinstance(result, (tuple, list)) else (result,))
        if outputs and self._tensors:
            kept = {tensor.untyped_storage()._cdata for tensor in _tensors(args)}
            for tensor in outputs:
                storage = tensor.untyped_storage()._cdata
                if storage not in kept:
                    self._tensors.pop(storage, None)

    def _record(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        tensors = _tensors((*args, *kwargs.values()))
        outputs = _tensors(result if isinstance(result, (tuple, list)) else (result,))
        phase, module = self.phase, None
        if self._gradients and id(args[0]) in self._gradients and func is torch.ops.aten.add_.Tensor:
            phase, module = "accumulation", self._gradients[id(args[0])]
        name = func._schema.name.split("::")[1]
        reads, writes = operands_and_traffic(name, tensors, outputs)
        kernels = classify(func, args, tensors, outputs, str(phase), self.dtype)
        if name == "cat" and self._cache and tensors[0].untyped_storage()._cdata in self._cache:
            reads = [(tensor, moved_bytes(tensor)) for tensor in tensors[1:]]
            new = sum(size for _, size in reads)
            kernels = [kernels[0]._replace(op="kv_append", bytes_read=new, bytes_written=new)]
        if not kernels:
            return
        if module is None:
            module = self._module()
        read = tuple(Wire(self._tensor(tensor), size) for tensor, size in reads)
        written = tuple(Wire(self._renewed(tensor), size) for tensor, size in writes)
        for kernel in kernels:
            self.launches.append(Launch(self._known.setdefault(kernel, kernel), module, read, written))

    def _tensor(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()._cdata
        return self._tensors[storage] if storage in self._tensors else self._renewed(tensor)

    def _renewed(self, tensor: Tensor) -> int:
        """A new number for what is in the tensor's storage: memory is reused, and written in place."""
        self._count += 1
        self._tensors[tensor.untyped_storage()._cdata] = self._count
        return self._count


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(item for item in value if isinstance(item, Tensor))
    return found
