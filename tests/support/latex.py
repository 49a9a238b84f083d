"""Tables.tex set with the system's pdflatex."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

NEAR_PT = 3.0  # what an eye does not see


def latex(folder: Path) -> list[str]:
    """Set `tables.tex` of a folder; what it says of boxes wider than their place."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="latin-1", timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    wide = re.findall(r"^(Overfull \\hbox \((.*?)pt too wide\).*)$", done.stdout, re.MULTILINE)
    return [words for words, beyond in wide if float(beyond) > NEAR_PT]
