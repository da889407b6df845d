"""The face: the commands and their parsers, and where errors become exit codes. Options that several have are in
dibo.cli.options; nothing else parses argv.

Imports of anything slow happen inside the commands, so that `-h` and completions answer at once.
"""

# PYTHON_ARGCOMPLETE_OK
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dibo import __version__
from dibo.cli.options import (
    add_artefact_options,
    add_base_options,
    add_boot_server_options,
    add_build_options,
    add_cache_command,
    add_convert_options,
    add_flavours,
    add_flavours_path,
    add_layout_option,
    add_plan_options,
    add_verify_options,
    options_of,
)
from dibo.errors import DiboError, Interrupted, UsageError
from dibo.settings.settings import RAMDISK_VARIABLES, VARIABLES
from dibo.system.report import Report, log_commands

_PHASES = """\
phases of a flavour, in the order they run:
  block-device-size.d  on the host: prints IMAGE_SIZE=n
  block-device.d       on the host: prints IMAGE_BLOCK_DEVICE=path
  extra-data.d         on the host, as the user: puts files into $TMP_HOOKS_PATH
  pre-install.d        in the root, all flavours' before any install.d
  install.d            in the root, each flavour's packages first
  first-boot.d         at the first boot of a machine, once
"""


def dibo(argv: Sequence[str] | None = None) -> int:
    """The command `dibo`."""
    return _main(_dibo_parser(), argv)


def disk_image_create(argv: Sequence[str] | None = None) -> int:
    """The command `disk-image-create`."""
    return _main(_create_parser(), argv)


def ramdisk_image_create(argv: Sequence[str] | None = None) -> int:
    """The command `ramdisk-image-create`."""
    return _main(_ramdisk_parser(), argv)


def disk_image_get_kernel(argv: Sequence[str] | None = None) -> int:
    """The command `disk-image-get-kernel`."""
    return _main(_get_kernel_parser(), argv)


def _main(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser, always_complete_options=False)  # only after a dash
    arguments = parser.parse_args(argv)
    report = Report(verbose=bool(getattr(arguments, "x", False)))
    if getattr(arguments, "x", False):
        log_commands(report)
    from dibo.system.process import interruptible

    try:
        with interruptible():
            command: Callable[[argparse.Namespace, Report], int] = arguments.command
            return command(arguments, report)
    except DiboError as error:
        report.error(error)
        return error.exit_code
    except Interrupted as stop:
        report.say(f"dibo: stopped by signal {stop.signum}; nothing was left behind")
        return 128 + stop.signum
    except BrokenPipeError:  # `dibo flavours | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk under the cache, say
        report.error(DiboError(str(error), hint="`dibo doctor` looks at the cache and the room there"))
        return DiboError.exit_code


def _dibo_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dibo", description="Build disk images from flavours, as layers of a container build."
    )
    parser.add_argument("--version", action="version", version=f"dibo {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, text: str, run: Callable[[argparse.Namespace, Report], int]
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=run)
        return sub

    plan = command("plan", "show what would be built, and what the cache holds of it", _run("plan"))
    add_build_options(plan, nargs="*")
    add_plan_options(plan)
    build = command("build", "build the layers, an OCI image", _build)
    add_build_options(build)
    build.add_argument("--tag", metavar="NAME", help="name the image, such as localhost/web")
    build.add_argument("--push", metavar="NAME", help="push the image: HOST/PATH:TAG")
    build.add_argument(
        "--include-local", action="store_true", help="push also what holds data of this user or machine"
    )
    convert = command("convert", "make a disk of an image that somebody pushed, with no privileges", _convert)
    add_convert_options(convert)
    push = command("push", "put a disk, or a ramdisk with its kernel, into a registry", _push)
    push.add_argument("file", metavar="FILE", help="a raw disk, a qcow2, or a ramdisk")
    push.add_argument("reference", metavar="REFERENCE", help="where to: HOST[:PORT]/PATH[:TAG]")
    verify = command("verify", "build an image again from its manifest, and compare", _verify)
    add_verify_options(verify)
    why = command("why", "say which layers are missing, and what differs from those that are kept", _why)
    add_build_options(why)
    add_cache_command(command("cache", "look after the layers in a registry", _cache))
    flavours = command("flavours", "list the flavours, or show some in full", _run("flavours"))
    add_flavours_path(flavours)
    add_flavours(flavours, nargs="*")
    shell = command("shell", "open a shell in a layer, or in what a failed hook left", _run("shell"))
    add_build_options(shell, nargs="*")
    shell.add_argument(
        "--at", metavar="NAME", help="a key, or failed-KEY as an error named it; a beginning is enough"
    )
    shell.add_argument("--run", metavar="COMMAND", help="run this instead of an interactive shell")
    add_boot_server_options(
        command("boot-server", "boot machines over the network, write images to their disks", _boot_server)
    )
    doctor = command("doctor", "try what builds and conversions need on this machine", _run("doctor"))
    add_base_options(doctor)
    doctor.add_argument("-x", action="store_true", help="show each command that is run")
    schema = command("schema", "print the JSON schema of a file, for editors", _run("schema"))
    schema.add_argument(
        "file",
        choices=["flavour", "layout", "manifest"],
        help="flavour.yaml, layout.yaml, or the manifest of an image",
    )
    completion = command("completion", "print the completion script for a shell", _run("completion"))
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    return parser


def _create_parser() -> argparse.ArgumentParser:
    width = max(len(name) for name in VARIABLES) + 2
    variables = "\n".join(f"  {name:{width}}{text}" for name, text in VARIABLES.items())
    parser = argparse.ArgumentParser(
        prog="disk-image-create",
        description="Build a disk image from flavours, without root.",
        epilog=f"environment variables, overridden by options:\n{variables}\n\n{_PHASES}\n"
        "example:\n  disk-image-create -o web --base debian vm my-flavour      # web.qcow2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=_run("create"))
    parser.add_argument("--version", action="version", version=f"disk-image-create {__version__}")
    add_artefact_options(parser)
    add_layout_option(parser, "lay the disk out as this YAML says (as the flavours do)")
    add_build_options(parser)
    return parser


def _ramdisk_parser() -> argparse.ArgumentParser:
    variables = {**VARIABLES, **RAMDISK_VARIABLES}
    for name in ("FS_TYPE", "IMAGE_TYPE", "IMAGE_SIZE", "DIBO_CONVERTERS_PATH", "DIBO_QCOW2_COMPRESSION"):
        del variables[name]
    width = max(len(name) for name in variables) + 2
    lines = "\n".join(f"  {name:{width}}{text}" for name, text in variables.items())
    parser = argparse.ArgumentParser(
        prog="ramdisk-image-create",
        description="Build a kernel and an initramfs from flavours, without root.",
        epilog=f"environment variables, overridden by options:\n{lines}\n\n"
        "example:\n  ramdisk-image-create -o deploy.ramdisk --base debian deploy   # and deploy.kernel",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=_ramdisk)
    parser.add_argument("--version", action="version", version=f"ramdisk-image-create {__version__}")
    parser.add_argument(
        "-o", metavar="FILE", dest="name", help="write the initramfs to FILE, the kernel beside it (ramdisk)"
    )
    parser.add_argument("-k", metavar="VERSION", dest="kernel_version", help="kernel to take (the newest)")
    parser.add_argument(
        "-m",
        metavar="PATH",
        dest="module_root",
        help="take kernel, modules and firmware from there; / is this machine",
    )
    parser.add_argument(
        "--compress", metavar="HOW", help="zstd, gzip, xz, none; or with a level, zstd:19 (zstd:9)"
    )
    parser.add_argument("--microcode", action="store_true", help="put the root's microcode first")
    add_build_options(parser, base="ramdisk-base")
    return parser


def _get_kernel_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="disk-image-get-kernel",
        description="Take the newest kernel and its ramdisk out of a disk image, without root.",
        epilog="prints PREFIX-vmlinuz,PREFIX-initrd last\n\nexample:\n"
        "  disk-image-get-kernel --cmdline web.qcow2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=_get_kernel)
    parser.add_argument("--version", action="version", version=f"disk-image-get-kernel {__version__}")
    parser.add_argument(
        "image", nargs="?", metavar="FILE", help="the disk image: raw, qcow2, vmdk, vhdx, vdi"
    )
    parser.add_argument("-i", metavar="FILE", dest="image_option", help="the same")
    parser.add_argument("-d", metavar="DIR", dest="directory", help="write there (the current directory)")
    parser.add_argument(
        "-o", metavar="PREFIX", dest="prefix", default="baremetal", help="how the names begin (baremetal)"
    )
    parser.add_argument(
        "--kernel", metavar="VERSION", help="take this kernel (the newest that has a ramdisk)"
    )
    parser.add_argument("--list", action="store_true", help="only list the kernels, the newest first")
    parser.add_argument(
        "--cmdline", action="store_true", help="print the command line that boots the image with them, too"
    )
    parser.add_argument("--cache-dir", metavar="DIR", help="dibo's cache (~/.cache/dibo)")
    parser.add_argument("-x", action="store_true", help="show each command that is run")
    return parser


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _convert(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo convert`."""
    from dibo.api import convert as convert_command

    return convert_command.run(
        options_of(arguments),
        report,
        reference=arguments.reference,
        layout=_path(arguments.layout),
        bare=arguments.bare,
        checksums=arguments.checksum,
        limits=convert_command.limits(arguments.max_entries, arguments.max_size, arguments.max_ratio),
    )


def _push(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo push`."""
    from dibo.api import push as push_command

    return push_command.push(report, Path(arguments.file), arguments.reference)


def _build(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo build`."""
    options = options_of(arguments)
    if arguments.push is None:
        from dibo.api import session

        return session.build(options, report, tag=arguments.tag)
    from dibo.api import cache

    return cache.build_and_push(
        options, report, tag=arguments.tag, push=arguments.push, include_local=arguments.include_local
    )


def _ramdisk(arguments: argparse.Namespace, report: Report) -> int:
    """The command `ramdisk-image-create`."""
    from dibo.api import ramdisk

    return ramdisk.create(
        options_of(arguments),
        report,
        kernel_version=arguments.kernel_version,
        module_root=arguments.module_root,
        compression=arguments.compress,
        microcode=arguments.microcode,
    )


def _get_kernel(arguments: argparse.Namespace, report: Report) -> int:
    """The command `disk-image-get-kernel`."""
    from dibo.api import get_kernel

    wanted = get_kernel.Wanted(
        image=arguments.image,
        image_option=arguments.image_option,
        directory=_path(arguments.directory),
        prefix=arguments.prefix,
        version=arguments.kernel,
        with_cmdline=arguments.cmdline,
        only_list=arguments.list,
    )
    return get_kernel.get_kernel(options_of(arguments), report, wanted)


def _verify(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo verify`."""
    from dibo.api import verify as verify_command

    return verify_command.run(
        options_of(arguments), report, path=Path(arguments.image), cached=arguments.cached
    )


def _why(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo why`."""
    from dibo.api import cache

    return cache.explain(options_of(arguments), report)


def _cache(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo cache`."""
    from dibo.api import cache

    match arguments.action:
        case "list":
            return cache.list_cache(arguments.repository, as_json=arguments.json)
        case "verify":
            return cache.verify(report, arguments.repository)
    return cache.prune(
        options_of(arguments),
        report,
        arguments.repository,
        older_than=arguments.older_than,
        keep_stacks=arguments.keep_stack,
        yes=arguments.yes and not arguments.dry_run,
    )


def _boot_server(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo boot-server`."""
    from dibo.api import boot_server

    wanted = boot_server.Wanted(
        machines=Path(arguments.machines),
        listen=arguments.listen,
        port=arguments.port,
        ramdisk=Path(arguments.ramdisk) if arguments.ramdisk else None,
        state=Path(arguments.state) if arguments.state else None,
        workers=arguments.workers,
        patience=arguments.patience,
        boot_patience=arguments.boot_patience,
    )
    return boot_server.run(report, wanted)


def _run(name: str) -> Callable[[argparse.Namespace, Report], int]:
    """The function that carries out a command, imported when it is called."""

    def run(arguments: argparse.Namespace, report: Report) -> int:
        from dibo.api import session

        options = options_of(arguments)
        match name:
            case "create":
                from dibo.api import create

                return create.create(options, report, layout_file=_path(arguments.layout))
            case "plan":
                directory = _path(arguments.containerfile)
                if arguments.layout and (options.flavours or arguments.layout_file):
                    from dibo.api import layout

                    return layout.show(options, layout_file=_path(arguments.layout_file))
                if not options.flavours:
                    raise UsageError("dibo plan wants flavours", hint="--layout-file alone can do without")
                return session.plan(options, report, containerfile=directory, as_json=arguments.json)
            case "flavours":
                return session.flavours(options)
            case "shell":
                return session.shell(options, report, at=arguments.at, run_command=arguments.run)
            case "doctor":
                return session.doctor(options, report)
            case "schema":
                return session.schema(arguments.file)
            case "completion":
                return session.completion(arguments.shell)
        raise UsageError(f"no command {name!r}")

    return run


if __name__ == "__main__":
    sys.exit(dibo())
