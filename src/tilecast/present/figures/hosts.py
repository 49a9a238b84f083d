"""How the hosts of the locality study are named and drawn."""

from typing import NamedTuple

import pandas as pd
from matplotlib.lines import Line2D

from tilecast.present.figures import style


class Host(NamedTuple):
    """A host's name, colour and mark."""

    name: str
    colour: str
    marker: str

    def key(self, **look: str) -> Line2D:
        """The host's entry in the key."""
        return style.line_key(self.name, self.colour, marker=self.marker, markersize=4, **look)


HOSTS = {
    "p100_two_sockets": Host("P100, two sockets", "#D55E00", "s"),
    "l40s_claimed": Host("L40S, copies slowed 1.47 times", "#0072B2", "o"),
    "l40s_summary": Host("L40S, copies slowed 1.02 times", "#56B4E9", "D"),
    "mi210_two_epyc": Host("MI210, two EPYC", "#009E73", "^"),
    "open": Host("L40S, host not stated", "#CC79A7", "v"),
    "open_pageable": Host("the same, pageable memory", "#E69F00", "P"),
}


def eager(predicted: pd.DataFrame) -> pd.DataFrame:
    """Forecasts in fp32 without a compiler, their hosts named as above."""
    plain = predicted[(predicted["dtype"] == "fp32") & ~predicted["compiled"]]
    pinned = plain["memory"] == "pinned"
    return plain.assign(host=plain["host"].where(pinned, plain["host"] + "_pageable"))
