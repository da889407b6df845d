"""Hooks that run on the host, as the user: block-device-size.d, block-device.d and extra-data.d.

The first two answer on stdout, in lines `NAME=value`; the last such line wins, other lines are shown and ignored.
Answers are parsed, never evaluated. --host-hooks says whether they run as they are, under bubblewrap, or not at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.build import sandbox
from dibo.build.context import ExtraFiles
from dibo.errors import FlavourError, HookFailed, UsageError
from dibo.flavours.files import copy_files, read_files
from dibo.flavours.model import HOOK_NAME, Flavour, FlavourFile, Phase
from dibo.flavours.stack import Stack
from dibo.settings.settings import NONE
from dibo.system import process
from dibo.system.process import OnOutput
from dibo.units import format_gib, parse_gib

_ANSWERS: Final = {Phase.BLOCK_DEVICE_SIZE: "IMAGE_SIZE", Phase.BLOCK_DEVICE: "IMAGE_BLOCK_DEVICE"}
_UMASK: Final = 0o022  # so that a file of mode 0600 is one that its hook made so


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRun:
    """What every hook on the host runs with."""

    environment: Mapping[str, str]
    on_output: OnOutput
    policy: str
    """The value of --host-hooks."""


def require_allowed(stack: Stack, policy: str) -> None:
    """Raises UsageError where --host-hooks none forbids a flavour."""
    if policy != NONE:
        return
    for flavour in stack.flavours:
        if flavour.host_phases:
            phases = ", ".join(flavour.host_phases)
            raise UsageError(
                f"the flavour {flavour.name!r} has hooks that run on this machine ({phases}), and these are refused",
                hint=f"look at them in {flavour.origin}, then allow them: --host-hooks run, or --host-hooks sandbox",
            )


def image_size(stack: Stack, *, size: int, set_by: str, host: HostRun) -> tuple[int, str]:
    """Bytes of the image, and who set them: `size` and `set_by`, unless block-device-size.d hooks make something else
    of it. Raises HookFailed."""
    for flavour, name in _in_order(stack, Phase.BLOCK_DEVICE_SIZE):
        given = {"IMAGE_SIZE": format_gib(size)}
        answer = _ask(_Hook(flavour, Phase.BLOCK_DEVICE_SIZE, name), given, host, None)
        if answer is not None:
            path = flavour.origin / Phase.BLOCK_DEVICE_SIZE / name
            try:
                size = parse_gib(answer, name=f"{path} printed IMAGE_SIZE={answer}")
                set_by = f"{flavour.name}'s {Phase.BLOCK_DEVICE_SIZE}/{name}"
            except UsageError as error:
                raise HookFailed(error.message, hint=error.hint) from error
    return size, set_by


@dataclass(frozen=True, slots=True, kw_only=True)
class HookAnswer:
    """What hooks said the root file system goes to, and which of them said it last; None: none did."""

    text: str | None
    hook: Path


def has_block_device(stack: Stack) -> bool:
    return bool(_in_order(stack, Phase.BLOCK_DEVICE))


def block_device(stack: Stack, *, device: Path, host: HostRun, after: Callable[[], None]) -> HookAnswer:
    """Run block-device.d hooks on `device`, which stands for the disk; there is at least one. Each is given the whole
    device; `after` is called after each. Raises HookFailed."""
    last = HookAnswer(text=None, hook=Path())
    for flavour, name in _in_order(stack, Phase.BLOCK_DEVICE):
        given = {"IMAGE_BLOCK_DEVICE": str(device)}
        text = _ask(_Hook(flavour, Phase.BLOCK_DEVICE, name), given, host, device)
        if text is not None or not last.hook.name:
            last = HookAnswer(text=text, hook=flavour.origin / Phase.BLOCK_DEVICE / name)
        after()
    return last


def extra_data(stack: Stack, *, directory: Path, host: HostRun) -> ExtraFiles:
    """Run extra-data.d hooks. Each flavour's TMP_HOOKS_PATH begins as a copy of the flavour, below `directory`;
    what is new or changed in it afterwards is its extra data."""
    made: dict[str, tuple[Path, tuple[FlavourFile, ...]]] = {}
    places: dict[str, Path] = {}
    for flavour, name in _in_order(stack, Phase.EXTRA_DATA):
        if flavour.name not in places:
            places[flavour.name] = directory / flavour.name
            places[flavour.name].mkdir()
            copy_files(flavour.directory, flavour.files, places[flavour.name])
        given = {"TMP_HOOKS_PATH": str(places[flavour.name])}
        _run(_Hook(flavour, Phase.EXTRA_DATA, name), given, host, places[flavour.name])
    for flavour_name, place in places.items():
        before = {file.path: file for file in stack.get(flavour_name).files}
        files = tuple(file for file in read_files(place, private=True) if before.get(file.path) != file)
        _refuse_hooks(flavour_name, files)
        copy = directory / f"{flavour_name}:made"  # no flavour has such a name
        copy_files(place, files, copy)
        made[flavour_name] = (copy, files)
    return ExtraFiles(made)


def _refuse_hooks(flavour: str, files: tuple[FlavourFile, ...]) -> None:
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


@dataclass(frozen=True, slots=True)
class _Hook:
    """One hook of one flavour."""

    flavour: Flavour
    phase: Phase
    name: str

    @property
    def path(self) -> Path:
        return self.flavour.origin / self.phase / self.name


def _ask(hook: _Hook, environment: Mapping[str, str], host: HostRun, writable: Path | None) -> str | None:
    answer = None
    for line in _run(hook, environment, host, writable).splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and key == _ANSWERS[hook.phase]:
            answer = value.strip()
        elif line.strip():
            host.on_output(line)
    return answer


def _run(hook: _Hook, environment: Mapping[str, str], host: HostRun, writable: Path | None) -> str:
    origin = hook.flavour.origin.absolute()
    sandboxed = host.policy == "sandbox"
    around = (
        sandbox.around_host_hook(writable, origin) if sandboxed else contextlib.nullcontext(sandbox.Wrapper())
    )
    try:
        with around as wrapper:
            done = process.run(
                [*wrapper.argv, str(hook.path)],
                env={**process.proxies(), **host.environment, **environment},
                options=process.ProcessOptions(
                    cwd=hook.flavour.origin, umask=_UMASK, pass_fds=wrapper.pass_fds
                ),
                capture=True,
                streams=process.Streams(on_output=host.on_output),
                check=False,
            )
    except OSError as error:
        raise HookFailed(
            f"the hook {hook.path} cannot be run: {error.strerror}",
            hint="does its first line name an interpreter?",
        ) from error
    if done.returncode != 0:
        raise HookFailed(
            f"the hook {hook.name} of flavour {hook.flavour.name!r} in {hook.phase} "
            f"{process.describe_exit(done.returncode)}",
            hint="\n".join([f"it is {hook.path}", *(f"| {line}" for line in done.tail)]),
        )
    return done.stdout
