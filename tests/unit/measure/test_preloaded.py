"""What a campaign imports before its first stage, so that no stage does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

IMPORTS = """
import json, sys
from pathlib import Path
from tilecast.cli import campaign
from tilecast.measure.backend import timed
from tilecast.measure.campaign import preload
from tilecast.measure.cpu import Cpu
from tilecast.measure.models import measure_model, workload

preload()
before = set(sys.modules)
for more in ({}, {"mode": "training"}, {"phase": "decode", "context": 4}):
    row, _ = measure_model(Cpu(1), workload({"model": sys.argv[1], "sequence_length": 8} | more), 0.01)
    print(row["outcome"], row.get("reason"), file=sys.stderr)
print(json.dumps(sorted(name for name in set(sys.modules) - before if name.startswith("torch"))))
"""


@pytest.mark.slow
def test_no_stage_imports_a_library_that_registers_itself(tmp_path: Path) -> None:
    """Else one that is out of time in the middle of it leaves a library that the next stages cannot use."""
    llama = {"model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 16,
             "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}  # fmt: skip
    (tmp_path / "llama.json").write_text(json.dumps(llama))
    command = [sys.executable, "-c", IMPORTS, str(tmp_path / "llama.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.count("measured") >= 3, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
