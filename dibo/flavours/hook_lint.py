"""What in a hook is allowed, and probably fails or does nothing: its line endings, interpreter and variables.

Variables are judged in hooks for sh, bash and dash alone, and only names in capitals that nothing sets: not dibo, no
flavour that the hook sees, not the shell and not the hook. A name that the hook reads with a default, or that stands in
it without $, is never judged; nor is a hook that reads in other files, or that cannot be read with certainty.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from dibo.errors import FlavourError
from dibo.flavours.hook_network import network_warnings
from dibo.flavours.model import HOST_PHASES, Flavour, Hook, Phase
from dibo.formats import magic

_LARGEST: Final = 1 << 20
"""Bytes of a hook that are read."""
_SCRIPTS: Final = 256
"""Hooks whose variables are kept."""
_CLOSE: Final = 0.8
_SHELLS: Final = ("sh", "bash", "dash")
_OWN_PREFIX: Final = "DIBO_"
_SET_BY_DIBO: Final = frozenset({"DIBO_RUN", "DIBO_FRESH", "DIBO_FETCHED"})
_KNOWN: Final = frozenset(
    (
        *("ARCH", "DISTRIBUTION", "RELEASE", "LIKE", "SOURCE_DATE_EPOCH", "TMP_HOOKS_PATH", "IMAGE_SIZE"),
        *("IMAGE_BLOCK_DEVICE", "PATH", "HOME", "USER", "LOGNAME", "LANG", "TERM", "PWD", "OLDPWD", "IFS"),
        *("UID", "EUID", "PPID", "RANDOM", "LINENO", "SECONDS", "SHELL", "HOSTNAME", "TMPDIR"),
        *("OPTARG", "OPTIND", "OPTERR", "REPLY", "MAPFILE", "PIPESTATUS", "FUNCNAME", "DIRSTACK", "GROUPS"),
        *("OSTYPE", "HOSTTYPE", "MACHTYPE", "SHLVL", "SHELLOPTS", "BASHPID", "BASHOPTS", "BASH", "SRANDOM"),
        *("EPOCHSECONDS", "EPOCHREALTIME", "COLUMNS", "LINES", "COPROC", "TIMEFORMAT", "APT_CONFIG"),
        *("DPKG_FORCE", "UCF_FORCE_CONFFOLD", "APT_LISTCHANGES_FRONTEND", "SYSTEMD_OFFLINE"),
    )
)
"""Variables that dibo's runner sets (containerfiles/runner/run), or a shell: bash(1), "Shell Variables"."""
_KNOWN_PREFIXES: Final = ("BASH_", "LC_", "COMP_", "DEBIAN_", "DEBCONF_", "NEEDRESTART_", "XDG_")
_DIRECTORIES: Final = frozenset(
    f"{root}{directory}" for root in ("/", "/usr/", "/usr/local/") for directory in ("bin", "sbin")
)
_MAY_HOLD_PROGRAMS: Final = (
    *("/opt/", "/usr/lib", "/usr/local/", "/usr/share/", "/usr/games/", "/lib", "/etc/", "/srv/", "/home/"),
    *("/root/", "/var/", "/run/", "/nix/", "/gnu/", "/snap/"),
)
_ASSIGNED: Final = re.compile(
    r"(?:^|[\s;&|({`\"'])(?:(?:export|readonly|local|declare|typeset)\s+(?:-\w+\s+)*)?([A-Za-z_]\w*)(?:\[[^]]*\])?\+?="
    r"|\b(?:for|select)\s+([A-Za-z_]\w*)\b"
    r"|\b(?:read|export|local|declare|typeset|readonly|mapfile|readarray|unset|getopts)\s+([^;&|\n]*)"
    r"|\bprintf\s+-v\s+([A-Za-z_]\w*)"
    r"|\$\{([A-Za-z_]\w*)(?:\[[^]]*\])?:?[-=+?]",
    re.MULTILINE,
)
_USED: Final = re.compile(r"\$(?:\{[#!]?([A-Z][A-Z0-9_]+)\b|([A-Z][A-Z0-9_]+)\b)")
_SOURCED: Final = re.compile(
    r"(?:^|[;&|({!]|\b(?:then|do|else|if|elif|while|until|command|builtin))\s*(?:\.|source|eval)\s",
    re.MULTILINE,
)
_SET_BY_OUTPUT: Final = re.compile(r"\b(?:export|readonly|local|declare|typeset)\s+(?:-\w+\s+)*[\"']?[$`]")
_HERE: Final = re.compile(r"(?<!<)<<(?!<)-?\s*(?:(['\"])([^'\"\n]+)\1|\\?([A-Za-z_]\w*))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Declared variables: those that a hook sees, and the others of the stack with the flavours that declare them."""

    seen: frozenset[str]
    others: Mapping[str, str]


def hook_warnings(flavour: Flavour, sight_of: Callable[[Phase], Sight]) -> Iterator[str]:
    """A line for each doubt about the hooks of a flavour. Raises FlavourError for a hook that can never run."""
    for hook in flavour.hooks:
        path = flavour.directory / hook.path
        try:
            with path.open("rb") as stream:
                data = stream.read(_LARGEST)
        except OSError:
            continue  # a link out of the flavour: the loader judges these
        place = f"the hook {hook.path} of the flavour {flavour.name!r}"
        if data and not data.startswith(magic.ELF):
            yield from _line_endings(data, place, hook)
            interpreter = _interpreter(data)
            yield from _first_line(interpreter, place, hook)
            if _shell(interpreter):
                text = data.decode(errors="replace")
                yield from _variables(text, place, hook, sight_of(hook.phase))
                commands = _code(text.replace("$(", "$(;"), [], documents=False)
                yield from network_warnings(commands, place, hook, flavour)


def _line_endings(data: bytes, place: str, hook: Hook) -> Iterator[str]:
    """Raises FlavourError: with a carriage return in its first line, a script names an interpreter that is nowhere."""
    lines = data.split(b"\n")
    number = next((number for number, line in enumerate(lines, start=1) if line.endswith(b"\r")), None)
    mend = f"make them LF: sed -i 's/\\r$//' {hook.path}"
    if number == 1 and data.startswith(b"#!"):
        raise FlavourError(
            f"{place}, line 1: it ends in CRLF, so the interpreter {lines[0][2:].strip().decode(errors='replace')!r} "
            "is looked up with the CR in its name and not match",
            hint=mend,
        )
    if number is not None:
        yield f"{place}, line {number}: it ends in CRLF, and a shell takes the CR for a part of the line; {mend}"


def _interpreter(data: bytes) -> list[str] | None:
    """The words of the first line after `#!`; None place it does not begin so."""
    first = data.partition(b"\n")[0].decode(errors="replace")
    return first[2:].split(maxsplit=1) if first.startswith("#!") else None


def _first_line(interpreter: list[str] | None, place: str, hook: Hook) -> Iterator[str]:
    if interpreter is None:
        yield f"{place}, line 1: it does not begin with #! and an interpreter, such as #!/bin/sh"
        return
    if not interpreter or not interpreter[0].startswith("/"):
        named = repr(interpreter[0]) if interpreter else "nothing"
        yield f"{place}, line 1: expected the path of an interpreter after #!, such as /bin/sh, got {named}"
        return
    program = interpreter[0]
    if PurePosixPath(program).name == "env":
        words = interpreter[1].split() if len(interpreter) > 1 else []
        if not words:
            yield f"{place}, line 1: {program} has no program to run, such as {program} bash"
        elif len(words) > 1 and not words[0].startswith("-"):
            named = interpreter[1]
            yield f"{place}, line 1: {program} takes {named!r} for one name; write {program} -S {named}"
    if hook.phase in HOST_PHASES:
        if not os.access(program, os.X_OK):
            yield f"{place}, line 1: it runs on this machine, which has no program {program}"
    elif str(PurePosixPath(program).parent) not in _DIRECTORIES and not program.startswith(
        _MAY_HOLD_PROGRAMS
    ):
        yield (
            f"{place}, line 1: the interpreter {program} is in no directory where distributions have programs, "
            "such as /bin or /usr/bin"
        )


def _shell(interpreter: list[str] | None) -> bool:
    words = " ".join(interpreter or []).split()
    names = [PurePosixPath(word).name for word in words if not word.startswith("-")]
    return any(name in _SHELLS for name in names[:2])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Script:
    """What a shell script says of variables."""

    code: str
    """Without what expands no variables."""
    certain: bool
    """Whether all of it was understood."""
    bare: frozenset[str]
    """Words that look like variables, without a dollar sign."""
    assigned: frozenset[str]


@functools.lru_cache(maxsize=_SCRIPTS)
def _script(text: str) -> _Script | None:
    """None where what is read in may assign anything. Kept, since images that are built together have hooks in
    common."""
    quotes: list[str] = []
    code = "\n".join(_code(text, quotes))
    if _SOURCED.search(code) or _SET_BY_OUTPUT.search(text):
        return None
    certain = (
        not quotes and "`" not in code and all(len(_HERE.findall(line)) < 2 for line in text.split("\n"))
    )
    assigned = (
        word for match in _ASSIGNED.finditer(text) for word in re.findall(r"\w+", match[match.lastindex or 0])
    )
    bare = frozenset(re.findall(r"(?<![$\w{!#])[A-Z][A-Z0-9_]+\b", code))
    return _Script(code=code, certain=certain, bare=bare, assigned=frozenset(assigned))


def _variables(text: str, place: str, hook: Hook, sight: Sight) -> Iterator[str]:
    script = _script(text)
    if script is None:
        return
    given = {*sight.seen, *_KNOWN, *_SET_BY_DIBO, *script.assigned}
    judged: set[str] = set()
    for number, line in enumerate(script.code.split("\n"), start=1):
        for match in _USED.finditer(line):
            name = match[1] or match[2]
            if name in given or name in judged:
                continue
            judged.add(name)
            doubt = _doubt(name, hook, sight)
            if (
                not doubt
                and script.certain
                and name not in script.bare
                and not name.startswith(_KNOWN_PREFIXES)
            ):
                doubt = (
                    "is set by nothing: declare it under `environment`, or give it a default, ${"
                    + name
                    + ":-}"
                )
            if doubt:
                yield f"{place}, line {number}: ${name} {doubt}"


def _doubt(name: str, hook: Hook, sight: Sight) -> str:
    if name in sight.others:
        if hook.phase is Phase.FIRST_BOOT:
            return "is not set at first boot: have an install.d hook write its value to a file"
        return f"is a variable of the flavour {sight.others[name]!r}, which is not under `needs`"
    if close := difflib.get_close_matches(name, sight.seen, n=1, cutoff=_CLOSE):
        return f"is not declared; did you mean {close[0]}?"
    if name.startswith(_OWN_PREFIX):
        return "is not declared, and variables of the user reach a hook only if a flavour declares them"
    return ""


def _code(text: str, quotes: list[str], *, documents: bool = True) -> Iterator[str]:
    """The lines of a shell script without what expands no variables: comments, single quotes, escaped characters and
    quoted here-documents; others stay only with `documents`. `quotes` gets what is open at the end, which is nothing if
    the script was understood."""
    end, quoted = "", False
    for line in text.split("\n"):
        if end:
            if line.strip() == end:
                end = ""
            yield "" if quoted or not end or not documents else re.sub(r"\\.", "", line)
            continue
        yield _without_quotes(line, quotes)
        if (not quotes or quotes[-1] == "$(") and (here := _HERE.search(line)):
            end, quoted = here[2] or here[3], bool(here[1]) or "\\" in here[0]


def _without_quotes(line: str, quotes: list[str]) -> str:
    """A line without single-quoted parts, comments and escaped characters. `quotes` are the quotes and `$(` that are
    open, the innermost last; it is changed."""
    kept: list[str] = []
    at = 0
    while at < len(line):
        inner = quotes[-1] if quotes else ""
        character = line[at]
        if inner == "'":
            if character == "'":
                quotes.pop()
        elif character == "\\":
            at += 1
        elif line.startswith("$(", at):
            quotes.append("$(")
            at += 1
        elif character == ")" and inner == "$(":
            quotes.pop()
        elif character == '"':
            if inner == '"':
                quotes.pop()
            else:
                quotes.append('"')
        elif character == "'" and inner != '"':
            quotes.append("'")
        elif character == "#" and inner != '"' and (at == 0 or line[at - 1] in " \t;&|("):
            break
        else:
            kept.append(character)
        at += 1
    return "".join(kept)
