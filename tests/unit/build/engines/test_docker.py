"""What the docker engine makes of bases, configs and output, without a daemon."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import tarfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dibo.build.engine import StoredImage
from dibo.build.engines.base_layer import write_base
from dibo.build.engines.docker.engine import lines
from dibo.build.engines.docker.image import Blob, archive, config_on, new_config, with_config
from dibo.build.engines.docker.store import chains, with_sizes
from dibo.errors import BaseError, ImageError
from dibo.system import process
from tests.support.images.oci_layouts import Tar

DIFF = f"sha256:{'0' * 64}"


def base_of(path: Path) -> dict[str, tarfile.TarInfo]:
    """The members of the first layer that a tar becomes, with the digest and size that were told of it checked."""
    target = io.BytesIO()
    with path.open("rb") as source:
        written = write_base(source, target)
    data = target.getvalue()
    assert written.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert written.size == len(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


def resolved(tar: Tar, **attributes: Any) -> None:
    tar.add("./usr/lib/systemd/systemd-resolved", b"program", **attributes)


def test_devices_and_the_root_itself_are_left_out(tmp_path: Path) -> None:
    tar = Tar(tmp_path / "base.tar")
    for name in ("./", "./dev/", "./dev/pts/", "./etc/"):
        tar.directory(name)
    tar.add("./dev/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)
    tar.add("./etc/dev/x")
    assert [*base_of(tar.close())] == ["./dev", "./etc", "./etc/dev/x"]


@pytest.mark.parametrize("kind", ["empty file", "nothing"])
def test_the_link_of_systemd_resolved(tmp_path: Path, kind: str) -> None:
    tar = Tar(tmp_path / "base.tar")
    if kind == "empty file":
        tar.add("./etc/resolv.conf")
    resolved(tar, mode=0o755)
    found = base_of(tar.close())
    (name,) = (each for each in found if each.endswith("etc/resolv.conf"))
    assert found[name].linkname == "../run/systemd/resolve/stub-resolv.conf"


def test_a_link_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    tar = Tar(tmp_path / "base.tar")
    tar.symlink("./etc/resolv.conf", "elsewhere")
    resolved(tar, mode=0o755)
    assert base_of(tar.close())["./etc/resolv.conf"].linkname == "elsewhere"


@pytest.mark.parametrize("mode", [0o755, 0o644, None])
def test_a_file_of_the_base_stays(tmp_path: Path, mode: int | None) -> None:
    tar = Tar(tmp_path / "base.tar")
    tar.add("./etc/resolv.conf", b"nameserver 192.0.2.1\n")
    if mode:
        resolved(tar, mode=mode)
    found = base_of(tar.close())["./etc/resolv.conf"]
    assert found.isfile()
    assert found.size == 21


def test_what_a_member_says_of_itself_stays(tmp_path: Path) -> None:
    records = {"mtime": "1234.000000005", "SCHILY.xattr.security.capability": "\x01\udcff=\n\0x"}
    tar = Tar(tmp_path / "base.tar")
    tar.add(b"gr\xf6\xdfe-" * 60, b"x" * 3000, uid=70_000, gid=1 << 31, pax_headers=records)
    (found,) = base_of(tar.close()).values()
    assert found.name.encode(errors="surrogateescape") == b"gr\xf6\xdfe-" * 60
    assert (found.uid, found.gid, found.size) == (70_000, 1 << 31, 3000)
    assert {name: found.pax_headers[name] for name in records} == records


def test_what_is_no_tar(tmp_path: Path) -> None:
    for data in (
        b"",
        b"no tar" * 1000,
        gzip.compress(b"no tar" * 1000),
        b"\x1f\x8bdamaged",
        b"\x28\xb5\x2f\xfdbad",
    ):
        (tmp_path / "base").write_bytes(data)
        with pytest.raises(BaseError, match="no tar that can be read"):
            base_of(tmp_path / "base")


def test_a_config_keeps_how_an_image_is_run_and_nothing_of_a_container() -> None:
    parent = {
        "Architecture": "arm64",
        "Os": "linux",
        "Variant": "v8",
        "Config": {
            "Hostname": "builder",
            "Image": "sha256:1",
            "AttachStdout": True,
            "Env": ["PATH=/bin"],
            "Cmd": ["sh"],
            "Entrypoint": None,
            "User": "",
            "Labels": {"a": "old", "b": "kept", "c": "goes"},
        },
    }
    made = config_on(parent, diff_ids=[DIFF, DIFF], labels={"a": "new", "c": ""})
    assert made["config"] == {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {"a": "new", "b": "kept"}}
    assert (made["architecture"], made["os"], made["variant"]) == ("arm64", "linux", "v8")
    assert len(made["history"]) == 2


def read(stream: Any) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        return {member.name: (tar.extractfile(member) or io.BytesIO()).read() for member in tar}


def test_an_archive_sends_the_layers_that_it_is_given() -> None:
    config = new_config(architecture="amd64", diff_ids=[DIFF, f"sha256:{'1' * 64}"], labels={})
    blob = Blob(diff_id=f"sha256:{'1' * 64}", open=lambda: nullcontext((5, io.BytesIO(b"layer"))))
    files = read(archive(config, name="localhost/it:1", layers=[blob]))
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == ["localhost/it:1"]
    assert manifest["Layers"] == [f"{'0' * 64}.tar", f"{'1' * 64}.tar"]
    assert hashlib.sha256(files[manifest["Config"]]).hexdigest() == manifest["Config"].removesuffix(".json")
    assert json.loads(files[manifest["Config"]]) == config
    assert set(files) == {"manifest.json", manifest["Config"], f"{'1' * 64}.tar"}
    assert files[f"{'1' * 64}.tar"] == b"layer"


def test_a_layer_that_ends_early_is_noticed() -> None:
    config = new_config(architecture="amd64", diff_ids=[DIFF], labels={})
    blob = Blob(diff_id=DIFF, open=lambda: nullcontext((5, io.BytesIO(b"lay"))))
    with pytest.raises(EOFError):
        read(archive(config, name="x", layers=[blob]))


@pytest.mark.parametrize("index", [(), ("index.json", "oci-layout")])
def test_a_saved_image_gets_another_config(tmp_path: Path, index: tuple[str, ...]) -> None:
    """As docker up to 24 saves it, and as later ones do, which add an OCI layout."""
    tar = Tar(tmp_path / "saved.tar")
    tar.directory("blobs")
    tar.add("blobs/layer", b"layer" * 1000)
    tar.add("old.json", b"{}")
    for name in index:
        tar.add(name, b"{}")
    tar.add("manifest.json", json.dumps([{"Config": "old.json", "Layers": ["blobs/layer"]}]).encode())
    config = new_config(architecture="amd64", diff_ids=[DIFF], labels={"new": "yes"})
    with tar.close().open("rb") as saved:
        files = read(with_config(saved, config, name="localhost/it:1"))
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["Layers"] == ["blobs/layer"]
    assert files["blobs/layer"] == b"layer" * 1000
    assert json.loads(files[manifest["Config"]])["config"]["Labels"] == {"new": "yes"}
    assert not set(files) & set(index)


def test_lines_come_as_they_end() -> None:
    chunks = iter([b"one\ntw", b"o\r\n\nthr", "größe\n".encode()[:4], "größe\n".encode()[4:], b"\xff rest"])
    assert list(lines(chunks)) == ["one", "two", "", "thrgröße", "\ufffd rest"]
    stream = lines(iter([b"first\nsec", b"ond\n"]))
    assert next(stream) == "first"


def test_a_line_without_an_end_is_not_kept_in_memory() -> None:
    stream = lines(itertools.repeat(b"x" * 65536, 40))
    assert next(stream) == "x" * process.LONGEST_LINE
    assert next(stream) == "x" * process.LONGEST_LINE


def test_sizes_of_layers_from_those_of_images() -> None:
    """A daemon says only what a whole image takes."""
    base, web, top = (["a"], ["a", "b"], ["a", "b", "c", "d"])
    images = [
        StoredImage(
            identity="".join(diff_ids),
            names=(),
            tagged=False,
            created=0,
            layers=tuple((chain, size) for chain in chains(diff_ids)),
        )
        for diff_ids, size in ((top, 175), (base, 100), (web, 120))
    ]
    sizes = [[size for _, size in image.layers] for image in with_sizes(images)]
    assert sizes == [[100, 20, 55, 0], [100], [100, 20]]


def test_a_layer_on_others_is_another_one() -> None:
    first, second = list(chains(["a", "b"])), list(chains(["c", "b"]))
    assert first[0] == "a"
    assert first[1] != second[1]


def test_a_nul_in_the_environment_of_an_image_is_refused() -> None:
    parent = {"Architecture": "amd64", "Config": {"Env": ["PATH=/bin", "X=1\0--bind"]}}
    with pytest.raises(ImageError, match="NUL"):
        config_on(parent, diff_ids=[DIFF], labels={})
