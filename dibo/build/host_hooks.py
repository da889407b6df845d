"""Hooks that run on the host, as the user: block-device-size.d, block-device.d and extra-data.d.

The first two answer on stdout, in lines `NAME=value`; the last such line wins, other lines are shown and ignored.
Answers are parsed, never evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.build.context import ExtraFiles
from dibo.errors import FlavourError, HookFailed, UsageError
from dibo.flavours.files import copy_files, read_files
from dibo.flavours.model import HOOK_NAME, File, Flavour, Phase
from dibo.flavours.stack import Stack
from dibo.system import process
from dibo.units import format_gib, parse_gib

_ANSWERS: Final = {Phase.BLOCK_DEVICE_SIZE: "IMAGE_SIZE", Phase.BLOCK_DEVICE: "IMAGE_BLOCK_DEVICE"}
_UMASK: Final = 0o022  # so that a file of mode 0600 is one that its hook made so

Say = Callable[[str], None]


def image_size(
    stack: Stack, *, size: int, set_by: str, environment: Mapping[str, str], say: Say
) -> tuple[int, str]:
    """Bytes of the image, and who set them: `size` and `set_by`, unless block-device-size.d hooks make something else
    of it. Raises HookFailed."""
    for flavour, name in _in_order(stack, Phase.BLOCK_DEVICE_SIZE):
        given = {**environment, "IMAGE_SIZE": format_gib(size)}
        answer = _ask(flavour, Phase.BLOCK_DEVICE_SIZE, name, given, say)
        if answer is not None:
            try:
                size = parse_gib(answer)
                set_by = f"{flavour.name}'s {Phase.BLOCK_DEVICE_SIZE}/{name}"
            except UsageError as error:
                path = flavour.origin / Phase.BLOCK_DEVICE_SIZE / name
                raise HookFailed(
                    f"{path} printed IMAGE_SIZE={answer}: {error.message}", hint=error.hint
                ) from error
    return size, set_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What hooks said the root file system goes to, and which of them said it last; None: none did."""

    text: str | None
    hook: Path


def has_block_device(stack: Stack) -> bool:
    return bool(_in_order(stack, Phase.BLOCK_DEVICE))


def block_device(
    stack: Stack, *, device: Path, environment: Mapping[str, str], say: Say, after: Callable[[], None]
) -> Answer:
    """Run block-device.d hooks on `device`, which stands for the disk; there is at least one. Each is given the whole
    device; `after` is called after each. Raises HookFailed."""
    last = Answer(text=None, hook=Path())
    for flavour, name in _in_order(stack, Phase.BLOCK_DEVICE):
        given = {**environment, "IMAGE_BLOCK_DEVICE": str(device)}
        text = _ask(flavour, Phase.BLOCK_DEVICE, name, given, say)
        if text is not None or not last.hook.name:
            last = Answer(text=text, hook=flavour.origin / Phase.BLOCK_DEVICE / name)
        after()
    return last


def extra_data(stack: Stack, *, directory: Path, environment: Mapping[str, str], say: Say) -> ExtraFiles:
    """Run extra-data.d hooks. Each flavour's TMP_HOOKS_PATH begins as a copy of the flavour, below `directory`;
    what is new or changed in it afterwards is its extra data."""
    made: dict[str, tuple[Path, tuple[File, ...]]] = {}
    places: dict[str, Path] = {}
    for flavour, name in _in_order(stack, Phase.EXTRA_DATA):
        if flavour.name not in places:
            places[flavour.name] = directory / flavour.name
            places[flavour.name].mkdir()
            copy_files(flavour.directory, flavour.files, places[flavour.name])
        given = {**environment, "TMP_HOOKS_PATH": str(places[flavour.name])}
        _run(flavour, Phase.EXTRA_DATA, name, given, say)
    for flavour_name, place in places.items():
        before = {file.path: file for file in stack.get(flavour_name).files}
        files = tuple(file for file in read_files(place, private=True) if before.get(file.path) != file)
        _refuse_hooks(flavour_name, files)
        copy = directory / f"{flavour_name}:made"  # no flavour has such a name
        copy_files(place, files, copy)
        made[flavour_name] = (copy, files)
    return ExtraFiles(made)


def _refuse_hooks(flavour: str, files: tuple[File, ...]) -> None:
    phases = {phase.value for phase in Phase}
    for file in files:
        phase, _, name = file.path.partition("/")
        if phase in phases and HOOK_NAME.fullmatch(name):
            raise FlavourError(
                f"an extra-data.d hook of {flavour!r} made the hook {file.path}",
                hint="extra data is data: put it beside the phases and let a hook that is there read it",
            )


def _in_order(stack: Stack, phase: Phase) -> list[tuple[Flavour, str]]:
    entries = [
        (hook.name, place) for place, flavour in enumerate(stack.flavours) for hook in flavour.hooks_of(phase)
    ]
    return [(stack.flavours[place], name) for name, place in sorted(entries)]


def _ask(flavour: Flavour, phase: Phase, name: str, environment: Mapping[str, str], say: Say) -> str | None:
    answer = None
    for line in _run(flavour, phase, name, environment, say).splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and key == _ANSWERS[phase]:
            answer = value.strip()
        elif line.strip():
            say(line)
    return answer


def _run(flavour: Flavour, phase: Phase, name: str, environment: Mapping[str, str], say: Say) -> str:
    path = flavour.origin / phase / name
    try:
        done = process.run(
            [str(path)],
            env={**process.proxies(), **environment},
            cwd=flavour.origin,
            capture=True,
            on_output=say,
            check=False,
            umask=_UMASK,
        )
    except OSError as error:
        raise HookFailed(
            f"the hook {path} cannot be run: {error.strerror}",
            hint="does its first line name an interpreter?",
        ) from error
    if done.returncode != 0:
        raise HookFailed(
            f"the hook {name} of flavour {flavour.name!r} in {phase} {process.describe_exit(done.returncode)}",
            hint="\n".join([f"it is {path}", *(f"| {line}" for line in done.tail)]),
        )
    return done.stdout
