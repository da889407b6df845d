"""OCI layouts, plain and in archives: what is found in good ones, and what is said of bad ones."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from dibo.errors import DiboError, ImageError, UsageError, VerificationFailed
from dibo.images.image import Image
from tests.unit.images.sources.sample_images import (
    DOCKER_LIST,
    LAYER,
    Maker,
    digest_of,
    layer_tar,
    on,
    tagged,
    tar_of,
)

Read = Callable[..., tuple[Image, list[bytes]]]
TARS = [layer_tar("low"), layer_tar("high")]


@pytest.fixture
def maker() -> Maker:
    return Maker()


def test_layers_come_as_they_are_stored(maker: Maker, tmp_path: Path, read: Read) -> None:
    entry = maker.image(compress=True)
    maker.top(entry)
    image, layers = read(f"oci:{maker.write(tmp_path / 'x')}")
    assert [gzip.decompress(layer) for layer in layers] == TARS
    assert [layer.digest for layer in image.layers] == [digest_of(layer) for layer in layers]
    assert [layer.size for layer in image.layers] == [len(layer) for layer in layers]
    assert [layer.diff_id for layer in image.layers] == [digest_of(tar) for tar in TARS]
    assert [layer.media_type for layer in image.layers] == [f"{LAYER}+gzip"] * 2
    assert (image.digest, image.architecture) == (maker.id_of(entry), "amd64")
    assert image.config["os"] == "linux"


def test_dockers_types(maker: Maker, tmp_path: Path, read: Read) -> None:
    inner = {**maker.image(docker=True, compress=True), **on("amd64")}
    maker.top(maker.index_of(inner, kind=DOCKER_LIST))
    assert read(f"oci:{maker.write(tmp_path / 'x')}")[0].digest == maker.id_of(inner)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_archives(maker: Maker, tmp_path: Path, read: Read, compress: Callable[[bytes], bytes]) -> None:
    maker.top(tagged(maker.image(), "1"), tagged(maker.image(names=["b"]), "2"))
    path = tmp_path / "x.tar"
    path.write_bytes(compress(tar_of(maker.files)))
    assert read(f"oci-archive:{path}:1")[1] == TARS
    assert read(f"oci-archive:{path}:2")[1] == [layer_tar("b")]
    with pytest.raises(ImageError, match=r"x\.tar has several images") as caught:
        read(f"oci-archive:{path}")
    assert "TAG; tags are 1, 2" in caught.value.hint


def test_a_tag_a_digest_or_the_only_one(maker: Maker, tmp_path: Path, read: Read) -> None:
    one, two = maker.image(names=["a"]), maker.image(names=["b"])
    full = {"io.containerd.image.name": "docker.io/library/web:2"}
    maker.top(tagged(one, "1"), tagged(two, "2", **full))
    place = f"oci:{maker.write(tmp_path / 'x')}"
    assert read(f"{place}:2")[0].digest == maker.id_of(two)
    assert read(f"{place}:docker.io/library/web:2")[0].digest == maker.id_of(two)
    assert read(f"{place}@{one['digest']}")[0].digest == maker.id_of(one)
    with pytest.raises(ImageError, match="has no image 3"):
        read(f"{place}:3")
    with pytest.raises(ImageError, match=f"has no image @sha256:{'0' * 64}"):
        read(f"{place}@sha256:{'0' * 64}")
    with pytest.raises(ImageError, match="not a digest"):
        read(f"{place}@sha256:../../etc/passwd")


def test_a_digest_that_only_an_inner_index_names(maker: Maker, tmp_path: Path, read: Read) -> None:
    arm = maker.image(architecture="arm64", variant="v8")
    maker.top(maker.index_of({**maker.image(), **on("amd64")}, {**arm, **on("arm64", "v8")}))
    place = f"oci:{maker.write(tmp_path / 'x')}"
    assert read(f"{place}@{arm['digest']}", architecture="arm64")[0].digest == maker.id_of(arm)
    with pytest.raises(ImageError, match="has no image for amd64; it has linux/arm64/v8"):
        read(f"{place}@{arm['digest']}")


@pytest.mark.parametrize(
    ("wanted", "platform"),
    [
        ("amd64", ("amd64", "")),
        ("amd64", ("amd64", "v1")),
        ("arm64", ("arm64", "v8")),
        ("arm64", ("arm64", "")),
        ("armhf", ("arm", "v7")),
        ("armhf", ("arm", "")),
        ("arm/v6", ("arm", "v6")),
        ("i386", ("386", "")),
        ("ppc64el", ("ppc64le", "")),
        ("riscv64", ("riscv64", "")),
        ("s390x", ("s390x", "")),
        ("loong64", ("loong64", "")),
    ],
)
def test_architectures_in_debians_words(
    maker: Maker, tmp_path: Path, read: Read, wanted: str, platform: tuple[str, str]
) -> None:
    """Found in an index, and named again so, whether the index says it or the config alone."""
    entry = maker.image(architecture=platform[0], variant=platform[1])
    other = {**maker.image(architecture="mips64le", names=["x"]), **on("mips64le")}
    unknown = {**maker.image(architecture="unknown", names=["y"]), **on("unknown", os="unknown")}
    windows = {**maker.image(architecture=platform[0], names=["z"]), **on(*platform, os="windows")}
    maker.top(maker.index_of(windows, unknown, other, {**entry, **on(*platform)}))
    image, layers = read(f"oci:{maker.write(tmp_path / 'x')}", architecture=wanted)
    assert (image.digest, image.architecture, layers) == (maker.id_of(entry), wanted, TARS)
    maker.top(maker.index_of(other, entry))
    assert read(f"oci:{maker.write(tmp_path / 'y')}", architecture=wanted)[0].architecture == wanted
    with pytest.raises(ImageError, match="has no image for sparc64; it has ") as caught:
        read(f"oci:{tmp_path / 'x'}", architecture="sparc64")
    assert "linux/mips64le" in caught.value.message
    assert "unknown" not in caught.value.message
    assert "-a" in caught.value.hint


def test_the_best_variant(maker: Maker, tmp_path: Path, read: Read) -> None:
    entries = {
        variant: {**maker.image(names=[variant or "-"]), **on("amd64", variant)}
        for variant in ("v3", "v1", "")
    }
    maker.top(maker.index_of(*entries.values()))
    assert read(f"oci:{maker.write(tmp_path / 'x')}")[0].digest == maker.id_of(entries["v1"]), (
        "which is the same as none"
    )


@pytest.mark.parametrize(
    ("architecture", "variants", "taken"),
    [
        ("amd64", ("v2", ""), ""),
        ("amd64/v2", ("v2", ""), "v2"),
        ("amd64/v3", ("", "v2"), "v2"),
        ("amd64/v3", ("v4", "v1"), "v1"),
        ("amd64/v2", ("v3", "v2"), "v2"),
        ("x86_64", ("v2", ""), ""),
    ],
)
def test_variants(
    maker: Maker, tmp_path: Path, read: Read, architecture: str, variants: tuple[str, ...], taken: str
) -> None:
    entries = {
        variant: {**maker.image(variant=variant, names=[variant or "-"]), **on("amd64", variant)}
        for variant in variants
    }
    maker.top(maker.index_of(*entries.values()))
    image = read(f"oci:{maker.write(tmp_path / 'x')}", architecture=architecture)[0]
    assert (image.digest, image.architecture) == (maker.id_of(entries[taken]), "amd64")


def test_a_newer_processor_than_was_asked_for(maker: Maker, tmp_path: Path, read: Read) -> None:
    maker.top(maker.index_of({**maker.image(variant="v2"), **on("amd64", "v2")}))
    with pytest.raises(ImageError, match="no image for amd64; it has linux/amd64/v2") as caught:
        read(f"oci:{maker.write(tmp_path / 'x')}")
    assert "amd64/v2" in caught.value.hint


def test_only_what_an_image_has_is_suggested(maker: Maker, tmp_path: Path, read: Read) -> None:
    maker.top(maker.index_of({**maker.image(), **on("amd64")}))
    with pytest.raises(ImageError, match="no image for arm64; it has linux/amd64") as caught:
        read(f"oci:{maker.write(tmp_path / 'x')}", architecture="arm64")
    assert caught.value.hint == "choose another architecture with -a, such as amd64, or another image"


def test_an_artefact_beside_an_image(maker: Maker, tmp_path: Path, read: Read) -> None:
    """A signature, without a name, as ORAS and cosign put it there."""
    wanted = maker.image()
    config = maker.blob(b"{}", "application/vnd.oci.empty.v1+json")
    signature = maker.image(names=["sig"], manifest={"config": config})
    maker.top(signature, wanted)
    assert read(f"oci:{maker.write(tmp_path / 'x')}")[0].digest == maker.id_of(wanted)


def test_several_images_are_listed_by_digest(maker: Maker, tmp_path: Path, read: Read) -> None:
    first, second = maker.image(names=["a"]), maker.image(names=["b"])
    for entries, reference in (((first, second), ""), ((tagged(first, "1"), tagged(second, "1")), ":1")):
        maker.top(*entries)
        place = maker.write(tmp_path / f"x{len(reference)}")
        with pytest.raises(ImageError, match="several images") as caught:
            read(f"oci:{place}{reference}")
        assert f"oci:{place}@DIGEST" in caught.value.hint
        assert first["digest"] in caught.value.hint
        assert second["digest"] in caught.value.hint
        assert read(f"oci:{place}@{second['digest']}")[0].digest == maker.id_of(second)


def test_an_index_in_an_index(maker: Maker, tmp_path: Path, read: Read) -> None:
    found = {**maker.image(), **on("amd64")}
    maker.top(
        maker.index_of(maker.index_of({**maker.image(names=["a"]), **on("arm64")}), maker.index_of(found))
    )
    assert read(f"oci:{maker.write(tmp_path / 'x')}")[0].digest == maker.id_of(found)


def test_platforms_that_are_in_index_json_itself(maker: Maker, tmp_path: Path, read: Read) -> None:
    amd = {**maker.image(), **on("amd64")}
    arm = {**maker.image(architecture="arm64"), **on("arm64")}
    maker.top(tagged(arm, "1"), tagged(amd, "1"))
    place = maker.write(tmp_path / "x")
    for reference in (f"oci:{place}", f"oci:{place}:1"):
        assert read(reference)[0].digest == maker.id_of(amd)
        assert read(reference, architecture="arm64")[0].digest == maker.id_of(arm)
    maker.top(tagged(amd, "1"), tagged({**maker.image(names=["b"]), **on("amd64")}, "2"))
    with pytest.raises(ImageError, match="several images"):
        read(f"oci:{maker.write(tmp_path / 'y')}")


def test_colons_and_at_signs_in_paths(maker: Maker, tmp_path: Path, read: Read) -> None:
    maker.top(tagged(maker.image(), "1"))
    for name in ("a:b", "a@b", "a:b@c:d"):
        place = maker.write(tmp_path / name / "layout")
        for reference in (
            f"oci:{place}",
            f"oci:{place}:1",
            f"oci:{place}@{maker.index['manifests'][0]['digest']}",
        ):
            assert read(reference)[1] == TARS


def test_a_config_of_another_architecture(maker: Maker, tmp_path: Path, read: Read) -> None:
    maker.top(maker.image(architecture="arm64"))
    place = f"oci:{maker.write(tmp_path / 'x')}"
    assert read(place, architecture="arm64")[0].architecture == "arm64"
    with pytest.raises(ImageError, match="has no image for amd64; it has linux/arm64"):
        read(place)


def test_a_config_that_does_not_say(maker: Maker, tmp_path: Path, read: Read) -> None:
    maker.top(maker.image(architecture=""))
    assert read(f"oci:{maker.write(tmp_path / 'x')}")[0].architecture == ""


def test_what_is_not_what_its_digest_says(maker: Maker, tmp_path: Path, read: Read) -> None:
    """Manifests and configs; whoever reads layers checks those."""
    entry = maker.image()
    maker.top(entry)
    manifest = json.loads(maker.blobs[entry["digest"]])
    for digest in (entry["digest"], manifest["config"]["digest"]):
        place = maker.write(tmp_path / digest[-8:])
        path = place / "blobs" / digest.replace(":", "/")
        path.write_bytes(path.read_bytes().replace(b"linux", b"linus").replace(b"schema", b"Schema"))
        with pytest.raises(VerificationFailed, match=f"expected {digest}"):
            read(f"oci:{place}")


def test_sha512(maker: Maker, tmp_path: Path, read: Read) -> None:
    import hashlib

    entry = maker.image()
    body = maker.blobs[entry["digest"]]
    digest = f"sha512:{hashlib.sha512(body).hexdigest()}"
    maker.blobs[digest] = body
    maker.top({**entry, "digest": digest})
    assert read(f"oci:{maker.write(tmp_path / 'x')}")[0].digest == maker.id_of(entry)


@pytest.mark.parametrize("prefix", ["oci", "oci-archive", "docker-archive", "dir"])
def test_what_is_not_there(tmp_path: Path, read: Read, prefix: str) -> None:
    for reference in (f"{prefix}:{tmp_path}/no:tag", f"{prefix}:{tmp_path}/no", f"{prefix}:/dev/null/x"):
        with pytest.raises(ImageError, match=r"cannot read .*no|does not exist|Not a directory") as caught:
            read(reference)
        assert "index.json" not in caught.value.message
        assert "is it a" not in caught.value.hint
    for reference in (f"{prefix}:", f"{prefix}:\0"):
        with pytest.raises(UsageError, match="names no file or directory"):
            read(reference)


def test_a_fifo_stops_nobody(maker: Maker, tmp_path: Path, read: Read) -> None:
    import os

    entry = maker.image()
    maker.top(entry)
    place = maker.write(tmp_path / "x")
    path = place / "blobs" / entry["digest"].replace(":", "/")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ImageError, match="not a plain file"):
        read(f"oci:{place}")


def test_a_layer_that_shrinks(maker: Maker, tmp_path: Path, read: Read) -> None:
    from dibo.images.sources.choose import choose_image

    maker.top(maker.image(names=["low"]))
    place = maker.write(tmp_path / "x")
    with choose_image(f"oci:{place}", architecture="amd64", scratch=tmp_path) as image:
        path = place / "blobs" / str(image.layers[0].digest).replace(":", "/")
        with image.layers[0].open() as reader:
            assert len(reader.read(1000)) == 1000
            path.write_bytes(b"")
            with pytest.raises(ImageError, match="became shorter"):
                reader.read(1000)


def test_what_is_meant_without_a_prefix(maker: Maker, tmp_path: Path, read: Read) -> None:
    maker.top(maker.image())
    layout = maker.write(tmp_path / "layout")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/manifest.json").write_text("{}")
    (tmp_path / "oci.tar").write_bytes(tar_of(maker.files))
    (tmp_path / "docker.tar").write_bytes(tar_of({"manifest.json": b"[]", "index.json": b"{}"}))
    (tmp_path / "root.tar").write_bytes(layer_tar("etc/os-release"))
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(b"x"))
    (tmp_path / "web.qcow2").write_bytes(b"QFI\xfb" + bytes(1 << 16))
    (tmp_path / "web.raw").write_bytes(bytes(510) + b"\x55\xaa" + bytes(1 << 16))
    for path, hint in (
        (layout, f"oci:{layout}"),
        (tmp_path / "dir", f"dir:{tmp_path}/dir"),
        (tmp_path / "oci.tar", f"oci-archive:{tmp_path}/oci.tar"),
        (tmp_path / "docker.tar", f"docker-archive:{tmp_path}/docker.tar"),
        (tmp_path / "root.tar", f"disk-image-create --base {tmp_path}/root.tar"),
        (tmp_path / "x.tar.gz", f"oci-archive:{tmp_path}/x.tar.gz or docker-archive:"),
        (tmp_path, "it is a directory, but no image"),
        (
            tmp_path / "web.qcow2",
            f"it is a disk, not a container image; qemu-img converts disks:\n  qemu-img convert -O raw {tmp_path}/",
        ),
        (tmp_path / "web.raw", "it is a disk"),
    ):
        with pytest.raises(UsageError, match="names no image") as caught:
            read(str(path))
        assert hint in caught.value.hint
    for word in ("", "~nobody-has-this-name/x", "oci:~nobody-has-this-name/x:1", "/no/such/file", "\0"):
        with pytest.raises(DiboError):
            read(word)
