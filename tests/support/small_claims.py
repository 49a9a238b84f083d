"""Claims and errors that tests of the audit are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tilecast.evaluate.claims import (
    Claims,
    RecordedFact,
    load_claims,
)

CLAIMS, FACTS = "config/claims.yaml", "resources/published/citation.yaml"
PUBLISHED = "resources/published/end_to_end.csv"
H100, V100 = "NVIDIA_H100_80GB_HBM3", "Tesla_V100-PCIE-32GB"
WHERE = {"predictor": "neusight_published", "device": H100, "mode": "inference", "option": "none"}
FIGURES = {"dataset": "errors", "where": WHERE, "column": "ape_percent", "statistic": "mean"}
KNOWN = {"paper.title": RecordedFact(value="A  Title", source="somewhere")}


def claim(**changes: Any) -> dict[str, Any]:
    """One claim of 10 % as the file holds it."""
    base = {"id": "one", "title": "Error", "source": "guide", "quote": "10.0 %", "claimed": 10.0, "unit": "%"}
    base |= {"query": FIGURES}
    return {**base, **changes}


def loaded(tmp_path: Path, *claims: dict[str, Any]) -> Claims:
    """The claims after a trip through a file."""
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"documents": {"guide": {"title": "Guide"}}, "claims": list(claims)}))
    return load_claims(path)


def errors(*rows: tuple[str, str, str, int, float]) -> pd.DataFrame:
    """An errors table of (predictor, device, model, batch, error) rows, measured 100 ms."""
    return pd.DataFrame(
        [
            {"predictor": predictor, "device": device, "model": model, "mode": "inference", "sequence_length": 512}
            | {"batch_size": batch, "option": "none", "distribution": "out"}
            | {"measured_ms": 100.0, "predicted_ms": 100.0 + error, "ape_percent": error}
            for predictor, device, model, batch, error in rows
        ]
    )


TWO = errors(("neusight_published", H100, "bert_large", 8, 8.0), ("neusight_published", H100, "opt_13", 8, 12.0))
