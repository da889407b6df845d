"""Images as docker takes and gives them: a tar of a manifest, configs and layers.

    manifest.json     [{"Config": "HEX.json", "RepoTags": [name], "Layers": ["DIFF.tar", …]}]
    HEX.json          the config (OCI image specification, config.md)
    DIFF.tar          a layer, named by the digest of its tar

(Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format".) A daemon that has a layer
already, on the same layers below, does not open its member; so an image of layers that are there is a few kB, and
that is how each layer gets a config of dibo's own: `docker commit` would put the command and the environment of the
container into it, proxies and their passwords included.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Any, Final

from dibo.build.engines.image_environment import variables_of

Document = dict[str, Any]

_CHUNK: Final = 1 << 20
_OF_CONTAINERS: Final = frozenset(
    (
        "Hostname",
        "Domainname",
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "Tty",
        "OpenStdin",
        "StdinOnce",
        "Image",
    )
)
_INDEXES: Final = ("manifest.json", "repositories", "index.json", "oci-layout")
_BLOCK: Final = 512  # of tar


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A layer to send. `open` gives its size in bytes, and the bytes, when its turn comes."""

    diff_id: str
    open: Callable[[], AbstractContextManager[tuple[int, IO[bytes]]]]


def new_config(*, architecture: str, diff_ids: Sequence[str], labels: Mapping[str, str]) -> Document:
    """The config of an image that is made of nothing but these layers."""
    return _config({"architecture": architecture, "os": "linux"}, {}, diff_ids, labels)


def config_on(parent: Mapping[str, Any], *, diff_ids: Sequence[str], labels: Mapping[str, str]) -> Document:
    """The config of an image whose lowest layers are those of `parent` (what `docker inspect` says of it). It keeps
    what the parent says of how it is run, and its labels where they are not said anew; an empty label removes one.
    Raises ImageError."""
    known = parent.get("Config") or {}
    variables_of(map(str, known.get("Env") or ()), "the image")
    kept = {name: value for name, value in known.items() if value and name not in _OF_CONTAINERS}
    head = {"architecture": parent.get("Architecture", ""), "os": parent.get("Os") or "linux"}
    head |= {"variant": parent["Variant"]} if parent.get("Variant") else {}
    return _config(head, kept, diff_ids, {**(known.get("Labels") or {}), **labels})


def _config(
    head: Mapping[str, Any], run: Mapping[str, Any], diff_ids: Sequence[str], labels: Mapping[str, str]
) -> Document:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        **head,
        "created": created,
        "config": {**run, "Labels": {name: value for name, value in labels.items() if value}},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [{"created": created, "created_by": "dibo"} for _ in diff_ids],
    }


def archive(config: Document, *, name: str, layers: Iterable[Blob] = ()) -> Iterator[bytes]:
    """The tar. Of the config's layers, those that are not in `layers` must be known to the daemon."""
    text, manifest = _documents(
        config, name, [f"{digest.partition(':')[2]}.tar" for digest in config["rootfs"]["diff_ids"]]
    )
    yield from _member(*text)
    yield from _member(*manifest)
    for layer in layers:
        with layer.open() as (size, stream):
            yield from _stream(f"{layer.diff_id.partition(':')[2]}.tar", size, stream)
    yield bytes(2 * _BLOCK)


def with_config(saved: IO[bytes], config: Document, *, name: str) -> Iterator[bytes]:
    """What `docker save` wrote of one image, with another config and name."""
    layers: list[str] = []
    with tarfile.open(fileobj=saved, mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if member.name == "manifest.json" and content is not None:
                layers = list(json.load(content)[0]["Layers"])
            elif member.name not in _INDEXES:
                if content is not None:
                    yield from _stream(member.name, member.size, content)
                else:
                    yield member.tobuf(tarfile.PAX_FORMAT)
    for document in _documents(config, name, layers):
        yield from _member(*document)
    yield bytes(2 * _BLOCK)


def _documents(
    config: Document, name: str, layers: Sequence[str]
) -> tuple[tuple[str, bytes], tuple[str, bytes]]:
    """The files of a config and of the manifest that names it."""
    text = json.dumps(config).encode()
    path = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": path, "RepoTags": [name], "Layers": list(layers)}]
    return (path, text), ("manifest.json", json.dumps(manifest).encode())


def _member(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data))
    yield data + bytes(-len(data) % _BLOCK)


def _stream(name: str, size: int, stream: IO[bytes]) -> Iterator[bytes]:
    yield _header(name, size)
    left = size
    while left > 0:
        data = stream.read(min(_CHUNK, left))
        if not data:
            raise EOFError(f"{name} ended {left} bytes early")
        left -= len(data)
        yield data
    yield bytes(-size % _BLOCK)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT)
