FIGURES = [
    "error_by_device_model",
    "predicted_vs_measured",
    "error_heatmap",
    "error_distribution",
    "fusion",
    "distributed",
    "amd",
    "operator_errors",
    "label_consistency",
    "calibration",
    "leave_one_out",
    "bounds",
    "utilisation",
]
FIGURE_FILES = expand(
    "results/figures/{name}.{kind}",
    name=FIGURES,
    kind=["svg", "pdf", "png", "csv", "json"],
)


rule plot_error_by_device_model:
    input:
        errors="results/evaluation/errors.csv",
        code=code("plot_error_by_device_model"),
    output:
        **picture("error_by_device_model", "End to end", "Error by device and model"),
    log:
        "results/logs/plot_error_by_device_model.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_error_by_device_model.py"


rule plot_predicted_vs_measured:
    input:
        errors="results/evaluation/errors.csv",
        code=code("plot_predicted_vs_measured"),
    output:
        **picture("predicted_vs_measured", "End to end", "Predicted against measured"),
    log:
        "results/logs/plot_predicted_vs_measured.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_predicted_vs_measured.py"


rule plot_error_heatmap:
    input:
        errors="results/evaluation/errors.csv",
        code=code("plot_error_heatmap"),
    output:
        **picture("error_heatmap", "End to end", "Error heat map"),
    log:
        "results/logs/plot_error_heatmap.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_error_heatmap.py"


rule plot_error_distribution:
    input:
        errors="results/evaluation/errors.csv",
        code=code("plot_error_distribution"),
    output:
        **picture("error_distribution", "End to end", "Distribution of errors"),
    log:
        "results/logs/plot_error_distribution.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_error_distribution.py"


rule plot_fusion:
    input:
        errors="results/evaluation/errors.csv",
        code=code("plot_fusion"),
    output:
        **picture("fusion", "Variants", "Fusion"),
    log:
        "results/logs/plot_fusion.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_fusion.py"


rule plot_distributed:
    input:
        errors="results/evaluation/errors.csv",
        code=code("plot_distributed"),
    output:
        **picture("distributed", "Variants", "Four GPUs"),
    log:
        "results/logs/plot_distributed.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_distributed.py"


rule plot_amd:
    input:
        errors="results/evaluation/errors.csv",
        code=code("plot_amd"),
    output:
        **picture("amd", "Variants", "AMD GPUs"),
    log:
        "results/logs/plot_amd.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_amd.py"


rule plot_operator_errors:
    input:
        operators="results/evaluation/operator_errors.csv",
        code=code("plot_operator_errors"),
    output:
        **picture("operator_errors", "Operators", "Error by operator class"),
    log:
        "results/logs/plot_operator_errors.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_operator_errors.py"


rule plot_label_consistency:
    input:
        noise="results/evaluation/label_noise.csv",
        code=code("plot_label_consistency"),
    output:
        **picture("label_consistency", "Labels", "Consistency of the labels"),
    log:
        "results/logs/plot_label_consistency.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_label_consistency.py"


rule plot_calibration:
    input:
        coverage="results/evaluation/coverage.csv",
        cells="results/evaluation/interval_cells.csv",
        code=code("plot_calibration"),
    output:
        **picture("calibration", "Predictors", "Calibration of the intervals"),
    log:
        "results/logs/plot_calibration.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_calibration.py"


rule plot_leave_one_out:
    input:
        logo="results/predict/logo.csv",
        code=code("plot_leave_one_out"),
    output:
        **picture("leave_one_out", "Predictors", "Error on a GPU left out"),
    log:
        "results/logs/plot_leave_one_out.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_leave_one_out.py"


rule plot_bounds:
    input:
        breakdown="results/predict/tilecast_breakdown.csv",
        code=code("plot_bounds"),
    output:
        **picture("bounds", "Predictors", "What bounds each model"),
    log:
        "results/logs/plot_bounds.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_bounds.py"


rule plot_utilisation:
    input:
        sweeps="results/evaluation/utilisation.csv",
        code=code("plot_utilisation"),
    output:
        **picture("utilisation", "Predictors", "Utilisation over size"),
    log:
        "results/logs/plot_utilisation.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_utilisation.py"
