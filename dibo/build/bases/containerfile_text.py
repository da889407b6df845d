"""What of a Containerfile says which images it is made of (containerfile(5); Dockerfile reference, FROM).

FROM names an image, an earlier stage, or `scratch`. Images are named by digests in the text that is built, so that what
is built is what the key of the layer says. What names images in another way is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.elements.shell_text import NeedsShell, UnsetVariable, expand_words
from dibo.errors import BaseError

SCRATCH: Final = "scratch"
_DIRECTIVE: Final = re.compile(r"#\s*(\w+)\s*=\s*(\S+)\s*")
_FROM: Final = re.compile(r"(?P<image>\S+)(?:\s+as\s+(?P<stage>\S+))?\s*", re.IGNORECASE)
_OTHER_SOURCE: Final = re.compile(r"--(?:from=|mount=\S*?\bfrom=)(?P<name>[^\s,]+)")

Locate = Callable[[str], str]
"""From the name of an image to its name with its digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instruction:
    first: int
    """Its first line, from 0."""
    end: int
    """The line behind its last."""
    word: str
    rest: str


def with_digests(text: str, *, first: str, arguments: Mapping[str, str], locate: Locate) -> str:
    """The text, in which `locate` has named each image. `first` replaces the image of the first FROM unless it is
    empty; `arguments` are those of `--build-arg`. Raises BaseError, and what `locate` raises."""
    lines = text.splitlines()
    variables: dict[str, str] = {}
    stages: list[str] = []
    count = 0
    for instruction in _instructions(lines):
        if instruction.word == "ARG" and not count:
            variables |= _declared(instruction.rest, variables, arguments)
        elif instruction.word == "FROM":
            image, stage = _from(instruction, variables)
            image = first if first and not count else image
            known = image.lower() in stages or image == SCRATCH
            line = f"FROM {image if known else locate(image)}" + (f" AS {stage}" if stage else "")
            blank = [""] * (instruction.end - instruction.first - 1)
            lines[instruction.first : instruction.end] = [line, *blank]
            stages.append(stage.lower())
            count += 1
        else:
            _require_known_options(instruction)
            _require_stage(instruction, stages)
    if not count:
        raise BaseError("the Containerfile has no FROM", hint="begin it with FROM and the name of an image")
    return "\n".join([*lines, ""])


def _instructions(lines: list[str]) -> Iterator[_Instruction]:
    escape = "\\"
    at = 0
    while at < len(lines) and (match := _DIRECTIVE.fullmatch(lines[at])):
        escape = match[2] if match[1].lower() == "escape" else escape
        at += 1
    while at < len(lines):
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            at += 1
            continue
        first, words = at, ""
        while at < len(lines):
            line = lines[at].strip()
            at += 1
            if line.startswith("#") or not line:
                continue
            words += line.removesuffix(escape)
            if not line.endswith(escape):
                break
            words += " "
        word, _, rest = words.strip().partition(" ")
        yield _Instruction(first=first, end=at, word=word.upper(), rest=rest.strip())


def _declared(rest: str, variables: Mapping[str, str], arguments: Mapping[str, str]) -> dict[str, str]:
    """The variables of an ARG before the first FROM."""
    values = {}
    for word in _expanded(rest, variables):
        name, equals, value = word.partition("=")
        if name in arguments:
            values[name] = arguments[name]
        elif equals:
            values[name] = value
    return values


def _from(instruction: _Instruction, variables: Mapping[str, str]) -> tuple[str, str]:
    """(image, stage) of a FROM."""
    line = f"line {instruction.first + 1} of the Containerfile"
    if instruction.rest.startswith("--"):
        raise BaseError(
            f"{line}: FROM has the option {instruction.rest.split()[0]}, which dibo does not read",
            hint="leave it out: the image is that for the architecture that is built for",
        )
    match = _FROM.fullmatch(" ".join(_expanded(instruction.rest, variables)))
    if match is None:
        raise BaseError(f"{line}: expected FROM IMAGE or FROM IMAGE AS NAME, got FROM {instruction.rest}")
    return match["image"], match["stage"] or ""


def _expanded(text: str, variables: Mapping[str, str]) -> list[str]:
    try:
        return expand_words(text, variables)
    except NeedsShell as error:
        raise BaseError(f"the Containerfile has {text!r}, which is not read: {error}") from error
    except UnsetVariable as error:
        raise BaseError(
            f"the Containerfile has {text!r}, and {error} has no value",
            hint=f"give it a default: ARG {error}=VALUE before the first FROM; or --build-arg {error}=VALUE",
        ) from error


def _require_known_options(instruction: _Instruction) -> None:
    """Raises BaseError for options that give a command more than others have: its network, devices."""
    if instruction.word != "RUN":
        return
    for word in instruction.rest.split():
        if not word.startswith("--"):
            return
        if not word.startswith("--mount="):
            raise BaseError(
                f"line {instruction.first + 1} of the Containerfile: RUN has the option {word}, "
                "which dibo does not read",
                hint="leave it out; all commands have the same network",
            )


def _require_stage(instruction: _Instruction, stages: list[str]) -> None:
    """Raises BaseError for files of an image that no FROM names."""
    for match in _OTHER_SOURCE.finditer(instruction.rest):
        name = match["name"]
        if name.lower() not in stages and not (name.isdigit() and int(name) < len(stages)):
            raise BaseError(
                f"line {instruction.first + 1} of the Containerfile takes files from {name}, which is no stage of it",
                hint=f"name it: FROM {name} AS NAME, and --from=NAME",
            )
