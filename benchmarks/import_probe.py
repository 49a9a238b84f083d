"""What a job's imports cost, and which of them it uses: appended to the jobs' sitecustomize by `workflow.py`.

Timed is what the project's own code imports: a package with all it drags in, or a module of the library without
what that imports. An import is used if, once importing is over, a function of that package or module is called; to
see that, TILECAST_PROBE_USE slows the job down, so its seconds come from another run.
"""

import atexit
import builtins
import json
import os
import resource
import sys
import time
from types import FrameType
from typing import Any

_OURS = ("tilecast", "__main__")
_WORTH = 0.002  # processor seconds from which a module of the library itself is looked at


class _Probe:
    def __init__(self, use: bool) -> None:
        self.real, self.started = builtins.__import__, time.perf_counter()
        self.seconds: dict[str, float] = {}  # by what was imported
        self.modules: dict[str, set[str]] = {}  # of a package: what its import loaded of it
        self.used: set[str] = set()
        self.called: set[str] = set()  # modules whose functions were seen running
        self.inside, self.outside, self.children = 0, False, [0.0]
        self.use = use
        builtins.__import__ = self.imported  # type: ignore[assignment]
        atexit.register(self.write)
        self._watch()

    def _watch(self) -> None:
        if self.use:
            sys.setprofile(self.seen)

    def imported(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        """In the place of `__import__`, with its names."""
        importer = str((globals or {}).get("__name__", ""))
        self.inside += 1
        try:
            if self.outside or level or importer.split(".")[0] not in _OURS:
                return self.real(name, globals, locals, fromlist, level)
            own = name.split(".")[0] == "tilecast"
            self.outside = not own
            before, began = set(sys.modules), time.process_time()
            self.children.append(0.0)
            try:
                return self.real(name, globals, locals, fromlist, level)
            finally:
                spent = time.process_time() - began
                nested = self.children.pop()
                self.children[-1] += spent
                self.outside = False
                self._take(name, spent - nested, set(sys.modules) - before, own)
        finally:
            self.inside -= 1

    def _take(self, name: str, seconds: float, new: set[str], own: bool) -> None:
        if not new or (own and seconds < _WORTH):
            return
        top = name.split(".")[0]
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.modules.setdefault(name, set()).update(m for m in new if m.split(".")[0] == top)
        if self.modules[name] & self.called:
            self.used.add(name)
        elif not self.inside - 1:
            self._watch()

    def seen(self, frame: FrameType, event: str, function: Any) -> None:
        """A profile function: notes whose function is called, until everything imported has been seen in use."""
        if self.inside:
            return
        if event == "call":
            module = frame.f_globals.get("__name__")
        elif event == "c_call":
            owner = getattr(function, "__self__", None)
            module = getattr(function, "__module__", None) or type(owner).__module__
        else:
            return
        if isinstance(module, str) and module not in self.called:
            self.called.add(module)
            self.used.update(name for name, modules in self.modules.items() if module in modules)
            if len(self.used) == len(self.modules):
                sys.setprofile(None)

    def write(self) -> None:
        """At the interpreter's end."""
        sys.setprofile(None)
        spent = resource.getrusage(resource.RUSAGE_SELF)
        record = {
            "script": os.path.basename(sys.argv[0]),  # noqa: PTH119 - pathlib would be an import
            "wall_s": time.perf_counter() - self.started,
            "processor_s": spent.ru_utime + spent.ru_stime,
            "imports": self.seconds,
            "used": sorted(self.used),
        }
        with open(f"{os.environ['TILECAST_PROBE']}/{os.getpid()}.json", "w") as stream:  # noqa: PTH123
            json.dump(record, stream)


if os.environ.get("TILECAST_PROBE"):
    _Probe(use=bool(os.environ.get("TILECAST_PROBE_USE")))
