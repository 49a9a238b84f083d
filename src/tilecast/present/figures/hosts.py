"""How the hosts of the locality study are named and drawn."""

HOSTS = {  # host -> name, colour, marker
    "p100_two_sockets": ("P100, two sockets", "#D55E00", "s"),
    "l40s_claimed": ("L40S, copies slowed 1.47 times", "#0072B2", "o"),
    "l40s_summary": ("L40S, copies slowed 1.02 times", "#56B4E9", "D"),
    "mi210_two_epyc": ("MI210, two EPYC", "#009E73", "^"),
}
