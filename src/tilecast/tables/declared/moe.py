"""The study of experts on several GPUs."""

from __future__ import annotations

from tilecast.tables.columns import SOURCE
from tilecast.tables.schema import Table, flag, integer, number, text

# transcribed: resources/published/moe_alltoall.csv
ALLTOALL_MEASUREMENTS = Table(
    "moe_alltoall_measurements",
    {
        "system": text("system, as data/systems names it"),
        "kernel": text("way of sending", values=("low latency", "high throughput")),
        "gpus": integer("GPUs among which the experts lie", above=1),
        "tokens": integer("of each GPU", above=0),
        "dispatch_us": number("to the experts; empty where a rate is stated", empty="not recorded", above=0),
        "combine_us": number("back; empty where a rate is stated", empty="not recorded", above=0),
        "dispatch_bytes_per_s": number("rate stated instead", empty="not recorded", above=0),
        "combine_bytes_per_s": number("rate stated instead", empty="not recorded", above=0),
        "in_use": flag("whether the kernel is meant for so many tokens"),
        "source": SOURCE,
    },
    key=("system", "kernel", "gpus", "tokens"),
)

# the expert-parallel study: a strategy on a system, as published and as physics allows
SYSTEMS = Table(
    "moe_systems",
    {
        "mode": text("whose arithmetic", values=("as_published", "physical")),
        "system": text("system of the study"),
        "strategy": text("how GPUs are used", values=("expert_parallel", "data_parallel", "hybrid")),
        "spread": text("replicas (DP) x expert parallel (EP)"),
        "gpus": integer("GPUs", above=0),
        "verdict": text("whether experts fit", values=("not asked", "resident", "offloaded", "impossible")),
        "reason": text("why"),
        "resident_percent": number("share of a GPU's experts in its memory", empty="not recorded", minimum=0),
        "baseline_tokens_per_s": number("without the prefetcher", empty="not recorded", above=0),
        "prophet_tokens_per_s": number("with it", empty="not recorded", above=0),
        "speedup": number("prophet over baseline", empty="not recorded", above=0),
        "baseline_communication_percent": number("share of time", empty="not recorded", minimum=0),
        "prophet_communication_percent": number("share of time", empty="not recorded", minimum=0),
        "baseline_waiting_percent": number("share of time, for the host", empty="not recorded", minimum=0),
        "prophet_waiting_percent": number("share of time, for the host", empty="not recorded", minimum=0),
        "communicated_bytes_per_token": number("between GPUs", empty="not recorded", minimum=0),
        "communication_reduction": number("time communicated, before over after", empty="not recorded"),
        "baseline_efficiency_percent": number("of GPUs times one GPU's rate", empty="not recorded"),
        "prophet_efficiency_percent": number("of GPUs times one GPU's rate", empty="not recorded"),
        "baseline_usd_per_million_tokens": number("dollars", empty="not recorded", above=0),
        "prophet_usd_per_million_tokens": number("dollars", empty="not recorded", above=0),
        "saving_usd_per_year": number("if every hour is billed by itself", empty="not recorded"),
        "baseline_clusters": number("whole clusters for a month's tokens", empty="not recorded", above=0),
        "prophet_clusters": number("whole clusters for a month's tokens", empty="not recorded", above=0),
        "reserved_saving_usd_per_year": number("if whole clusters are kept", empty="not recorded"),
    },
    key=("mode", "system", "strategy"),
)
