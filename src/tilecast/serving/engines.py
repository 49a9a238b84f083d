"""Serving engines as they batch by default."""

from __future__ import annotations

from dataclasses import dataclass

from tilecast.base.names import chosen
from tilecast.serving.replay import Batching


@dataclass(frozen=True)
class Engine:
    """An engine, how it fills a pass by default, and the share of a GPU's memory it takes."""

    title: str
    batching: Batching
    memory_share: float


ENGINES = {
    # docs.vllm.ai, engine arguments: chunked prefill, max_num_batched_tokens 8192, max_num_seqs 1024 (servers on
    # GPUs of 70 GiB or more), gpu_memory_utilization 0.9; a request put off is computed again.
    "vllm": Engine("vLLM", Batching(8192, chunked=True, late=3, sequences=1024, reserves=False), 0.9),
    # docs.sglang.ai, server arguments: chunked_prefill_size 8192, prompts first; mem_fraction_static is computed
    # from the GPU, about 0.88; requests are retracted where caches outgrow the memory.
    "sglang": Engine("SGLang", Batching(8192, chunked=True, alone=True, late=3, reserves=False), 0.88),
    # nvidia.github.io/TensorRT-LLM, tuning guide: max_num_tokens 8192, max_batch_size 2048, chunked context off,
    # GUARANTEED_NO_EVICT, free_gpu_memory_fraction 0.9.
    "trtllm": Engine("TensorRT-LLM", Batching(8192, late=3, sequences=2048), 0.9),
}
_ALIASES = {"tensorrt-llm": "trtllm"}


def engine(name: str) -> Engine:
    """An engine by name, in any case."""
    return ENGINES[chosen(name, ENGINES, "--engine", _ALIASES)]
