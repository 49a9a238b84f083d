"""Write the table of docs/understand/sharding.md: what ranks' work, weights and cache add up to, family by family.

`python benchmarks/sharding.py` needs torch; a test holds every row against the code.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/understand/sharding.md"


def main() -> None:
    """Trace all families, and write a row of each."""
    sys.path.insert(0, str(ROOT / "tests/support"))
    from decoders import DECODERS, verdict

    text, line = PAGE.read_text(encoding="utf-8"), "|---|---|---|---|---|\n"
    rows = "\n".join(map(verdict, DECODERS))
    PAGE.write_text(text.partition(line)[0] + line + rows + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
