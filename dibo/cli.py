"""The face: the only file that parses argv, and where errors become exit codes.

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
from dibo.errors import DiboError, Interrupted, UsageError
from dibo.report import Report, log_commands
from dibo.settings import RAMDISK_VARIABLES, VARIABLES, Options

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
    from dibo.process import interruptible

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
    _add_build_options(plan)
    plan.add_argument("--containerfile", metavar="DIR", help="write a Containerfile and its context to DIR")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    build = command("build", "build the layers, an OCI image", _build)
    _add_build_options(build)
    build.add_argument("--tag", metavar="NAME", help="name the image, such as localhost/web")
    build.add_argument("--push", metavar="NAME", help="push the image: HOST/PATH:TAG")
    build.add_argument(
        "--include-local", action="store_true", help="push also what holds data of this user or machine"
    )
    convert = command("convert", "make a disk of an image that somebody pushed, with no privileges", _convert)
    _add_convert_options(convert)
    why = command("why", "say which layers are missing, and what differs from those that are kept", _why)
    _add_build_options(why)
    _add_cache_command(command("cache", "look after the layers in a registry", _cache))
    flavours = command("flavours", "list the flavours, or show some in full", _run("flavours"))
    _add_flavours_path(flavours)
    _add_flavours(flavours, nargs="*")
    shell = command("shell", "open a shell in a layer, or in what a failed hook left", _run("shell"))
    _add_build_options(shell, nargs="*")
    shell.add_argument(
        "--at", metavar="NAME", help="a key, or failed-KEY as an error named it; a beginning is enough"
    )
    shell.add_argument("--run", metavar="COMMAND", help="run this instead of an interactive shell")
    doctor = command("doctor", "try what builds and conversions need on this machine", _run("doctor"))
    _add_base_options(doctor)
    doctor.add_argument("-x", action="store_true", help="show each command that is run")
    schema = command("schema", "print the JSON schema of a file, for editors", _run("schema"))
    schema.add_argument("file", choices=["flavour"], help="flavour: flavour.yaml")
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
    _add_artefact_options(parser)
    _add_build_options(parser)
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
    _add_build_options(parser, base="ramdisk-base")
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


def _add_artefact_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", metavar="NAME", dest="name", help="write NAME.TYPE (image)")
    parser.add_argument("-t", metavar="TYPES", dest="types", help="artefacts, separated by commas (qcow2)")
    parser.add_argument("--image-size", metavar="GB", help="size of the disk; fractions allowed (2)")
    parser.add_argument("--fs-type", metavar="TYPE", dest="filesystem", help="root file system (ext4)")
    parser.add_argument(
        "--converters-path",
        metavar="DIR",
        action="append",
        default=[],
        help="look for converters in DIR first",
    )


def _add_convert_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reference",
        metavar="IMAGE",
        help="[HOST[:PORT]/]PATH[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:DIR, "
        "containers-storage:NAME, docker-daemon:NAME",
    )
    _add_artefact_options(parser)
    parser.add_argument(
        "-a", metavar="ARCH", dest="architecture", help="which image of several (this machine's)"
    )
    layout = parser.add_mutually_exclusive_group()
    layout.add_argument(
        "--layout", metavar="FILE", help="lay the disk out as this YAML says (as flavour vm does)"
    )
    layout.add_argument(
        "--bare", action="store_true", help="no partitions, no boot loader: the file system alone"
    )
    parser.add_argument("--checksum", action="store_true", help="write NAME.TYPE.sha256 beside each artefact")
    parser.add_argument("--max-entries", metavar="N", help="refuse a root with more files (2000000)")
    parser.add_argument(
        "--max-ratio", metavar="N", help="refuse a layer that unpacks to more times its size (1000)"
    )
    parser.add_argument("--max-size", metavar="GB", help="refuse a root that unpacks to more (128)")
    parser.add_argument(
        "--engine", metavar="NAME", help="what makes boot files where they are missing (auto)"
    )
    parser.add_argument("--cache-dir", metavar="DIR", help="dibo's cache (~/.cache/dibo)")
    parser.add_argument("-x", action="store_true", help="show each command that is run")


def _add_build_options(parser: argparse.ArgumentParser, *, nargs: str = "+", base: str = "base") -> None:
    _add_base_options(parser)
    parser.add_argument("-x", action="store_true", help="show each command, and all output of hooks")
    parser.add_argument("--epoch", metavar="NAME", help="the state of the world to build in (this month)")
    parser.add_argument("--refresh", action="store_true", help="build every layer anew")
    _add_cache_options(parser)
    parser.add_argument(
        "--no-base",
        action="store_false",
        dest="with_base",
        help=f"leave out the flavour `{base}`, and so the kernel",
    )
    _add_flavours_path(parser)
    _add_flavours(parser, nargs=nargs)


def _add_cache_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=["list", "prune", "verify"],
        help="list: sizes, ages, use; prune: remove layers; verify: read everything, check every digest",
    )
    parser.add_argument("repository", metavar="REF", help="the repository, HOST/PATH")
    parser.add_argument("--json", action="store_true", help="list as JSON")
    parser.add_argument(
        "--older-than", metavar="DAYS", type=int, help="prune what was not used for so many days"
    )
    parser.add_argument(
        "--keep-stack",
        metavar="FLAVOURS",
        action="append",
        default=[],
        help="prune no layer of this stack as it is now: names separated by commas; may be repeated",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only show what prune would remove (the default)"
    )
    parser.add_argument("--yes", action="store_true", help="remove it")
    _add_base_options(parser)
    parser.add_argument("--epoch", metavar="NAME", help="of the stacks that are kept (this month)")
    parser.add_argument(
        "--no-base", action="store_false", dest="with_base", help="stacks that are kept are without `base`"
    )
    _add_flavours_path(parser)
    parser.add_argument("-x", action="store_true", help="show what is looked at")


def _add_cache_options(parser: argparse.ArgumentParser) -> None:
    for option, name, text in (
        ("--cache", "caches", "read layers from this repository, HOST/PATH, and store them there"),
        ("--cache-from", "caches_from", "only read layers from this repository; may be repeated"),
        ("--cache-to", "caches_to", "only store layers in this repository; may be repeated"),
    ):
        parser.add_argument(option, metavar="REF", dest=name, action="append", default=[], help=text)
    parser.add_argument(
        "--layer-compression", metavar="HOW", help="of layers that are stored: zstd, gzip or none (zstd)"
    )


def _add_base_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", metavar="ARCH", dest="architecture", help="architecture: amd64, arm64, i386")
    parser.add_argument(
        "--base",
        metavar="BASE",
        help="what to start from: ubuntu, debian, either with :RELEASE, oci:DIR[:TAG], an image reference, "
        "a tarball, a URL (ubuntu)",
    )
    parser.add_argument("--release", metavar="NAME", help="release of the base")
    parser.add_argument("--sha256", metavar="HEX", help="digest that a tarball or URL must have")
    parser.add_argument("--mirror", metavar="URL", help="Debian mirror to build from")
    parser.add_argument("--keyring", metavar="FILE", help="keyring with the key of the Ubuntu images")
    parser.add_argument(
        "--offline", action="store_true", help="use what is kept, ask no server about the base"
    )
    parser.add_argument("--engine", metavar="NAME", help="what builds: buildah, docker, auto (auto)")
    parser.add_argument("--cache-dir", metavar="DIR", help="dibo's cache (~/.cache/dibo)")


def _add_flavours_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--flavours-path", metavar="DIR", action="append", default=[], help="look for flavours in DIR first"
    )


def _add_flavours(parser: argparse.ArgumentParser, *, nargs: str) -> None:
    argument = parser.add_argument("flavours", nargs=nargs, metavar="FLAVOUR")
    argument.completer = _complete_flavours  # type: ignore[attr-defined]


def _complete_flavours(prefix: str, parsed_args: argparse.Namespace, **_rest: object) -> list[str]:
    from dibo import commands

    return [name for name in commands.flavour_names(_options(parsed_args)) if name.startswith(prefix)]


def _options(arguments: argparse.Namespace) -> Options:
    given = vars(arguments)

    def text(name: str) -> str | None:
        value = given.get(name)
        return None if value is None else str(value)

    return Options(
        flavours=tuple(given.get("flavours") or ()),
        architecture=text("architecture"),
        name=text("name"),
        types=text("types"),
        base=text("base"),
        release=text("release"),
        image_size=text("image_size"),
        filesystem=text("filesystem"),
        flavours_path=tuple(given.get("flavours_path") or ()),
        converters_path=tuple(given.get("converters_path") or ()),
        cache_dir=text("cache_dir"),
        mirror=text("mirror"),
        epoch=text("epoch"),
        engine=text("engine"),
        caches=tuple(given.get("caches") or ()),
        caches_from=tuple(given.get("caches_from") or ()),
        caches_to=tuple(given.get("caches_to") or ()),
        layer_compression=text("layer_compression"),
        sha256=text("sha256"),
        keyring=text("keyring"),
        offline=bool(given.get("offline")),
        refresh=bool(given.get("refresh")),
        with_base=bool(given.get("with_base", True)),
        verbose=bool(given.get("x")),
    )


def _convert(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo convert`."""
    from dibo import convert_command

    return convert_command.run(
        _options(arguments),
        report,
        reference=arguments.reference,
        layout=Path(arguments.layout) if arguments.layout else None,
        bare=arguments.bare,
        checksums=arguments.checksum,
        limits=convert_command.limits(arguments.max_entries, arguments.max_size, arguments.max_ratio),
    )


def _build(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo build`."""
    options = _options(arguments)
    if arguments.push is None:
        from dibo import commands

        return commands.build(options, report, tag=arguments.tag)
    from dibo import cache_commands

    return cache_commands.build_and_push(
        options, report, tag=arguments.tag, push=arguments.push, include_local=arguments.include_local
    )


def _ramdisk(arguments: argparse.Namespace, report: Report) -> int:
    """The command `ramdisk-image-create`."""
    from dibo import ramdisk_command

    return ramdisk_command.create(
        _options(arguments),
        report,
        kernel_version=arguments.kernel_version,
        module_root=arguments.module_root,
        compression=arguments.compress,
        microcode=arguments.microcode,
    )


def _get_kernel(arguments: argparse.Namespace, report: Report) -> int:
    """The command `disk-image-get-kernel`."""
    from dibo import get_kernel_command

    wanted = get_kernel_command.Wanted(
        image=arguments.image,
        image_option=arguments.image_option,
        directory=Path(arguments.directory) if arguments.directory else None,
        prefix=arguments.prefix,
        version=arguments.kernel,
        with_cmdline=arguments.cmdline,
        only_list=arguments.list,
    )
    return get_kernel_command.get_kernel(_options(arguments), report, wanted)


def _why(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo why`."""
    from dibo import cache_commands

    return cache_commands.explain(_options(arguments), report)


def _cache(arguments: argparse.Namespace, report: Report) -> int:
    """The command `dibo cache`."""
    from dibo import cache_commands

    match arguments.action:
        case "list":
            return cache_commands.list_cache(arguments.repository, as_json=arguments.json)
        case "verify":
            return cache_commands.verify(report, arguments.repository)
    return cache_commands.prune(
        _options(arguments),
        report,
        arguments.repository,
        older_than=arguments.older_than,
        keep_stacks=arguments.keep_stack,
        yes=arguments.yes and not arguments.dry_run,
    )


def _run(name: str) -> Callable[[argparse.Namespace, Report], int]:
    """The function that carries out a command, imported when it is called."""

    def run(arguments: argparse.Namespace, report: Report) -> int:
        from dibo import commands

        options = _options(arguments)
        match name:
            case "create":
                return commands.create(options, report)
            case "plan":
                directory = Path(arguments.containerfile) if arguments.containerfile else None
                return commands.plan(options, report, containerfile=directory, as_json=arguments.json)
            case "flavours":
                return commands.flavours(options)
            case "shell":
                return commands.shell(options, report, at=arguments.at, run_command=arguments.run)
            case "doctor":
                return commands.doctor(options, report)
            case "schema":
                return commands.schema()
            case "completion":
                return commands.completion(arguments.shell)
        raise UsageError(f"no command {name!r}")

    return run


if __name__ == "__main__":
    sys.exit(dibo())
