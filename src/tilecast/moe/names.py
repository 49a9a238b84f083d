"""The names in a study file that the workflow's own file names need; light, for it is read before every job."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml

from tilecast.errors import InputError


def figure_names(path: str | Path) -> dict[str, str]:
    """System -> the end of its figures' names: 8gpu, or its own name where two systems have as many GPUs."""
    try:
        raw = yaml.load(
            Path(path).read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
        gpus = {str(system["name"]): int(system["gpus"]) for system in raw["systems"]}
    except FileNotFoundError:
        raise InputError(path, "does not exist", "name a study of config/studies") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(path, f"cannot be read as YAML ({error})") from None
    except (KeyError, TypeError, ValueError):
        raise InputError(path, "`systems` is no list of systems, each with `name` and `gpus`") from None
    bad = [name for name in gpus if not name or not all(c.isalnum() or c in "_.-" for c in name)]
    if bad or not gpus:
        raise InputError(path, f"system {bad[0]!r} cannot be part of a file's name" if bad else "has no system")
    counts = Counter(gpus.values())
    return {name: f"{count}gpu" if counts[count] == 1 else name for name, count in gpus.items()}
