# What the default run makes of this stage, and what of it the page reads.
MOE_TARGETS = []
MOE_REPORT = []
