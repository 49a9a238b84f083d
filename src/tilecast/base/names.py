"""Names as people type them: in any case, with any signs between, and a guess where none fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tilecast.base.documents import shown
from tilecast.base.errors import InputError


def plain(name: str) -> str:
    """A name's letters and digits, in small letters."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def find(name: str, names: Iterable[str], aliases: Mapping[str, str] | None = None) -> str | None:
    """The one of `names` that is meant, or that an alias stands for; None where none or several are."""
    known = {**dict.fromkeys(names), **(aliases or {})}
    if name in known:
        return known[name] or name
    wanted = plain(name)
    found = {known[each] or each for each in known if wanted and plain(each) == wanted}
    return found.pop() if len(found) == 1 else None


def guesses(name: str, names: Iterable[str]) -> list[str]:
    """At most three names that look like it, the likeliest first."""
    from difflib import get_close_matches

    by_letters: dict[str, str] = {}
    for each in names:
        by_letters.setdefault(plain(each), each)
    wanted = plain(name[:100])
    within = [each for each in by_letters if wanted and wanted in each]
    found = dict.fromkeys([*sorted(within, key=len), *get_close_matches(wanted, by_letters, 3, 0.6)])
    return [by_letters[each] for each in found][:3]


def remedy(name: str, names: Iterable[str], otherwise: str) -> str:
    """`did you mean ...?`, or else `otherwise`."""
    like = guesses(name, names)
    return f"did you mean {' or '.join(like)}?" if like else otherwise


def chosen(name: str, names: Iterable[str], where: object, aliases: Mapping[str, str] | None = None) -> str:
    """The one of `names` that is meant; InputError at `where` with a guess and all of them."""
    names = tuple(names)
    if (found := find(name, names, aliases)) is None:
        raise InputError(
            where, f"{shown(name)} is not known", remedy(name, names, f"expected one of {', '.join(names)}")
        )
    return found
