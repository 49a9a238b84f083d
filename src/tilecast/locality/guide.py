"""What the published guide to host-memory locality says, and the arithmetic of its own figures.

Imports nothing: figures and the workflow's own file read it.
"""

from __future__ import annotations

from typing import Any

NO_OP = "vit0x0x0"  # the guide's model that computes nothing
HEAVY = "vit16x12x1024"  # its largest
# Penalties of the remote node that the guide gives, percent: the classes it names, by their models.
CLAIMED_PENALTIES = {
    NO_OP: (30.0, 47.0),
    "vit32x2x128": (30.0, 47.0),
    "vit32x6x512": (20.0, 30.0),
    HEAVY: (10.0, 15.0),
}
CLAIMED_PER_S = (300.0, 7000.0)  # the throughputs it gives
CLAIMED_BATCH = 10
CLAIMED_MINUTES, CLAIMED_RUNS = 35.0, 48  # of its main study, whose runs have 1000 samples
HEAVY_PENALTY_PERCENT = 10.0
HEAVY_FLOPS_PER_S = 4e13
PCIE4_BYTES_PER_S = 2.52e10  # 0.8 of 31.5 GB/s, of hardware
STAGES = {"h2d": "copying in", "compute": "computing", "d2h": "copying out", "launch": "launching"}  # in words
IMAGE_VALUES = 3 * 224 * 224  # of one sample
VALUE_BYTES = {"fp32": 4, "bf16": 2}


def sample_bytes(dtype: str) -> int:
    """Bytes of one image on its way to the device."""
    return IMAGE_VALUES * VALUE_BYTES[dtype]


def output_bytes(model: str, dtype: str) -> int:
    """Bytes of one sample's result on its way back: 1000 scores, or the image itself after the no-op."""
    return sample_bytes(dtype) if model == NO_OP else 1000 * VALUE_BYTES[dtype]


def arithmetic(heavy_flops: float) -> list[dict[str, Any]]:
    """Rows of the `numa_arithmetic` table: what follows from the guide's own figures.

    `heavy_flops`: what one sample of the largest model takes.
    """
    image, (least, most) = sample_bytes("fp32"), CLAIMED_PER_S
    heavy = heavy_flops / HEAVY_FLOPS_PER_S * 1e3
    copy = image / PCIE4_BYTES_PER_S * 1e3
    pace = CLAIMED_MINUTES * 60 / CLAIMED_RUNS
    longer = pace + 1000 / least  # a run of 2000 samples instead of 1000
    rows: list[tuple[str, float, str, str]] = [
        ("image_bytes", image, "bytes", "3 x 224 x 224 values of 4 bytes"),
        ("pcie4_samples_per_s", PCIE4_BYTES_PER_S / image, "samples/s", "what PCIe 4 carries"),
        (
            "claimed_maximum_bytes_per_s",
            most * image,
            "bytes/s",
            "what the claimed maximum throughput asks of the link",
        ),
        (
            "link_used_percent",
            100 * most * image / PCIE4_BYTES_PER_S,
            "%",
            "its share of that link: the rest of the time something else is waited for",
        ),
        (
            "claimed_maximum_batch_ms",
            CLAIMED_BATCH / most * 1e3,
            "ms",
            "time a batch at the claimed maximum, which copies nothing but images",
        ),
        ("heavy_compute_ms", heavy, "ms", f"a sample of {HEAVY} at 40 TFLOP/s"),
        ("heavy_copy_ms", copy, "ms", "its copy over PCIe 4"),
        ("heavy_copy_percent", 100 * copy / heavy, "%", "copy of compute: what could be hidden 1/this times over"),
        (
            "heavy_slowdown_needed",
            heavy * (1 + HEAVY_PENALTY_PERCENT / 100) / copy,
            "times",
            "how much slower copies would have to be for a 10 % penalty of overlapped stages",
        ),
        ("numa_study_run_s", pace, "s", "35 minutes over 48 runs of 1000 samples: the guide's own pace"),
        (
            "numa_study_timed_s",
            1000 / least,
            "s",
            "1000 samples at the least claimed throughput: what of such a run is timed, at most",
        ),
    ]
    for name, runs, samples, run_s in (
        ("quick_test", 3, 100, pace),
        ("quick_test_gpus", 12, 100, pace),
        ("scaling_study", 9, 2000, longer),
        ("scaling_compile", 18, 2000, longer),
        ("comprehensive", 96, 500, pace),
    ):
        rows.append((f"{name}_min", runs * run_s / 60, "min", f"{runs} runs of {samples} samples at that pace"))
    return [dict(zip(("quantity", "value", "unit", "meaning"), row)) for row in rows]
