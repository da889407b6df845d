"""The options that several commands share, and the request that they become: dibo.settings.settings.Options."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dibo.cli.parser import complete_with
from dibo.flavours.model import ARCHITECTURES
from dibo.settings.settings import AUTO, HOST_HOOKS, ISOLATIONS, NETWORKS, Options
from dibo.settings.values import LAYER_COMPRESSIONS

if TYPE_CHECKING:
    from dibo.settings.settings import Settings


def whole_number(*, least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """What argparse converts a number with."""
    bounds = f"of {least} or more" if most is None else f"from {least} to {most}"

    def convert(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= (most or int(text)):
            raise argparse.ArgumentTypeError(f"expected a number {bounds}, got {text!r}")
        return int(text)

    return convert


def path_of(text: str | None) -> Path | None:
    return Path(text) if text else None


def add_artefact_options(parser: argparse.ArgumentParser, output: str = "write NAME.TYPE (image)") -> None:
    parser.add_argument("-o", "--output", metavar="NAME", dest="name", help=output)
    add_types(parser, "the ending of NAME, or qcow2")
    parser.add_argument("--image-size", metavar="GB", help="size of the disk, fractions allowed (2)")
    add_filesystem(parser, "root file system (ext4)")
    parser.add_argument(
        "--loop", action="store_true", help="make disks on a loop device, with mkfs and mount; needs root"
    )
    add_converters_path(parser)
    add_provenance(parser)


def add_provenance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--provenance",
        action="store_true",
        help="write NAME.provenance.json, an in-toto statement, signed if there is a key",
    )


def add_types(parser: argparse.ArgumentParser, default: str = "qcow2") -> None:
    types = parser.add_argument(
        "-t", "--type", metavar="TYPES", dest="types", help=f"artefacts, separated by commas ({default})"
    )
    complete_with(types, _types)


def add_filesystem(parser: argparse.ArgumentParser, text: str) -> None:
    argument = parser.add_argument("--fs-type", metavar="TYPE", dest="filesystem", help=text)
    complete_with(argument, lambda _: ("ext4", "ext3", "ext2", "xfs", "btrfs"))


def add_converters_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--converters-path",
        metavar="DIR",
        action="append",
        default=[],
        help="search DIR for converters first",
    )


def add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch", action="store_true", help="build again whenever a flavour of the stack changes, until ^C"
    )


def add_layout_option(parser: argparse._ActionsContainer, text: str) -> None:
    parser.add_argument("--layout", metavar="FILE", help=text)


def add_verbose(
    parser: argparse.ArgumentParser, text: str = "show each command, and all output of hooks"
) -> None:
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("-x", "--verbose", action="store_true", help=text)
    amount.add_argument(
        "-q", "--quiet", action="store_true", help="show no progress and no summary, only warnings and errors"
    )


def add_architecture(
    parser: argparse.ArgumentParser, text: str = "architecture: amd64, arm64, armhf, i386, riscv64"
) -> None:
    argument = parser.add_argument("-a", "--arch", metavar="ARCH", dest="architecture", help=text)
    complete_with(argument, lambda _: ARCHITECTURES)


def add_base_options(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument(
        "--base",
        metavar="BASE",
        help="root to start from: ubuntu, debian, either with :RELEASE, oci:DIR[:TAG], an image reference, "
        "a tarball, a URL (ubuntu)",
    )
    complete_with(argument, _bases)
    parser.add_argument("--release", metavar="NAME", help="release of the base")
    add_base_source(parser)


def add_base_source(parser: argparse.ArgumentParser) -> None:
    """Where the base comes from, whichever it is."""
    parser.add_argument("--sha256", metavar="HEX", help="digest that a tarball or URL must have")
    parser.add_argument("--mirror", metavar="URL", help="Debian mirror to install from")
    parser.add_argument("--keyring", metavar="FILE", help="keyring with the key of the Ubuntu images")
    parser.add_argument("--keyserver", metavar="URL", help="keyserver that has this key, or none (Ubuntu's)")
    parser.add_argument("--offline", action="store_true", help="use only cached downloads")


def add_engine_choice(
    parser: argparse.ArgumentParser, text: str = "engine: buildah, docker, auto (auto)"
) -> None:
    engine = parser.add_argument("--engine", metavar="NAME", help=text)
    complete_with(engine, lambda _: (AUTO, "buildah", "docker"))


def add_engine(parser: argparse.ArgumentParser, text: str = "engine: buildah, docker, auto (auto)") -> None:
    add_engine_choice(parser, text)
    isolation = parser.add_argument(
        "--isolation", metavar="HOW", help="isolation of steps: bwrap, chroot (bwrap)"
    )
    complete_with(isolation, lambda _: ISOLATIONS)
    network = parser.add_argument("--network", metavar="HOW", help="network of steps: host, none (host)")
    complete_with(network, lambda _: NETWORKS)


def add_host_hooks(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument(
        "--host-hooks", metavar="HOW", dest="host_hooks", help="hooks on the host: run, sandbox, none (run)"
    )
    complete_with(argument, lambda _: HOST_HOOKS)


def add_cache_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache-dir", metavar="DIR", help="directory for downloads and runs (~/.cache/dibo)")


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Of what to build for, from what, and with what."""
    add_architecture(parser)
    add_base_options(parser)
    add_engine(parser)
    add_cache_directory(parser)


def add_build_options(parser: argparse.ArgumentParser, *, nargs: str = "+", base: str = "base") -> None:
    _add_stack_options(parser, nargs=nargs, base=base)
    add_verbose(parser)
    add_read_cache_options(parser)
    parser.add_argument("--refresh", action="store_true", help="rebuild every layer")
    add_store_options(parser)


def add_stack_options(parser: argparse.ArgumentParser, *, nargs: str = "+", base: str = "base") -> None:
    """Of what decides layers, and where they are looked for; nothing is built or stored."""
    _add_stack_options(parser, nargs=nargs, base=base)
    add_verbose(parser, "show each command that is run")
    add_read_cache_options(
        parser,
        cache="look for layers in this repository, HOST/PATH; may be repeated",
        cache_from="the same as --cache",
    )


def _add_stack_options(parser: argparse.ArgumentParser, *, nargs: str, base: str) -> None:
    """Of what decides layers."""
    add_machine_options(parser)
    add_host_hooks(parser)
    add_epoch_options(parser)
    add_secret_option(parser)
    parser.add_argument(
        "-n",
        "--no-base",
        action="store_false",
        dest="with_base",
        help=f"omit the flavour `{base}`, and with it the kernel; or the element `base`",
    )
    parser.add_argument(
        "-p",
        "--packages",
        metavar="NAMES",
        action="append",
        default=[],
        help="packages to install after install.d of elements, separated by commas",
    )
    add_flavours_path(parser)
    add_flavours(parser, nargs=nargs)


def add_epoch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--epoch", metavar="NAME", help="name of the state of package archives to build from (this month)"
    )
    parser.add_argument(
        "--locked",
        dest="lock",
        action="store_const",
        const="dibo.lock",
        help="build what dibo.lock here says, as `dibo lock` writes it",
    )


def add_secret_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--secret",
        metavar="NAME=FILE",
        dest="secrets",
        action="append",
        default=[],
        help="value of a secret that a flavour declares, or NAME=env:VARIABLE; may be repeated",
    )


def add_cache_options(parser: argparse.ArgumentParser) -> None:
    add_read_cache_options(parser)
    add_store_options(parser)


def add_read_cache_options(
    parser: argparse.ArgumentParser,
    cache: str = "read layers from this repository, HOST/PATH, and store them there",
    cache_from: str = "only read layers from this repository; may be repeated",
) -> None:
    for option, name, text in (("--cache", "caches", cache), ("--cache-from", "caches_from", cache_from)):
        parser.add_argument(option, metavar="REF", dest=name, action="append", default=[], help=text)
    add_verify_key_options(parser)


def add_store_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache-to",
        metavar="REF",
        dest="caches_to",
        action="append",
        default=[],
        help="only store layers in this repository; may be repeated",
    )
    text = "also store files of packages, and fetched files, where layers are stored"
    parser.add_argument("--cache-files", action="store_const", const="1", help=text)
    argument = parser.add_argument(
        "--layer-compression", metavar="HOW", help="compression of stored layers: zstd, gzip, none (zstd)"
    )
    complete_with(argument, lambda _: LAYER_COMPRESSIONS)
    add_sign_option(parser)


def add_sign_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sign-key", metavar="FILE", help="sign stored and pushed images with this private key"
    )


def add_verify_key_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--verify-key",
        metavar="FILE",
        dest="verify_keys",
        action="append",
        default=[],
        help="accept only images signed by this public key; may be repeated",
    )
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="accept only images signed by the keys that this YAML lists for their repository",
    )


def add_flavours_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--flavours-path", metavar="DIR", action="append", default=[], help="search DIR for flavours first"
    )


def add_flavours(parser: argparse.ArgumentParser, *, nargs: str) -> None:
    argument = parser.add_argument("flavours", nargs=nargs, metavar="FLAVOUR")
    complete_with(argument, flavours_to_complete)


def flavours_to_complete(arguments: argparse.Namespace) -> list[str]:
    from dibo.api.flavours import flavour_names

    return flavour_names(settings_of(arguments, os.environ))


def project_flavours_to_complete(arguments: argparse.Namespace) -> list[str]:
    """With those that images of the project file find."""
    from dibo.api.flavours import flavour_names

    return flavour_names(_settings_to_complete(arguments))


def _settings_to_complete(arguments: argparse.Namespace) -> Settings:
    """With the search paths of the project file, for a command that takes one; an error of that file is not shown while
    a shell completes."""
    from dibo.api.projects.images import open_project
    from dibo.api.settings import current_settings
    from dibo.errors import DiboError

    project = None
    if "project" in arguments:
        with contextlib.suppress(DiboError):
            project = open_project(arguments.project, os.environ)
    return current_settings(options_of(arguments), os.environ, project=project)


def _types(arguments: argparse.Namespace) -> tuple[str, ...]:
    from dibo.artefacts.converter import Converters
    from dibo.system.resources import shared

    return Converters((*_settings_to_complete(arguments).converters_path, shared("converters"))).types


def _bases(_arguments: argparse.Namespace) -> tuple[str, ...]:
    from dibo.build.bases.releases import DEBIAN, UBUNTU

    names = {"ubuntu": UBUNTU, "debian": DEBIAN, "debian-minimal": DEBIAN}
    named = [f"{name}:{release}" for name, of in names.items() for release in of.values()]
    return (*names, *named, "oci:", "docker://")


def variables_text(variables: Mapping[str, str]) -> str:
    """The part of a help that explains environment variables."""
    width = max(len(name) for name in variables) + 2
    lines = "\n".join(f"  {name:{width}}{text}" for name, text in variables.items())
    return f"environment variables, overridden by options:\n{lines}\n"


def settings_of(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """What the command was asked for, decided."""
    from dibo.api.settings import current_settings

    return current_settings(options_of(arguments), environment)


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
        lock=text("lock"),
        engine=text("engine"),
        isolation=text("isolation"),
        network=text("network"),
        host_hooks=text("host_hooks"),
        caches=tuple(given.get("caches") or ()),
        caches_from=tuple(given.get("caches_from") or ()),
        caches_to=tuple(given.get("caches_to") or ()),
        cache_files=text("cache_files"),
        layer_compression=text("layer_compression"),
        sign_key=text("sign_key"),
        verify_keys=tuple(given.get("verify_keys") or ()),
        policy=text("policy"),
        secrets=tuple(given.get("secrets") or ()),
        packages=tuple(given.get("packages") or ()),
        sha256=text("sha256"),
        keyring=text("keyring"),
        keyserver=text("keyserver"),
        offline=bool(given.get("offline")),
        refresh=bool(given.get("refresh")),
        with_base=bool(given.get("with_base", True)),
        verbose=bool(given.get("verbose")),
        loop=bool(given.get("loop")),
        provenance=bool(given.get("provenance")),
    )
