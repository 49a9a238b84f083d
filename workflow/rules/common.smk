import ast
import os
import sys
from functools import lru_cache
from pathlib import Path

BASE = Path(workflow.basedir)
ROOT = BASE.parent if BASE.name == "workflow" else BASE
sys.path.insert(0, str(ROOT / "src"))

from tilecast.config import load_config
from tilecast.errors import TilecastError

# Conda jobs drop PYTHONPATH, but keep the shell prefix: the library reaches them this way.
shell.prefix(f"export PYTHONPATH={str(ROOT / 'src')!r} PYTHONDONTWRITEBYTECODE=1; ")


def stop(message):
    """End before anything runs, with one line."""
    print(f"tilecast: error: {message}", file=sys.stderr)
    raise SystemExit(1)


try:
    settings = load_config(config)
except TilecastError as error:
    stop(error)


@lru_cache(maxsize=None)
def imported(path):
    """Files of this project that the Python file at `path` imports, directly or not."""
    found, todo = set(), [ROOT / path]
    while todo:
        names = []
        for node in ast.walk(ast.parse(todo.pop().read_text())):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names += [
                    node.module,
                    *(f"{node.module}.{alias.name}" for alias in node.names),
                ]
        for name in names:
            if name.split(".")[0] != "tilecast":
                continue
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                stem = ROOT / "src" / Path(*parts[:depth])
                for file in (stem.with_suffix(".py"), stem / "__init__.py"):
                    if file.is_file() and file not in found:
                        found.add(file)
                        todo.append(file)
    return sorted(os.path.relpath(file) for file in found)


def code(script):
    """The library modules that `workflow/scripts/<script>.py` depends on: inputs, so that editing one re-runs its users."""
    return imported(f"workflow/scripts/{script}.py")
