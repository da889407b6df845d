"""The options that commands share, and what they become: dibo.settings.settings.Options."""

from __future__ import annotations

import argparse

from dibo.settings.settings import Options


def add_artefact_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", metavar="NAME", dest="name", help="write NAME.TYPE (image)")
    parser.add_argument("-t", metavar="TYPES", dest="types", help="artefacts, separated by commas (qcow2)")
    parser.add_argument("--image-size", metavar="GB", help="size of the disk; fractions allowed (2)")
    parser.add_argument("--fs-type", metavar="TYPE", dest="filesystem", help="root file system (ext4)")
    parser.add_argument(
        "--loop", action="store_true", help="make disks on a loop device, by mkfs and mount; as root"
    )
    parser.add_argument(
        "--converters-path",
        metavar="DIR",
        action="append",
        default=[],
        help="look for converters in DIR first",
    )


def add_layout_option(parser: argparse._ActionsContainer, text: str) -> None:
    parser.add_argument("--layout", metavar="FILE", help=text)


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--containerfile", metavar="DIR", help="write a Containerfile and its context to DIR")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument(
        "--layout", action="store_true", help="draw the layout of the disk, instead of the plan"
    )
    parser.add_argument("--layout-file", metavar="FILE", help="with --layout: of this YAML (of the flavours)")
    parser.add_argument("--image-size", metavar="GB", help="with --layout: size of the disk (2)")
    parser.add_argument(
        "--fs-type", metavar="TYPE", dest="filesystem", help="with --layout: root file system (ext4)"
    )


def add_convert_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reference",
        metavar="IMAGE",
        help="[HOST[:PORT]/]PATH[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:DIR, "
        "containers-storage:NAME, docker-daemon:NAME",
    )
    add_artefact_options(parser)
    parser.add_argument(
        "-a", metavar="ARCH", dest="architecture", help="which image of several (this machine's)"
    )
    layout = parser.add_mutually_exclusive_group()
    add_layout_option(layout, "lay the disk out as this YAML says (as the image does, or flavour vm)")
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


def add_verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image", metavar="IMAGE", help="an image with its manifest beside it, or the manifest"
    )
    parser.add_argument(
        "--cached", action="store_true", help="take layers that are kept, instead of building every one anew"
    )
    add_base_options(parser)
    add_cache_options(parser)
    add_flavours_path(parser)
    parser.add_argument(
        "--converters-path",
        metavar="DIR",
        action="append",
        default=[],
        help="look for converters in DIR first",
    )
    parser.add_argument("-x", action="store_true", help="show each command, and all output of hooks")


def add_build_options(parser: argparse.ArgumentParser, *, nargs: str = "+", base: str = "base") -> None:
    add_base_options(parser)
    parser.add_argument("-x", action="store_true", help="show each command, and all output of hooks")
    parser.add_argument("--epoch", metavar="NAME", help="the state of the world to build in (this month)")
    parser.add_argument("--refresh", action="store_true", help="build every layer anew")
    add_cache_options(parser)
    parser.add_argument(
        "--no-base",
        action="store_false",
        dest="with_base",
        help=f"leave out the flavour `{base}`, and so the kernel",
    )
    add_flavours_path(parser)
    add_flavours(parser, nargs=nargs)


def add_cache_command(parser: argparse.ArgumentParser) -> None:
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
    add_base_options(parser)
    parser.add_argument("--epoch", metavar="NAME", help="of the stacks that are kept (this month)")
    parser.add_argument(
        "--no-base", action="store_false", dest="with_base", help="stacks that are kept are without `base`"
    )
    add_flavours_path(parser)
    parser.add_argument("-x", action="store_true", help="show what is looked at")


def add_boot_server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("machines", metavar="FILE", help="the machines, as YAML: ids, keys, images")
    parser.add_argument(
        "--ramdisk", metavar="RAMDISK", help="boot machines with it over iPXE; its kernel is beside it"
    )
    parser.add_argument(
        "--listen", metavar="ADDRESS", default="0.0.0.0", help="listen there; :: is all (0.0.0.0)"
    )
    parser.add_argument(
        "--port", metavar="N", default="10000", help="listen on this port; ramdisks post to 10000 (10000)"
    )
    parser.add_argument(
        "--state", metavar="STATE", help="remember there which machines are deployed (FILE.state)"
    )
    parser.add_argument("--workers", metavar="N", default="4", help="write to so many disks at once (4)")
    parser.add_argument(
        "--patience",
        metavar="SECONDS",
        default="120",
        help="give a deployment up that does not go on for so long (120)",
    )
    parser.add_argument(
        "--boot-patience",
        metavar="SECONDS",
        default="900",
        help="give a machine up that boots the ramdisk and is not heard of for so long (900)",
    )
    parser.add_argument("-x", action="store_true", help="show each command that is run")


def add_cache_options(parser: argparse.ArgumentParser) -> None:
    for option, name, text in (
        ("--cache", "caches", "read layers from this repository, HOST/PATH, and store them there"),
        ("--cache-from", "caches_from", "only read layers from this repository; may be repeated"),
        ("--cache-to", "caches_to", "only store layers in this repository; may be repeated"),
    ):
        parser.add_argument(option, metavar="REF", dest=name, action="append", default=[], help=text)
    parser.add_argument(
        "--layer-compression", metavar="HOW", help="of layers that are stored: zstd, gzip or none (zstd)"
    )
    add_sign_option(parser)
    add_verify_key_options(parser)


def add_sign_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sign-key", metavar="FILE", help="sign what is stored or pushed with this private key"
    )


def add_verify_key_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--verify-key",
        metavar="FILE",
        dest="verify_keys",
        action="append",
        default=[],
        help="use only what a key of these signed, a public key; may be repeated",
    )
    parser.add_argument(
        "--policy", metavar="FILE", help="use only what the keys signed that this YAML names by repository"
    )


def add_base_options(parser: argparse.ArgumentParser) -> None:
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


def add_flavours_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--flavours-path", metavar="DIR", action="append", default=[], help="look for flavours in DIR first"
    )


def add_flavours(parser: argparse.ArgumentParser, *, nargs: str) -> None:
    argument = parser.add_argument("flavours", nargs=nargs, metavar="FLAVOUR")
    argument.completer = _complete_flavours  # type: ignore[attr-defined]


def _complete_flavours(prefix: str, parsed_args: argparse.Namespace, **_rest: object) -> list[str]:
    from dibo.api import session

    return [name for name in session.flavour_names(options_of(parsed_args)) if name.startswith(prefix)]


def options_of(arguments: argparse.Namespace) -> Options:
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
        sign_key=text("sign_key"),
        verify_keys=tuple(given.get("verify_keys") or ()),
        policy=text("policy"),
        sha256=text("sha256"),
        keyring=text("keyring"),
        offline=bool(given.get("offline")),
        refresh=bool(given.get("refresh")),
        with_base=bool(given.get("with_base", True)),
        verbose=bool(given.get("x")),
        loop=bool(given.get("loop")),
    )
