"""One device operation as kernels: its class, dimensions, FLOPs and bytes, from the tensors it was called with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tilecast.graph.kernels import Kernel

aten = torch.ops.aten


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _kinds(**names: str) -> dict[str, str]:
    """Operation -> kind, from the operations of each kind."""
    return {name: kind for kind, listed in names.items() for name in _names(listed)}


# Operations that allocate or describe, but launch nothing. Views are known by their schema.
_SILENT = _names(
    "empty empty_like empty_strided empty_permuted new_empty new_empty_strided detach _unsafe_view _reshape_alias "
    "lift_fresh is_same_size sym_size sym_stride sym_numel sym_storage_offset set_ resize_ _local_scalar_dense "
    "_assert_async _assert_tensor_metadata"
)
_LINEAR = _names("mm addmm linear _addmm_activation _int_mm _scaled_mm _grouped_mm mv addmv dot")
_BATCHED = {"bmm", "baddbmm"}
_SKIP_FIRST = {"addmm", "baddbmm", "_addmm_activation", "addmv"}  # first comes what the product is added to
_NORMS = _kinds(
    ln="native_layer_norm",
    groupnorm="native_group_norm",
    batchnorm="native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training batch_norm "
    "_batch_norm_with_update _batch_norm_no_update cudnn_batch_norm",
    rmsnorm="_fused_rms_norm rms_norm",
)
_SOFTMAX = _kinds(
    softmax="_softmax _softmax_backward_data _safe_softmax",
    log_softmax="_log_softmax _log_softmax_backward_data",
)
_FLASH = "_scaled_dot_product_flash_attention_for_cpu"
_ATTENTION = {"attention", "attention_backward", "latent_attention", _FLASH, f"{_FLASH}_backward"}
_MEMORY = _kinds(  # movement without arithmetic
    copy="_to_copy clone copy_ repeat flip roll lift",
    cat="cat stack",
    pad="constant_pad_nd",
    fill="fill_ zero_ zeros zeros_like ones ones_like full full_like new_zeros new_ones new_full fill "
    "scalar_tensor arange eye slice_backward select_backward",
    embedding="embedding embedding_dense_backward",
    gather="index index_select gather",
    scatter="index_put_ index_put _index_put_impl_ index_add_ index_add scatter scatter_ scatter_add scatter_add_ "
    "one_hot",
    dropout="native_dropout native_dropout_backward",
    random="bernoulli_ bernoulli uniform_ normal_ rand_like randn_like",
    mask="tril triu tril_ triu_",
)
_GATHERED = {"embedding", "index", "index_select", "gather", "slice_backward", "select_backward"}
_SCATTERED = {name for name, kind in _MEMORY.items() if kind == "scatter"} - {"one_hot"}
# Their first tensor gives its shape, or is written over; it is not read.
_WRITE_ONLY = _names(
    "fill_ zero_ copy_ bernoulli_ uniform_ normal_ full_like zeros_like ones_like rand_like randn_like new_zeros "
    "new_ones new_full"
)
_SCALAR_FORMS = {"add", "sub", "mul", "div", "pow", "rsub"}  # written `addu`, ... when one operand is a tensor
_POINTWISE = {"where", "masked_fill", "masked_fill_", "clamp", "lerp"}
_NAMES = {"threshold": "relu", "rsub": "sub", "true_divide": "div"}
_DTYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


def silent(func: Any) -> bool:
    """Whether the operation launches nothing: a view, an allocation, a question about sizes."""
    schema = func._schema
    if func.namespace not in ("aten", "tilecast"):
        return func.namespace in ("prim", "prims") or not any("Tensor" in str(r.type) for r in schema.returns)
    name = schema.name.split("::")[1]
    if name in _SILENT or not schema.returns or not any("Tensor" in str(r.type) for r in schema.returns):
        return not name.endswith("_")
    aliases = [r.alias_info for r in schema.returns if r.alias_info is not None]
    return bool(aliases) and not any(alias.is_write for alias in aliases)


def moved_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor as memory holds them: a broadcast dimension counts once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0)
    return math.prod(sizes) * tensor.element_size()


def operands_and_traffic(
    name: str, tensors: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[list[tuple[Tensor, int]], list[tuple[Tensor, int]]]:
    """(tensor, bytes) read and written by one operation: each tensor once, the picked part of a table only."""
    read_from = list(tensors[1:] if name in _WRITE_ONLY else tensors)
    if name in _GATHERED and len(outputs) == 1:
        if name.endswith("_backward"):
            reads = [(tensor, moved_bytes(tensor)) for tensor in read_from]
        else:
            reads = [(read_from[0], moved_bytes(outputs[0])), *((t, moved_bytes(t)) for t in read_from[1:])]
        return reads, [(outputs[0], moved_bytes(outputs[0]))]
    if name in _SCATTERED:
        source = max((moved_bytes(tensor) for tensor in read_from[1:]), default=moved_bytes(outputs[0]))
        touched = min(source, moved_bytes(outputs[0]))
        if not name.endswith("_"):
            touched = moved_bytes(outputs[0])  # a copy of the whole is made first
        return [(read_from[0], touched), *((t, moved_bytes(t)) for t in read_from[1:])], [(outputs[0], touched)]
    unique = {id(tensor): tensor for tensor in read_from}
    return (
        [(tensor, moved_bytes(tensor)) for tensor in unique.values()],
        [(tensor, tensor.numel() * tensor.element_size()) for tensor in {id(o): o for o in outputs}.values()],
    )


def classify(
    func: Any,
    arguments: Sequence[Any],
    tensors: Sequence[Tensor],
    outputs: Sequence[Tensor],
    phase: str,
    dtype: str,
) -> list[Kernel]:
    """The kernels of one operation: mostly one, up to three for a convolution's backward, none without output."""
    name = func._schema.name.split("::")[1]
    outputs = [tensor for tensor in outputs if tensor.numel()]
    tensors = [tensor for tensor in tensors if tensor.numel()]
    if not outputs:
        return []
    reads, writes = operands_and_traffic(name, tensors, outputs)
    bytes_read, bytes_written = sum(size for _, size in reads), sum(size for _, size in writes)
    operands = sum(tensor.numel() > 1 for tensor, _ in reads)
    plain = "fp32" if dtype == "tf32" else dtype
    stored = _DTYPES.get(outputs[0].dtype, plain)

    def kernel(family: str, op: str, dims: tuple[int, int, int, int], flops: int, traffic: Any = None) -> Kernel:
        number = "tf32" if dtype == "tf32" and stored == "fp32" and family in _TENSOR_CORE else stored
        read, written = traffic or (bytes_read, bytes_written)
        return Kernel(family, op, phase, number, *dims, operands, flops, read, written)

    if name in _LINEAR or name in _BATCHED:
        dims = _product(name, tensors[1:] if name in _SKIP_FIRST else tensors)
        family = "bmm" if name in _BATCHED else "linear"
        return [kernel(family, family, dims, 2 * math.prod(dims))]
    if name in _ATTENTION:
        return [_attention(name, tensors, outputs[0], kernel)]
    if name == "kernel":  # of a stand-in, which says itself what it computes
        op, dims = arguments[1], tuple(arguments[2])
        if dims:
            return [kernel("bmm", op, dims, 2 * math.prod(dims))]
        return [kernel("elementwise", op, _rows(outputs[0]), outputs[0].numel())]
    if name in ("convolution", "_convolution", "convolution_overrideable"):
        dims = _convolution(tensors[0], tensors[1], outputs[0], bool(arguments[6]), int(arguments[8]))
        return [kernel("conv", "conv", dims, 2 * math.prod(dims))]
    if name == "convolution_backward":
        return _convolution_backward(arguments, kernel)
    base = name.rstrip("_").removesuffix("_backward")
    if base in _NORMS or name in _NORMS:
        return [kernel("norm", _NORMS.get(base, ""), *_norm(base, arguments, tensors))]
    if name in _SOFTMAX:
        dims = _rows(outputs[0], int(arguments[2 if "backward" in name else 1]))
        return [kernel("softmax", _SOFTMAX[name], dims, 5 * outputs[0].numel())]
    if name in _MEMORY:
        op = "cast" if name == "_to_copy" and tensors and tensors[0].dtype != outputs[0].dtype else _MEMORY[name]
        return [kernel("memory", op, _rows(max(outputs, key=Tensor.numel)), 0)]
    largest = max(outputs, key=Tensor.numel)
    if name in _POINTWISE or torch.Tag.pointwise in func.tags or name.endswith("_backward"):
        op = _NAMES.get(base, base)
        if base in _SCALAR_FORMS and operands < 2:
            op += "u"
        return [kernel("elementwise", op, _rows(largest), largest.numel())]
    return [_other(base, tensors, largest, kernel)]


_TENSOR_CORE = ("linear", "bmm", "conv", "attention")


def _rows(tensor: Tensor, dim: int = -1) -> tuple[int, int, int, int]:
    """A vector kernel's rows, and their length along `dim`."""
    length = tensor.shape[dim] if tensor.dim() else 1
    return tensor.numel() // length, length, 0, 0


def _product(name: str, operands: Sequence[Tensor]) -> tuple[int, int, int, int]:
    """(b, m, n, k) of a matrix product, whichever operation computes it."""
    left, right = operands[0], operands[1]
    if name == "dot":
        return 1, 1, 1, left.shape[0]
    if name in ("mv", "addmv"):
        return 1, left.shape[0], 1, left.shape[1]
    if name == "linear":
        return 1, left.numel() // left.shape[-1], right.shape[0], left.shape[-1]
    batch = left.shape[0] if name in _BATCHED else 1
    return batch, left.shape[-2], right.shape[-1], left.shape[-1]


def _norm(base: str, arguments: Sequence[Any], tensors: Sequence[Tensor]) -> tuple[tuple[int, int, int, int], int]:
    """Rows, row length and FLOPs (6 an element) of a normalisation: a row is what shares one mean."""
    elements = tensors[0].numel()
    if "layer" in base or "rms" in base:
        shape = next(argument for argument in arguments if isinstance(argument, (list, tuple)))
        length = math.prod(shape)
    elif "group" in base:
        groups = next(argument for argument in reversed(arguments) if type(argument) is int)
        length = elements // (tensors[0].shape[0] * groups)
    else:
        length = elements // tensors[0].shape[1]
    return (elements // length, length, 0, 0), 6 * elements


def _attention(name: str, tensors: Sequence[Tensor], out: Tensor, kernel: Callable[..., Kernel]) -> Kernel:
    """Two matrix products forward; backward five: the scores once more, then the four gradients' products."""
    backward = name.endswith("_backward")
    query, key, value = tensors[1:4] if backward else (*tensors[:2], out)
    heads = query.numel() // (query.shape[-1] * query.shape[-2])
    scores = heads * query.shape[-2] * key.shape[-2]
    width, value_width = query.shape[-1], value.shape[-1]
    flops = 2 * scores * ((3 * width + 2 * value_width) if backward else (width + value_width))
    op = "latent" if name == "latent_attention" else "sdpa"
    return kernel("attention", op, (heads, query.shape[-2], key.shape[-2], width), flops)


def _convolution(
    left: Tensor, weight: Tensor, out: Tensor, transposed: bool, groups: int
) -> tuple[int, int, int, int]:
    """A convolution as the matrix product it is: b groups, m positions, n filters, k inputs of one filter."""
    if transposed:
        positions, window = left.numel() // left.shape[1], math.prod(weight.shape[2:])
        return groups, positions, weight.shape[1] * window, weight.shape[0] // groups
    return groups, out.numel() // out.shape[1], weight.shape[0] // groups, math.prod(weight.shape[1:])


def _convolution_backward(arguments: Sequence[Any], kernel: Callable[..., Kernel]) -> list[Kernel]:
    grad, left, weight = arguments[:3]
    transposed, groups, mask = bool(arguments[7]), int(arguments[9]), arguments[10]
    b, m, n, k = _convolution(left, weight, grad, transposed, groups)
    sizes = [moved_bytes(tensor) for tensor in (grad, left, weight)]
    found = []
    if mask[0]:
        found.append(kernel("conv", "conv", (b, m, k, n), 2 * b * m * n * k, (sizes[0] + sizes[2], sizes[1])))
    if mask[1]:
        found.append(kernel("conv", "conv", (b, n, k, m), 2 * b * m * n * k, (sizes[0] + sizes[1], sizes[2])))
    if mask[2]:
        filters = grad.shape[1]
        traffic = (sizes[0], filters * grad.element_size())
        found.append(kernel("other", "sum", (filters, grad.numel() // filters, 0, 0), grad.numel(), traffic))
    return found


def _other(base: str, tensors: Sequence[Tensor], out: Tensor, kernel: Callable[..., Kernel]) -> Kernel:
    """A reduction, a sort, anything else: where it reduces, rows are its outputs; one FLOP an input element."""
    source = max(tensors, key=Tensor.numel, default=out)
    if source.numel() > out.numel():
        return kernel("other", base, (out.numel(), -(-source.numel() // out.numel()), 0, 0), source.numel())
    return kernel("other", base, _rows(out), out.numel())
