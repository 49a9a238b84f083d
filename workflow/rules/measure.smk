# What the default run makes of this stage, and what of it the page reads.
MEASURE_TARGETS = []
MEASURE_REPORT = []
