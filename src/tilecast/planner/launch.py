"""Layouts and deployments as the launch arguments of serving engines and training frameworks."""

from __future__ import annotations

from tilecast.multigpu.layout import Layout
from tilecast.serving.deployment import Deployment

# Options by their documented names: docs.vllm.ai (serve), docs.sglang.ai (server arguments),
# nvidia.github.io/TensorRT-LLM (trtllm-serve), Megatron-LM's arguments.py, torchtitan's job configuration.
_SERVERS = {
    "vllm": (
        "vllm serve {model} --tensor-parallel-size {tp} --max-num-batched-tokens {budget} --max-num-seqs {most} "
        "--gpu-memory-utilization {share:g}",
        {"pp": " --pipeline-parallel-size {pp}", "ep": " --enable-expert-parallel"},
        {"weights": " --quantization fp8", "cache": " --kv-cache-dtype fp8"},
    ),
    "sglang": (
        "python -m sglang.launch_server --model-path {model} --tp {tp} --chunked-prefill-size {budget} "
        "--max-running-requests {most} --mem-fraction-static {share:g}",
        {"pp": " --pp-size {pp}", "ep": " --ep-size {ep}"},
        {"weights": " --quantization fp8", "cache": " --kv-cache-dtype fp8_e4m3"},
    ),
    "trtllm": (
        "trtllm-serve {model} --tp_size {tp} --max_num_tokens {budget} --max_batch_size {most} "
        "--kv_cache_free_gpu_memory_fraction {share:g}",
        {"pp": " --pp_size {pp}", "ep": " --ep_size {ep}"},
        {"weights": "", "cache": ""},  # in the checkpoint and its extra options file
    ),
}


def server(engine: str, model: str, one: Deployment, most: int) -> str:
    """The command that starts one server of a deployment, for at most so many requests at once."""
    words, parallel, formats = _SERVERS[engine]
    pool = one.pool
    words += "".join(more for name, more in parallel.items() if getattr(pool, name) > 1)
    words += formats["weights"] if (one.formats.weights or one.formats.gemm).startswith("fp8") else ""
    words += formats["cache"] if one.formats.cache == "fp8" else ""
    stored = one.formats.weights or one.formats.gemm
    if stored != "bf16" and not stored.startswith("fp8"):  # no option makes these of a checkpoint in 16 bits
        words += f"  # MODEL: a checkpoint in {stored}"
    values = {"tp": pool.tp, "pp": pool.pp, "ep": pool.ep, "budget": int(one.batching.budget)}
    return words.format(model=model, most=most, share=one.memory_share, **values)


def training(layout: Layout, batch: int, sequence: int) -> dict[str, str]:
    """Arguments of Megatron-LM and of torchtitan for a training layout; "" where one cannot express it."""
    megatron = [
        f"--tensor-model-parallel-size {layout.tp} --pipeline-model-parallel-size {layout.pp}",
        f"--context-parallel-size {layout.cp} --expert-model-parallel-size {layout.ep}",
        f"--micro-batch-size {layout.microbatch} --global-batch-size {batch} --seq-length {sequence}",
    ]
    megatron += ["--sequence-parallel"] if layout.sequence_parallel else []
    megatron += [f"--num-virtual-stages-per-pipeline-rank {layout.interleave}"] if layout.interleave > 1 else []
    megatron += {
        "none": [],
        "selective": ["--recompute-granularity selective"],
        "full": ["--recompute-granularity full --recompute-method uniform --recompute-num-layers 1"],
    }[layout.recompute]
    megatron += ["--use-distributed-optimizer"] if layout.zero == 1 else []
    megatron += ["--overlap-grad-reduce"] if layout.overlap and layout.dp > 1 else []
    shard = layout.dp if layout.zero == 3 else 1
    schedule = {"gpipe": "GPipe", "1f1b": "1F1B", "interleaved": "Interleaved1F1B"}[layout.schedule]
    titan = [
        f"--parallelism.data_parallel_replicate_degree {layout.dp // shard}",
        f"--parallelism.data_parallel_shard_degree {shard} --parallelism.tensor_parallel_degree {layout.tp}",
        f"--parallelism.pipeline_parallel_degree {layout.pp} --parallelism.context_parallel_degree {layout.cp}",
        f"--parallelism.expert_parallel_degree {layout.ep} --training.seq_len {sequence}",
        f"--training.global_batch_size {batch} --activation_checkpoint.mode {layout.recompute}",
    ]
    titan += [f"--parallelism.pipeline_parallel_schedule {schedule}"] if layout.pp > 1 else []
    unable = layout.stages or layout.zero in (1, 2) or (layout.tp > 1 and not layout.sequence_parallel)
    return {
        "Megatron-LM": "" if layout.stages or layout.zero >= 2 else " ".join(megatron),
        "torchtitan": "" if unable else " ".join(titan),
    }
