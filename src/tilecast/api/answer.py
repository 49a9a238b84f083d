"""What a question is answered with: figures by name, a table, text for a reader, JSON of one layout."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import pandas as pd

UNFIT = 3  # exit code: nothing that was asked for fits in memory or keeps the bounds


class Answer:
    """The answer to one question. Every figure stands in `values`, by its name in the JSON."""

    schema: ClassVar[str]  # name and version of the JSON's layout; the version grows when a key changes

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.question: dict[str, Any] = {}  # what was asked, defaults included

    @property
    def fits(self) -> bool:
        """Whether what was asked for can run."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """The JSON of the command line: `schema`, `question`, `answer`."""
        return {"schema": self.schema, "question": self.question, "answer": self.values}

    def to_json(self) -> str:
        """That as text."""
        return json.dumps(self.to_dict(), indent=2, default=str)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `to_frame`: one, unless an answer lists many cases."""
        return [self.values]

    def to_frame(self) -> pd.DataFrame:
        """A table with a row a case; what is nested has dots in its column's name."""
        import pandas as pd

        return pd.json_normalize(self.rows())

    def text(self) -> str:
        """The answer for a reader."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text())}</pre>"


class Timed(Answer):
    """An answer that is one latency with its 80 % interval."""

    @property
    def latency_ms(self) -> float:
        """The forecast, in milliseconds."""
        return float(self.values["latency_ms"])

    @property
    def interval_ms(self) -> tuple[float, float] | None:
        """The ends of its 80 % interval; None where none is claimed."""
        low, high = self.values["low_ms"], self.values["high_ms"]
        return None if low is None else (float(low), float(high))
