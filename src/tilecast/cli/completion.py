"""`tilecast completion`: a script that completes commands, options and names in bash, zsh or fish."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from tilecast.hardware.device_file import shipped_names
from tilecast.hardware.system import system_names
from tilecast.models.registry import HUB, model_names
from tilecast.serving.engines import ENGINES

FILES = "<files>"


class Flag(NamedTuple):
    """One option: its names, the values it takes, whether it takes several, its help."""

    names: tuple[str, ...]
    values: tuple[str, ...]
    several: bool
    words: str


class Place(NamedTuple):
    """One command: its path, its options and the commands below it."""

    path: str
    flags: tuple[Flag, ...]
    below: tuple[tuple[str, str], ...]  # name, help


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the shell."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    print(SCRIPTS[args.shell](list(places())), end="")
    return 0


def places() -> Iterator[Place]:
    """Every command with its options, from the parsers themselves."""
    from tilecast.cli import COMMANDS, module_of

    yield Place(
        "", (Flag(("--help",), (), False, ""), Flag(("--version",), (), False, "")), tuple(COMMANDS.items())
    )
    for name in COMMANDS:
        parser = argparse.ArgumentParser(prog=name)
        module_of(name).add_arguments(parser)
        yield from _walk(parser, name)


def _walk(parser: argparse.ArgumentParser, path: str) -> Iterator[Place]:
    flags: list[Flag] = []
    below: list[tuple[str, str]] = []
    deeper: list[Place] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, child in action.choices.items():
                below.append((name, helps.get(name, "")))
                deeper += _walk(child, f"{path} {name}")
        elif action.option_strings:
            names = tuple(name for name in action.option_strings if name.startswith("--"))
            several = action.nargs in ("+", "*")
            flags.append(Flag(names, _values(action), several, (action.help or "").replace("%%", "%")))
        else:
            below += [(value, "") for value in _values(action) if value != FILES]
    yield Place(path, tuple(flags), tuple(below))
    yield from deeper


def _values(action: argparse.Action) -> tuple[str, ...]:
    """What may follow an option: its choices, the names that are shipped, or files; nothing after a switch."""
    if action.nargs == 0:
        return ()
    shorts = tuple(short for _, short in shipped_names())
    named: dict[str, tuple[str, ...]] = {
        "model": (*model_names(), *HUB, FILES), "models": (*model_names(), *HUB), "draft_model": model_names(),
        "device": (*shorts, FILES), "devices": shorts,
        "system": (*system_names(), FILES), "engine": tuple(ENGINES),
        "formats": ("bf16", "fp16", "fp8", "fp8_block", "nvfp4", "mxfp4"),
    }  # fmt: skip
    words = action.metavar if isinstance(action.metavar, str) else ""
    if words.startswith("{"):
        return tuple(words.strip("{}").split(","))
    if action.choices:
        return tuple(map(str, action.choices))
    return tuple(named.get(action.dest, (FILES,)))


def bash(found: list[Place]) -> str:
    """For bash from 3.2."""
    lines = ["# bash completion of tilecast; made by `tilecast completion bash`"]
    lines += ["_tilecast_words() {", '  case "$1" in']
    for place in found:
        words = [name for name, _ in place.below] + [name for flag in place.flags for name in flag.names]
        lines.append(f"  {shlex.quote(place.path)}) echo {shlex.quote(' '.join(words))};;")
    lines += ["  esac", "}", "_tilecast_values() {", '  case "$1" in']
    for place in found:
        for flag in place.flags:
            for name in flag.names if flag.values else ():
                asked = shlex.quote(f"{place.path} {name}")
                lines.append(f"  {asked}) echo {shlex.quote(' '.join(flag.values))};;")
    several = {name for place in found for flag in place.flags if flag.several for name in flag.names}
    lines += ["  esac", "}", _BASH.replace("SEVERAL", "|".join(sorted(several)) or "--")]
    return "\n".join(lines) + "\n"


_BASH = r"""_tilecast() {
  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" path="" at word values
  for ((at = 1; at < COMP_CWORD; at++)); do
    word="${COMP_WORDS[at]}"
    case "$word" in -*) break;; esac
    case " $(_tilecast_words "$path") " in *" $word "*) path="${path:+$path }$word";; esac
  done
  for ((at = COMP_CWORD - 1; at > 0; at--)); do
    word="${COMP_WORDS[at]}"
    case "$word" in SEVERAL) before="$word"; break;; -*) break;; esac
  done
  COMPREPLY=()
  values="$(_tilecast_values "$path $before")"
  if [ -z "$values" ]; then
    COMPREPLY=($(compgen -W "$(_tilecast_words "$path")" -- "$current"))
    return
  fi
  COMPREPLY=($(compgen -W "${values%<files>}" -- "$current"))
  case "$values" in *"<files>") COMPREPLY+=($(compgen -f -- "$current"));; esac
}
complete -o filenames -F _tilecast tilecast"""


def zsh(found: list[Place]) -> str:
    """For zsh, by its own reading of bash's completions; a file of $fpath answers when it is first loaded too."""
    first = '[ "${funcstack[1]}" != _tilecast ] || _bash_complete -o filenames -F _tilecast\n'
    return "#compdef tilecast\nautoload -U +X bashcompinit && bashcompinit\n" + bash(found) + first


def fish(found: list[Place]) -> str:
    """For fish."""
    lines = ["# fish completion of tilecast; made by `tilecast completion fish`", "complete -c tilecast -f"]
    for place in found:
        parts = place.path.split()
        tests = [f"__fish_seen_subcommand_from {part}" for part in parts] or ["__fish_use_subcommand"]
        when = f"complete -c tilecast -n {shlex.quote('; and '.join(tests))}"
        for name, words in place.below:
            lines.append(f"{when} -a {shlex.quote(name)} -d {shlex.quote(words)}")
        for flag in place.flags:
            names = " ".join(f"-l {name[2:]}" for name in flag.names)
            values = [value for value in flag.values if value != FILES]
            takes = f" -x -a {shlex.quote(' '.join(values))}" if values else " -r" if flag.values else ""
            takes = takes.replace(" -x", " -r -F") if FILES in flag.values else takes
            lines.append(f"{when} {names}{takes} -d {shlex.quote(flag.words)}")
    return "\n".join(lines) + "\n"


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
