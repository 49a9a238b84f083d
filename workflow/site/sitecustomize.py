"""Runs as every job's interpreter starts: until `run_step` takes over, Ctrl-C ends a job without a traceback."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
