# What the default run makes of this stage, and what of it the page reads.
MODERN_TARGETS = []
MODERN_REPORT = []
