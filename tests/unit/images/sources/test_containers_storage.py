"""The store of containers, by hand: where layers lie, and tars made again out of what was unpacked."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dibo.build.engines.buildah import image_config
from dibo.errors import ImageError
from dibo.images.sources import tarsplit
from dibo.images.sources.containers_storage import (
    Unknown,
    as_typed,
    find_image,
    find_layers,
    image_times,
    read_records,
)

SHA = [f"sha256:{letter * 64}" for letter in "abc"]


def store(root: Path, driver: str = "overlay") -> dict[str, list[dict[str, Any]]]:
    """Three layers, one on the other, and an image of them; what the lists say."""
    layers = [
        {"id": f"l{n}", "diff-digest": digest, "diff-size": n * 10, **({"parent": f"l{n - 1}"} if n else {})}
        for n, digest in enumerate(SHA)
    ]
    for n in range(3):
        diff = root / "vfs/dir" / f"l{n}" if driver == "vfs" else root / driver / f"l{n}" / "diff"
        diff.mkdir(parents=True)
        split = root / f"{driver}-layers" / f"l{n}.tar-split.gz"
        split.parent.mkdir(exist_ok=True)
        split.touch()
    return {"layers": layers, "images": [{"id": "image", "layer": "l2"}]}


def write(root: Path, lists: dict[str, Any], driver: str = "overlay") -> None:
    for kind, listed in lists.items():
        path = root / f"{driver}-{kind}" / f"{kind}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(listed))


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_layers_from_the_lowest(tmp_path: Path, driver: str) -> None:
    write(tmp_path, store(tmp_path, driver), driver)
    found = find_layers(tmp_path, driver, "image", diff_ids=tuple(SHA))
    assert [layer.diff_id for layer in found] == SHA
    assert [layer.size for layer in found] == [0, 10, 20]
    assert [layer.diff.is_dir() and layer.split.is_file() for layer in found] == [True] * 3


def test_all_images_with_sizes_and_labels(tmp_path: Path) -> None:
    lists = store(tmp_path)
    lists["images"] = [
        {"id": "named", "layer": "l2", "names": ["localhost/a:1"], "created": "2026-11-23T21:39:43Z"},
        {"id": "nameless", "layer": "l1"},
        {"id": "empty", "layer": ""},
    ]
    write(tmp_path, lists)
    config = base64.b64encode(b"sha256:nameless").decode()
    (tmp_path / "overlay-images/nameless").mkdir()
    (tmp_path / f"overlay-images/nameless/={config}").write_text('{"config": {"Labels": {"a": "b"}}}')
    named, nameless, empty = read_records(tmp_path, "overlay")
    assert (named.names, named.created) == (("localhost/a:1",), "2026-11-23T21:39:43Z")
    assert named.layers == (("l0", 0), ("l1", 10), ("l2", 20))
    assert (nameless.names, dict(nameless.labels), nameless.layers[-1]) == ((), {"a": "b"}, ("l1", 10))
    assert (empty.layers, dict(empty.labels)) == ((), {})
    assert read_records(tmp_path / "nowhere", "overlay") == ()


CONFIG = b'{"architecture": "arm64", "config": {"Env": ["A=b", "C", "D=e=f"]}}'


def write_image(root: Path, config: bytes, *, identity: str = "") -> str:
    """An image of that config; its id."""
    identity = identity or hashlib.sha256(config).hexdigest()
    image = {"id": identity, "layer": "l0", "names": ["localhost/a:1"], "created": "2026-11-23T21:39:43Z"}
    write(root, {"images": [image]})
    directory = root / "overlay-images" / identity
    directory.mkdir(exist_ok=True)
    (directory / f"={base64.b64encode(f'sha256:{identity}'.encode()).decode()}").write_bytes(config)
    (directory / "manifest").write_bytes(b"{}")
    return identity


def test_an_image_by_its_name(tmp_path: Path) -> None:
    identity = write_image(tmp_path, CONFIG)
    found = find_image(tmp_path, "overlay", "localhost/a:1")
    assert (found.identity, found.config, found.manifest) == (identity, CONFIG, b"{}")
    config = image_config.read(found.config, "a")
    assert (config.debian, dict(config.variables)) == ("arm64", {"A": "b", "D": "e=f"})
    assert image_times(tmp_path, "overlay") == {"localhost/a:1": "2026-11-23T21:39:43Z"}
    assert image_times(tmp_path / "nowhere", "overlay") == {}
    with pytest.raises(Unknown):
        find_image(tmp_path, "overlay", "a:1")  # buildah knows what that means


def test_a_config_that_is_not_what_the_store_says(tmp_path: Path) -> None:
    write_image(tmp_path, CONFIG, identity=hashlib.sha256(b"another").hexdigest())
    with pytest.raises(Unknown):
        find_image(tmp_path, "overlay", "localhost/a:1")


@pytest.mark.parametrize("config", ['{"config": 1}', '{"config": {"Env": {"A": "b"}}}', "[]", "{"])
def test_a_config_that_is_none(config: str) -> None:
    with pytest.raises(ImageError):
        image_config.read(config.encode(), "a")


@pytest.mark.parametrize(
    ("default", "typed"),
    [("vfs", "STORAGE_DRIVER=overlay buildah images"), ("overlay", "buildah images")],
)
def test_a_command_as_the_user_types_it(
    default: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A buildah that chooses another driver than dibo, as without fuse-overlayfs, and one that chooses the same."""
    info = '{"store": {"GraphRoot": "/s", "GraphDriverName": "DRIVER"}}'
    buildah = tmp_path / "buildah"
    buildah.write_text(f"#!/bin/sh\necho '{info}' | sed s/DRIVER/${{STORAGE_DRIVER:-{default}}}/\n")
    buildah.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("STORAGE_DRIVER", "CONTAINERS_STORAGE_CONF"):
        monkeypatch.delenv(name, raising=False)
    if Path("/etc/containers/storage.conf").exists():
        pytest.skip("the store is configured for all users of this machine")
    assert as_typed("buildah images") == typed
    monkeypatch.setenv("STORAGE_DRIVER", "vfs")
    assert as_typed("buildah images") == "buildah images"


def test_what_is_unknown(tmp_path: Path) -> None:
    """buildah is asked instead, so nothing here may pass for a layer."""
    good = store(tmp_path)

    def fails(driver: str = "overlay", image: str = "image", diff_ids: tuple[str, ...] = tuple(SHA)) -> None:
        with pytest.raises((Unknown, OSError)):
            find_layers(tmp_path, driver, image, diff_ids=diff_ids)

    fails()
    write(tmp_path, good)
    fails(driver="btrfs")
    fails(image="other")
    fails(diff_ids=(*SHA, SHA[0]))
    fails(diff_ids=(SHA[1], SHA[2]))
    fails(diff_ids=(SHA[2], SHA[1], SHA[0]))
    for change in (
        {"diff-size": "10"},
        {"diff-size": -1},
        {"diff-digest": None},
        {"parent": "l2"},
        {"id": "l9"},
    ):
        layers = [good["layers"][0], {**good["layers"][1], **change}, good["layers"][2]]
        write(tmp_path, {**good, "layers": layers})
        fails()
    odds: tuple[Any, ...] = ({}, [1], [{"x": 1}], 3)
    for odd in odds:
        write(tmp_path, {**good, "layers": odd})
        fails()
    write(tmp_path, good)
    (tmp_path / "overlay-layers/l1.tar-split.gz").unlink()
    fails()


def split_of(tar: bytes, directory: Path) -> list[dict[str, Any]]:
    """What tar-split keeps of a tar, whose files are unpacked into `directory`."""
    entries: list[dict[str, Any]] = []
    at = 0
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            entries.append({"type": 2, "payload": base64.b64encode(tar[at : member.offset_data]).decode()})
            raw = os.fsencode(member.name)
            name = {"name": member.name} if raw.isascii() else {"name_raw": base64.b64encode(raw).decode()}
            entries.append({"type": 1, "size": member.size, "payload": None, **name})
            at = member.offset_data + member.size
            if member.isfile():
                path = directory / member.name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar[member.offset_data : at])
    return [*entries, {"type": 2, "payload": base64.b64encode(tar[at:]).decode()}]


def a_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", errors="surrogateescape") as tar:
        for name, size in (
            ("a/b", 5),
            ("/absolute", 700),
            ("empty", 0),
            ("large", 3 << 20),
            ("middle", 1 << 16),
            ("small", (1 << 16) - 1),
            (os.fsdecode(b"not\xffutf8"), 600),
            ("l" * 200, 1),
        ):
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(os.urandom(size)))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "a/b"
        tar.addfile(link)
    return out.getvalue()


def lines(entries: list[dict[str, Any]]) -> Iterator[bytes]:
    return (json.dumps(entry).encode() for entry in entries)


def rebuilt(entries: list[dict[str, Any]], directory: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Through a pipe, as it is used."""
    monkeypatch.chdir(directory)
    end, start = os.pipe()
    parts: list[bytes] = []

    def drain() -> None:
        with os.fdopen(end, "rb") as file:
            parts.append(file.read())

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        tarsplit.rebuild(lines(entries), start)
    finally:
        os.close(start)
        reader.join()
    return parts[0]


def test_the_same_tar_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = a_tar()
    entries = split_of(tar, tmp_path)
    assert rebuilt(entries, tmp_path, monkeypatch) == tar


@pytest.mark.parametrize("name", ["small", "large"])
def test_files_that_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    entries = split_of(a_tar(), tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="has another size than it had"):
        rebuilt(entries, tmp_path, monkeypatch)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        rebuilt(entries, tmp_path, monkeypatch)
    path.symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="no plain file any more"):
        rebuilt(entries, tmp_path, monkeypatch)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="no plain file any more"):
        rebuilt(entries, tmp_path, monkeypatch)


def test_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the change of the root, which root alone may do: tests/integration/test_sources.py."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("hello")
    entries = [{"type": 2, "payload": base64.b64encode(b"<").decode()}, {"type": 1, "name": "a", "size": 5}]
    split, out = tmp_path / "split.gz", tmp_path / "out"
    stayed: list[str] = []
    monkeypatch.setattr(os, "chdir", stayed.append)

    def answer(content: bytes) -> tuple[str, str]:
        split.write_bytes(content)
        with out.open("wb") as file:
            error = tarsplit.answer("diff", str(split), file.fileno(), enter=stayed.append)
        return error, out.read_text()

    assert answer(gzip.compress(b"\n".join(lines(entries)))) == ("", "<hello")
    assert stayed == ["diff", "/"]
    for content in (b"", gzip.compress(b'{"type": 1}')):
        assert answer(content) == ("", "")
    for content in (b"junk", gzip.compress(b"{"), gzip.compress(b"3")):
        assert answer(content)[0]
