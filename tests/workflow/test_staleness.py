"""What re-runs after an edit: exactly what depends on it. The expected rules are written down here by hand."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from copies import Copy

pytestmark = pytest.mark.slow

PLOTS_OF_ERRORS = {
    "plot_amd",
    "plot_distributed",
    "plot_error_distribution",
    "plot_fusion",
    "plot_predicted_vs_measured",
}
OPERATOR_PLOTS = {"plot_label_consistency", "plot_operator_errors"}
FORECAST_PLOTS = {"plot_bounds", "plot_calibration", "plot_leave_one_out"}
PLOTS = PLOTS_OF_ERRORS | OPERATOR_PLOTS | FORECAST_PLOTS
PARALLEL_PLOTS = {
    f"plot_parallel_{name}" for name in ("breakdown", "collectives", "pareto", "scaling", "timeline")
}
MEASURE_PLOTS = {"plot_measure_validation"}
MODERN_PLOTS = {f"plot_modern_{name}" for name in ("generations", "serving", "sizes")}
MOE_PLOTS = {f"plot_moe_{name}" for name in ("cross_system", "tornado", "validation", "where")}
NUMA_PLOTS = {f"plot_numa_{name}" for name in ("intensity", "penalty", "timeline")}
STAGE_PLOTS = (
    PARALLEL_PLOTS | MEASURE_PLOTS | MODERN_PLOTS | MOE_PLOTS | NUMA_PLOTS
)  # of stages that have nothing to do with the artifact's data
SIGNED_PLOTS = {"plot_amd", "plot_distributed", "plot_fusion"}
TABLES = {"table_claims", "table_end_to_end", "table_mape", "table_operators"}
CLAIMS = {"appendix", "audit_claims", "table_claims", "table_pdf", "report_page"}
PREDICTIONS = {"predict", "predict_logo"}
EVALUATION = {
    "audit_claims",
    "evaluate_baselines",
    "evaluate_goals",
    "evaluate_coverage",
    "evaluate_errors",
    "evaluate_intervals",
    "evaluate_kernels",
    "evaluate_mape",
    "evaluate_operators",
    "evaluate_own_graphs",
    "evaluate_summaries",
}
AFTER_OPERATORS = {"evaluate_goals", "evaluate_summaries", "table_operators"} | CLAIMS | OPERATOR_PLOTS
STATISTICS = {"evaluate_mape", "evaluate_own_graphs", "table_mape", "evaluate_operators"} | AFTER_OPERATORS
AFTER_LABELS = (
    {"tidy_defects", "measure_evaluate", "measure_scenarios", "multigpu_validation"}
    | CLAIMS
    | MEASURE_PLOTS
    | PREDICTIONS
    | EVALUATION
    | PLOTS
    | TABLES
)
FORECASTS = PREDICTIONS | {"evaluate_kernels", "plot_bounds", "plot_leave_one_out"}


def comment(text: str) -> str:
    return text + "\n# edited\n"


def swap(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


EDITS: dict[str, tuple[str, Callable[[str], str], set[str]]] = {
    "the script of all figures": ("workflow/scripts/plot.py", comment, PLOTS | STAGE_PLOTS | {"report_page"}),
    "one figure's drawing": ("src/tilecast/present/figures/fusion.py", comment, {"plot_fusion", "report_page"}),
    "a helper of three figures": (
        "src/tilecast/present/figures/variants.py",
        comment,
        SIGNED_PLOTS | {"report_page"},
    ),
    "a helper of all figures": (
        "src/tilecast/present/figures/style.py",
        comment,
        PLOTS | STAGE_PLOTS | {"plot_moe_study", "report_page"},
    ),
    "one claim": ("config/claims.yaml", swap("claimed: 9.43", "claimed: 9.53"), CLAIMS),
    "one label": (
        "resources/published/end_to_end.csv",
        swap(",134.112,134.112,", ",134.5,134.5,"),
        {"tidy_labels", "tidy_end_to_end", "evaluate_weights"} | AFTER_LABELS,
    ),
    "the reader of operator tables": (
        "workflow/scripts/tidy_operators.py",
        comment,
        {"tidy_operators", "tidy_defects", "evaluate_operators"} | AFTER_OPERATORS,
    ),
    "the audit of claims": ("src/tilecast/evaluate/audit.py", comment, CLAIMS),
    "the comparison with the summary tables": (
        "src/tilecast/evaluate/summaries.py",
        comment,
        {"evaluate_summaries"} | CLAIMS,
    ),
    "the statistics of errors": (
        "src/tilecast/evaluate/statistics.py",
        comment,
        {"evaluate_coverage", "evaluate_kernels", "half_precision_evaluate", "measure_evaluate", "moe_study"}
        | {
            "evaluate_intervals",
            "moe_text",
            "multigpu_collectives",
            "multigpu_validation",
            "plot_parallel_collectives",
            "plot_moe_study",
        }
        | (PLOTS | {"plot_numa_intensity"})
        | (MEASURE_PLOTS | MODERN_PLOTS | MOE_PLOTS | STATISTICS | CLAIMS),
    ),
    "how intervals are estimated": (
        "config/config.yaml",
        swap("bootstrap_resamples: ", "bootstrap_resamples: 1"),
        STATISTICS,
    ),
    "one predictor": (
        "src/tilecast/predict/tilecast.py",
        comment,
        {"predict", "measure_scenarios", "locality_predict", "multigpu_validation"}
        | {"half_precision_evaluate", "measure_evaluate"}
        | CLAIMS
        | {"moe_study", "moe_text", "plot_moe_study"}
        | MOE_PLOTS
        | MEASURE_PLOTS
        | MODERN_PLOTS
        | {"plot_numa_penalty", "plot_numa_intensity"}
        | EVALUATION
        | TABLES
        | PLOTS - {"plot_leave_one_out"},
    ),
    "the layout of paper tables": (
        "src/tilecast/present/paper/render.py",
        comment,
        TABLES | {"appendix", "moe_text", "table_pdf", "report_page"},
    ),
    "one paper table": ("src/tilecast/present/paper/mape.py", comment, {"table_mape", "table_pdf", "report_page"}),
    "the page's style": ("report/page.css", lambda text: text + "\n/* edited */\n", {"report_page"}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_exactly_what_depends_on_an_edit_is_stale(edit: str, finished: Copy) -> None:
    path, change, expected = EDITS[edit]
    with finished.edited(path, change):
        assert finished.would_run() == expected


CONCERN_NOTHING = (
    "src/tilecast/data/devices/t4.yaml",
    "report/captions/figure.rst",  # of Snakemake's own report
    "README.md",
    "src/tilecast/cli/__init__.py",
)


def test_on_some_edits_nothing_depends(finished: Copy) -> None:
    with contextlib.ExitStack() as edits:
        for path in CONCERN_NOTHING:
            edits.enter_context(finished.edited(path, comment))
        assert finished.would_run() == set()


TOUCHED = (
    "src/tilecast/present/figures/style.py",
    "src/tilecast/tables/io.py",
    "config/claims.yaml",
    "resources/published/end_to_end.csv",
)


def test_a_touch_is_no_edit(finished: Copy) -> None:
    before = {path: path.stat() for path in map(finished.root.joinpath, TOUCHED)}
    for path in before:
        path.touch()
    try:
        assert finished.would_run() == set()
    finally:
        for path, then in before.items():
            os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))


LABELS = "device,model,mode,sequence_length,batch_size,option,latency_ms\nTesla_T4,mine,inference,128,1,none,{}\n"


def test_a_users_labels_are_an_input(finished: Copy, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(LABELS.format(12.5))
    stale = finished.would_run("--config", f"labels=[{tmp_path / 'mine.csv'}]")
    assert stale == {"tidy_labels"} | AFTER_LABELS - FORECASTS


@pytest.fixture
def clone(finished: Copy, tmp_path: Path) -> Copy:
    """A finished copy to change, in a folder of another name."""
    shutil.copytree(finished.root, tmp_path / "clone", symlinks=True)
    return Copy(tmp_path / "clone", finished.environment)


def test_a_finished_workflow_runs_nothing_and_answers_at_once(
    clone: Copy, record_property: Callable[[str, object], None]
) -> None:
    run = clone.snakemake()
    record_property("seconds", run.seconds)
    print(f"finished workflow: {run.seconds:.1f} s")
    assert run.rules == set()
    assert run.seconds < 10  # 1 to 2 on an idle machine


def test_an_edited_claim_changes_the_audit_and_nothing_else(clone: Copy) -> None:
    before = clone.results()
    claims = clone.root / "config/claims.yaml"
    claims.write_text(claims.read_text().replace("claimed: 9.43", "claimed: 109.43", 1))
    run = clone.snakemake()
    assert run.rules == CLAIMS
    after = clone.results()
    assert sorted(after) == sorted(before)
    changed = {name for name in after if after[name] != before[name]}
    assert {"evaluation/claims.csv", "tables/claims.csv", "tables/tables.pdf", "report/index.html"} <= changed
    claim_files = {f"tables/claims.{kind}" for kind in ("csv", "html", "tex", "typ")}
    made = claim_files | {"evaluation/claims.csv", "evaluation/claim_rows.csv", "tables/tables.pdf"}
    others = {name for name in changed - made if not name.startswith("report/")}  # each page searches all
    assert others == {"ro-crate-metadata.json"}
    assert b"109.43" in after["evaluation/claims.csv"]
    assert clone.would_run() == set()


def test_an_edited_figure_is_drawn_again_and_nothing_else(
    clone: Copy, record_property: Callable[[str, object], None]
) -> None:
    before = clone.results()
    script = clone.root / "src/tilecast/present/figures/amd.py"
    script.write_text(comment(script.read_text()))
    run = clone.snakemake()
    record_property("seconds", run.seconds)
    print(f"one stale figure: {run.seconds:.1f} s")
    assert run.rules == {"plot_amd", "report_page"}
    assert clone.results() == before  # a comment changes no byte of a figure
    assert run.seconds < 30  # 3 to 6 on an idle machine
