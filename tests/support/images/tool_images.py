"""Images that conversion is tried on, each made by somebody else's tool, and each with an oracle.

A sample is a function of SAMPLES: it makes the image in the workspace and says how dibo is to be asked for it. Those
that no tool would write are in tests/support/images/crafted_images.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.support.images.corpus_workspace import SECOND, CorpusWorkspace, Sample
from tests.support.images.oci_layouts import LayerTar, simple
from tests.support.images.oracle import command, unpacked
from tests.support.images.sample_tree import CHANGE, TIMES
from tests.support.images.tree_entries import Entry, Tree, walk
from tests.support.requirements import need

SAMPLES: dict[str, Callable[[CorpusWorkspace], Sample]] = {}

_BEFORE_1970 = {
    f"times/{name}{suffix}".encode(): ("mtime",)
    for name, when in TIMES.items()
    for suffix in ("", "-directory", "-symlink")
    if when < 0
}
_GNU = ("--numeric-owner", "--sparse", "--no-recursion", "--null", "--files-from=-")
_XATTRS = ("--xattrs", "--xattrs-include=*", "--acls")


def sample(make: Callable[[CorpusWorkspace], Sample]) -> Callable[[CorpusWorkspace], Sample]:
    SAMPLES[make.__name__] = make
    return make


def _packed(shop: CorpusWorkspace, program: str, *options: str) -> tuple[Path, Path]:
    """The two layers of the tree, packed by a tar program that reads the names to pack from its input."""
    need(program)
    names = b"".join(b"./" + path + b"\0" for path in sorted(walk(shop.first)) if path)
    changed, changes = shop.changed
    found = []
    for number, (place, paths) in enumerate(((shop.first, b".\0" + names), (changed, changes))):
        found.append(shop.new(f"{number}.tar"))
        argv = [program, "-C", str(place), *options, "-cf", str(found[-1])]
        done = subprocess.run(argv, input=paths, capture_output=True)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
    return found[0], found[1]


def _layout(shop: CorpusWorkspace, layers: tuple[Path, ...], compression: str = "gzip") -> Sample:
    layout = simple(shop.new("layout"), [LayerTar(tar=tar, compression=compression) for tar in layers])
    return Sample(reference=f"oci:{layout}:latest", oracle=lambda: unpacked(layout, "latest", shop.place))


def _of_the_tree(shop: CorpusWorkspace, layout: Sample, alter: Callable[[Entry], Entry]) -> Sample:
    """The oracle is the tree that was packed, less what the format has no room for."""
    return replace(layout, oracle=lambda: {path: alter(each) for path, each in walk(shop.second).items()})


def _by_gnu_tar(entry: Entry) -> Entry:
    """It packs hard links to FIFOs as FIFOs."""
    return entry if entry.kind in ("file", "symlink") else replace(entry, links=())


def _in_gnu_format(entry: Entry) -> Entry:
    return replace(_by_gnu_tar(entry), xattrs=(), mtime=entry.mtime // SECOND * SECOND)


@sample
def gnu_tar_in_pax_format(shop: CorpusWorkspace) -> Sample:
    """umoci drops attributes with empty values, so the tree itself is the oracle."""
    layout = _layout(shop, _packed(shop, "tar", "--format=posix", *_XATTRS, *_GNU))
    return _of_the_tree(shop, layout, _by_gnu_tar)


@sample
def gnu_tar_in_gnu_format(shop: CorpusWorkspace) -> Sample:
    """umoci does not know sparse files in GNU's own format."""
    layout = _layout(shop, _packed(shop, "tar", "--format=gnu", *_GNU), compression="none")
    return _of_the_tree(shop, layout, _in_gnu_format)


@sample
def gnu_tar_with_sparse_files_of_version_0_0(shop: CorpusWorkspace) -> Sample:
    return _layout(shop, _packed(shop, "tar", "--format=posix", "--sparse-version=0.0", *_GNU))


@sample
def gnu_tar_with_sparse_files_of_version_0_1(shop: CorpusWorkspace) -> Sample:
    return _layout(shop, _packed(shop, "tar", "--format=posix", "--sparse-version=0.1", *_GNU))


@sample
def bsdtar_in_pax_format(shop: CorpusWorkspace) -> Sample:
    """ACLs come as text, which umoci does not read. Times before 1970 that are no whole seconds it writes wrong."""
    layout = _layout(shop, _packed(shop, "bsdtar", "--format=pax", "-n", "--null", "-T", "-"))
    return replace(_of_the_tree(shop, layout, lambda entry: entry), not_judged=_BEFORE_1970)


@sample
def bsdtar_in_gnu_format(shop: CorpusWorkspace) -> Sample:
    return _layout(shop, _packed(shop, "bsdtar", "--format=gnutar", "-n", "--null", "-T", "-"))


@sample
def umoci_repack(shop: CorpusWorkspace) -> Sample:
    """Whiteouts below what became a file or a symlink are among umoci's."""
    return _converted(shop, f"oci:{shop.umoci_image}:two")


@sample
def umoci_insert_opaque(shop: CorpusWorkspace) -> Sample:
    """A directory replaced by another, whose layer says that nothing below it shows through."""
    source = shop.new("source")
    (source / "of" / "umoci").mkdir(parents=True)
    (source / "of" / "umoci" / "file").write_text("inserted")
    layout = shop.new("layout")
    shutil.copytree(shop.umoci_image, layout)
    image = ("--image", f"{layout}:two")
    command("umoci", "insert", *image, "--opaque", source, "/changes")
    command("umoci", "insert", *image, "--whiteout", "/links/one")
    command("umoci", "insert", *image, source / "of", "/not/there/yet")
    # Directories that no entry describes get the time of unpacking from umoci, and 1970 from dibo.
    implied = dict.fromkeys((b"", b"not", b"not/there"), ("mtime",))
    oracle = partial(unpacked, layout, "two", shop.place)
    return Sample(reference=f"oci:{layout}:two", oracle=oracle, not_judged=implied)


def _skopeo(shop: CorpusWorkspace, target: str, *options: str) -> None:
    need("skopeo")
    source = f"oci:{shop.umoci_image}:two"
    command("skopeo", "--insecure-policy", "copy", "--quiet", *options, source, target)


def _converted(shop: CorpusWorkspace, reference: str) -> Sample:
    return Sample(reference=reference, oracle=lambda: unpacked(shop.umoci_image, "two", shop.place))


@sample
def skopeo_zstd(shop: CorpusWorkspace) -> Sample:
    layout = shop.new("zstd")
    _skopeo(shop, f"oci:{layout}:two", "--dest-compress-format=zstd")
    return _converted(shop, f"oci:{layout}:two")


@sample
def skopeo_zstd_chunked(shop: CorpusWorkspace) -> Sample:
    """Frames of zstd with frames between them that are no data."""
    layout = shop.new("chunked")
    _skopeo(shop, f"oci:{layout}:two", "--dest-compress-format=zstd:chunked")
    return _converted(shop, f"oci:{layout}:two")


@sample
def skopeo_uncompressed(shop: CorpusWorkspace) -> Sample:
    place, layout = shop.new("dir"), shop.new("plain")
    _skopeo(shop, f"dir:{place}", "--dest-decompress")
    command(
        *("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers"),
        *(f"dir:{place}", f"oci:{layout}:two"),
    )
    return _converted(shop, f"oci:{layout}:two")


@sample
def skopeo_oci_archive(shop: CorpusWorkspace) -> Sample:
    archive = shop.new("image.tar")
    _skopeo(shop, f"oci-archive:{archive}:two")
    return _converted(shop, f"oci-archive:{archive}")


@sample
def skopeo_docker_archive(shop: CorpusWorkspace) -> Sample:
    archive = shop.new("image.tar")
    _skopeo(shop, f"docker-archive:{archive}:example/two:1")
    return _converted(shop, f"docker-archive:{archive}")


@sample
def registry_with_oci_manifest(shop: CorpusWorkspace) -> Sample:
    name = f"{shop.registry.host}/corpus/two:oci"
    _skopeo(shop, f"docker://{name}", "--dest-tls-verify=false")
    return _converted(shop, name)


@sample
def registry_with_docker_schema_2(shop: CorpusWorkspace) -> Sample:
    name = f"{shop.registry.host}/corpus/two:docker"
    _skopeo(shop, f"docker://{name}", "--dest-tls-verify=false", "--format=v2s2")
    return _converted(shop, name)


def _buildah(shop: CorpusWorkspace, format: str) -> tuple[str, dict[str, str], Path]:
    """An image of two layers in a storage of its own; its name, the environment to reach it, and its tree."""
    need("buildah", "unshare")
    storage = shop.new("storage.conf")
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{shop.place}/graph"\nrunroot = "{shop.place}/run"\n'
    )
    environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage)}
    script = """
        set -eu
        c=$(buildah from scratch); m=$(buildah mount $c); cp -a "$1/." $m
        buildah commit -q --format "$3" $c localhost/corpus:one; buildah rm $c
        c=$(buildah from --pull-never localhost/corpus:one); m=$(buildah mount $c); sh -c "$2" sh $m
        buildah commit -q --format "$3" $c localhost/corpus:two; buildah rm $c
        c=$(buildah from --pull-never localhost/corpus:two); m=$(buildah mount $c); cp -a $m "$4"; buildah rm $c
    """
    tree = shop.new("tree")
    shell = ["sh", "-c", script, "sh", str(shop.first), CHANGE, format, str(tree)]
    argv = ["unshare", "--mount", "--propagation", "private", *shell]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return "localhost/corpus:two", environment, tree


# The root is of buildah's storage, and no entry of a layer; its storage makes times before 1970 zero; and attributes
# with empty values are lost on the way into layers, while the tree that it mounts has them.
_OF_BUILDAH = {b"": ("mode", "mtime"), **_BEFORE_1970, b"xattrs/binary": ("xattrs",)}


def _pushed(environment: dict[str, str], name: str, target: str, *options: str) -> None:
    argv = ["buildah", "push", "--quiet", *options, name, target]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@sample
def buildah_oci(shop: CorpusWorkspace) -> Sample:
    name, environment, tree = _buildah(shop, "oci")
    _pushed(environment, name, f"oci:{shop.new('layout')}:two")
    return Sample(
        reference=f"oci:{shop.new('layout')}:two", oracle=lambda: walk(tree), not_judged=_OF_BUILDAH
    )


@sample
def buildah_docker(shop: CorpusWorkspace) -> Sample:
    name, environment, tree = _buildah(shop, "docker")
    _pushed(environment, name, f"docker-archive:{shop.new('image.tar')}:corpus:two")
    return Sample(
        reference=f"docker-archive:{shop.new('image.tar')}", oracle=lambda: walk(tree), not_judged=_OF_BUILDAH
    )


@sample
def buildah_storage(shop: CorpusWorkspace) -> Sample:
    """Read where it lies, pushed nowhere."""
    name, environment, tree = _buildah(shop, "oci")
    found = {"CONTAINERS_STORAGE_CONF": environment["CONTAINERS_STORAGE_CONF"]}
    return Sample(
        reference=f"containers-storage:{name}",
        environment=found,
        oracle=lambda: walk(tree),
        not_judged=_OF_BUILDAH,
    )


@sample
def docker_build(shop: CorpusWorkspace) -> Sample:
    archive, oracle = _docker_build(shop)
    return Sample(reference=f"docker-archive:{archive}", oracle=oracle)


@sample
def docker_daemon(shop: CorpusWorkspace) -> Sample:
    _, oracle = _docker_build(shop)
    return Sample(reference="docker-daemon:corpus:two", oracle=oracle, environment=shop.docker.environment)


def _docker_build(shop: CorpusWorkspace) -> tuple[Path, Callable[[], Tree]]:
    """The classic builder: ADD of a tar, then RUN of the script. Judged after skopeo made a layout of what was saved;
    the image `corpus:two` stays in the daemon."""
    need("docker", "skopeo")
    context, environment = (
        shop.new("context"),
        {**os.environ, **shop.docker.environment, "DOCKER_BUILDKIT": "0"},
    )
    context.mkdir()
    command("tar", "-C", shop.first, "--numeric-owner", *_XATTRS, "-cf", context / "tree.tar", ".")
    (context / "change.sh").write_text(CHANGE)
    (context / "Dockerfile").write_text(
        "FROM scratch\nADD tree.tar /\nCOPY change.sh /\n"
        'RUN ["/bin/busybox", "sh", "/change.sh", "/"]\nRUN ["/bin/busybox", "rm", "/change.sh"]\n'
    )
    archive = shop.new("docker.tar")
    for argv in (["build", "-t", "corpus:two", str(context)], ["save", "-o", str(archive), "corpus:two"]):
        done = subprocess.run(["docker", *argv], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    layout = shop.new("layout")
    command(
        *("skopeo", "--insecure-policy", "copy", "--quiet", f"docker-archive:{archive}", f"oci:{layout}:two")
    )
    return archive, partial(unpacked, layout, "two", shop.place)


@sample
def index_of_two_architectures(shop: CorpusWorkspace) -> Sample:
    from tests.support.images.crafted_images import two_architectures

    layout = two_architectures(shop)
    return Sample(
        reference=f"oci:{layout}:both",
        options=("-a", "arm64"),
        oracle=lambda: unpacked(layout, "arm64", shop.place),
    )
