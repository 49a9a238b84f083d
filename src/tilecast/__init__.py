"""Tilecast: reproducible artifact evaluation of GPU performance forecasting.

`import tilecast as tc; tc.forecast("llama3_8b", "H100")`: the questions of the command line from Python, see
docs/use/python.md. A question's module is loaded when it is first asked.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # for a type checker: true; the module typing costs 5 ms
if TYPE_CHECKING:
    from tilecast.api.collective import collective as collective
    from tilecast.api.compare import compare as compare
    from tilecast.api.forecast import forecast as forecast
    from tilecast.api.kernel import kernel as kernel
    from tilecast.api.known import known as known
    from tilecast.api.recommend import recommend as recommend
    from tilecast.api.search import search as search
    from tilecast.api.serve import serve as serve

__version__ = "0.1.0"
__released__ = "2026-11-28"  # CHANGELOG.md says what is in it
QUESTIONS = ("collective", "compare", "forecast", "kernel", "known", "recommend", "search", "serve")


def __getattr__(name: str) -> object:
    """A question, by name."""
    if name not in QUESTIONS:
        raise AttributeError(f"module 'tilecast' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tilecast.api.{name}"), name)


def __dir__() -> list[str]:
    """What `import tilecast` offers."""
    return sorted([*QUESTIONS, "__version__"])
