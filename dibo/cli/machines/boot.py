"""`dibo boot`: an image, booted in QEMU."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dibo.cli.options import (
    add_architecture,
    add_cache_directory,
    add_flavours_path,
    add_secret_option,
    add_verbose,
    add_verify_key_options,
    options_of,
    path_of,
    settings_of,
    whole_number,
)
from dibo.cli.output import add_json, check_watch, show
from dibo.cli.parser import complete_with
from dibo.cli.projects.boot import image_request
from dibo.cli.projects.names import (
    add_project_option,
    build_of_image,
    complete_images,
    image_of,
    image_of_file,
)
from dibo.errors import UsageError
from dibo.system.report import Report, answer

if TYPE_CHECKING:
    from dibo.api.machines.boot import BootOutputs
    from dibo.api.machines.request import BootRequest
    from dibo.projects.model import ProjectImage

SUMMARY: Final = "boot an image in QEMU: the console here, or steps of a test"
EPILOG: Final = """\
IMAGE is a disk image in any format that dibo makes, packed or not; a directory of the type microvm or netboot;
or a container image, as `dibo convert` takes it. It stays as it is, unless --write is given.

Steps are carried out in the order in which they are given; the exit code is that of the command that failed.

examples:
  dibo boot web.qcow2                                         # the console is this terminal
  dibo boot --run 'systemctl is-system-running' web.qcow2     # for CI"""

_FIRMWARE: Final = ("auto", "bios", "uefi", "secure-boot", "u-boot", "none")
_MACHINES: Final = ("q35", "pc", "microvm", "virt", "pseries", "s390-ccw-virtio")
_STEPS: Final = {
    "expect": ("REGEX", "wait until the console shows this"),
    "type": ("TEXT", "type a line on the console"),
    "run": ("COMMAND", "run a shell command over SSH; another exit code than 0 ends the boot"),
    "wait": ("SECONDS", "wait"),
    "screenshot": ("FILE.png", "write a picture of the screen"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    image = parser.add_argument(
        "image",
        nargs="?",
        metavar="IMAGE",
        help="disk image, directory, or container image; or an image of the project file that was built",
    )
    complete_images(image)
    add_project_option(parser)
    parser.add_argument(
        "--test", metavar="NAME", help="the steps and options of this test of the project file"
    )
    _add_machine(parser)
    _add_login(parser)
    for name, (metavar, text) in _STEPS.items():
        parser.add_argument(
            f"--{name}",
            metavar=metavar,
            dest="steps",
            action="append",
            type=_step(name),
            help=f"step: {text}",
        )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=whole_number(least=1),
        help="time for all steps (600), or for the machine to end by itself (no limit)",
    )
    parser.add_argument("--console", metavar="FILE", help="write all that the console shows to FILE")
    parser.add_argument(
        "--kit", metavar="IMAGE", help="kit for a container image without a kernel (DIBO_KIT)"
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="build the disk again whenever its flavours change, and copy changed files into the machine, or boot anew",
    )
    add_flavours_path(parser)
    add_secret_option(parser)
    add_cache_directory(parser)
    add_verify_key_options(parser)
    add_verbose(parser, "show the console during steps, and each command that is run")
    add_json(parser)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add_architecture(parser, "architecture (that of the image)")
    _add_choice(parser, "--firmware", _FIRMWARE, "with none, QEMU loads the kernel of the image")
    _add_choice(parser, "--accel", ("auto", "kvm", "tcg", "hvf"), "with auto, KVM where it works")
    machine = parser.add_argument(
        "--machine", metavar="NAME", help=f"machine that QEMU emulates: {', '.join(_MACHINES)}"
    )
    complete_with(machine, lambda _: _MACHINES)
    number = whole_number(least=1)
    parser.add_argument("--cpus", metavar="N", type=number, help="processors (1)")
    parser.add_argument("--memory", metavar="MB", type=number, help="memory, in units of 2^20 bytes (1024)")
    parser.add_argument(
        "-p",
        "--port",
        metavar="PORTS",
        dest="ports",
        action="append",
        default=[],
        help="forward a port: [[ADDRESS:]HERE:]GUEST[/udp]; may be repeated",
    )
    _add_choice(
        parser, "--network", ("user", "isolated", "none"), "isolated lets nothing out", dest="guest_network"
    )
    parser.add_argument(
        "--size", metavar="GB", help="size of the disk in this boot, fractions allowed (that of the image)"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the machine's changes in the image; shut it down in order"
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        dest="machine_name",
        help="name for `dibo ssh`, and host name (that of the image)",
    )
    parser.add_argument("--kernel", metavar="FILE", help="kernel that QEMU loads")
    parser.add_argument("--initrd", metavar="FILE", help="initramfs of --kernel")
    parser.add_argument(
        "--append", metavar="TEXT", default="", help="arguments of a kernel that QEMU loads, besides its own"
    )


def _add_login(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="NAME", help="user that logs in (that of the image, else root)")
    parser.add_argument("--password", metavar="TEXT", default="", help="password of the user on the console")
    parser.add_argument(
        "--ssh-key",
        metavar="FILE",
        dest="public_keys",
        action="append",
        help="public key that may log in as well (~/.ssh/id_*.pub); may be repeated",
    )
    parser.add_argument(
        "--no-seed", action="store_false", dest="seed", help="tell the machine no user, key and name"
    )


def _add_choice(
    parser: argparse.ArgumentParser,
    option: str,
    words: tuple[str, ...],
    text: str,
    *,
    dest: str | None = None,
) -> None:
    """An option whose first word is the default."""
    argument = parser.add_argument(
        option,
        metavar="WORD",
        dest=dest or option.removeprefix("--"),
        help=f"{text}: {', '.join(words)} ({words[0]})",
    )
    complete_with(argument, lambda _: words)


def _step(name: str) -> Callable[[str], tuple[str, str]]:
    return lambda value: (name, value)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.machines.boot import boot, boot_answer

    request = _request(arguments)
    image = image_of_file(arguments, environment, arguments.image)
    if arguments.image is None and arguments.kernel is None:
        image = image_of(arguments, environment, ())
    if image is not None:
        request = image_request(arguments, environment, image, request)
    elif arguments.test is not None:
        raise UsageError("--test works only with an image of the project file")
    if arguments.watch:
        return _watch(arguments, environment, report, request, image)
    result = boot(settings_of(arguments, environment), request, report, _outputs(arguments, request))
    if arguments.json:
        show(arguments, boot_answer(result))
    return result.exit_code


def _watch(
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
    report: Report,
    request: BootRequest,
    image: ProjectImage | None,
) -> int:
    """The console is shown with -x only: the terminal shows what is built. Flavours are where the project file says."""
    from dibo.api.machines.boot import BootOutputs
    from dibo.api.watching.boot import watch_boot

    check_watch(arguments)
    outputs = BootOutputs(on_line=answer)
    options = options_of(arguments)
    if image is not None:
        places = build_of_image(arguments, environment, image).settings.flavours_path
        options = replace(options, flavours_path=tuple(map(str, places)))
    watch_boot(options, environment, report, request, outputs)
    return 0


def _request(arguments: argparse.Namespace) -> BootRequest:
    from dibo.api.machines.request import BootRequest
    from dibo.kits.choose import KitRequest
    from dibo.machines.steps import parse_step

    keys = arguments.public_keys
    given: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("image", "append", "architecture", "machine", "memory", "size", "write")
    }
    words = (("firmware", "firmware"), ("accel", "accelerator"), ("guest_network", "network"))
    given |= {field: word for name, field in words if (word := getattr(arguments, name)) is not None}
    return BootRequest(
        **given,
        kernel=path_of(arguments.kernel),
        initrd=path_of(arguments.initrd),
        name=arguments.machine_name,
        processors=arguments.cpus,
        ports=tuple(arguments.ports),
        seed=arguments.seed,
        user=arguments.user,
        password=arguments.password,
        public_keys=None if keys is None else tuple(filter(None, map(path_of, keys))),
        steps=tuple(parse_step(kind, value) for kind, value in arguments.steps or ()),
        timeout=arguments.timeout,
        console=path_of(arguments.console),
        kit=KitRequest(reference=arguments.kit),
    )


def _outputs(arguments: argparse.Namespace, request: BootRequest) -> BootOutputs:
    from dibo.api.machines.boot import BootOutputs
    from dibo.system import raw_terminal

    if arguments.json:
        return BootOutputs()
    if request.steps:
        return BootOutputs(on_line=answer)
    return BootOutputs(on_console=raw_terminal.show, attended=raw_terminal.is_interactive())
