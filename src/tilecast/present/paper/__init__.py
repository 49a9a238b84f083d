"""The tables of the paper, in four forms: for machines, for the page, for LaTeX and for one PDF."""
