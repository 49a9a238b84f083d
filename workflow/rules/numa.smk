# What the default run makes of this stage, and what of it the page reads.
NUMA_TARGETS = []
NUMA_REPORT = []
