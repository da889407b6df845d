"""A qcow2 in a wrapping: boxes of Vagrant for libvirt, and container images whose one file is a disk, for KubeVirt.

box (vagrant-libvirt, "Box Format")      containerDisk (KubeVirt, "Disks and Volumes")
metadata.json  provider, format, GiB     an OCI layout in a tar (oci-archive), with one layer:
Vagrantfile    nothing but the provider      disk/             0755, of 107:107, QEMU's user there
box.img        the qcow2                     disk/disk.qcow2   0440, of 107:107
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Final

from dibo.disk.built_in.job import ConversionJob
from dibo.disk.built_in.members import END, Hashing, copy, member, member_header, padding
from dibo.images.manifest import OCI_MANIFEST
from dibo.images.platforms import normalize
from dibo.units import GIB

_QEMU: Final = 107
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_VAGRANTFILE: Final = b"""Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.disk_bus = "virtio"
  end
end
"""


def make_vagrant_libvirt(job: ConversionJob) -> None:
    """Raises OSError."""
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": -(-job.size // GIB)}
    time = job.identity.time
    size = job.source.stat().st_size
    with job.source.open("rb") as disk, job.target.open("r+b") as target:
        target.write(member("metadata.json", json.dumps(metadata).encode(), time=time))
        target.write(member("Vagrantfile", _VAGRANTFILE, time=time))
        target.write(member_header("box.img", size, time=time))
        copy(disk, target)
        target.write(padding(size) + END)


def make_container_disk(job: ConversionJob) -> None:
    """Raises OSError."""
    time = job.identity.time
    size = job.source.stat().st_size
    directory = member_header("disk/", 0, time=time, mode=0o755, owner=_QEMU, is_directory=True)
    file = member_header("disk/disk.qcow2", size, time=time, mode=0o440, owner=_QEMU)
    layer_size = len(directory + file) + size + len(padding(size)) + len(END)
    with job.source.open("rb") as disk, job.target.open("r+b") as target:
        target.write(member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}', time=time))
        header_at = target.tell()
        target.write(_blob_header("0" * 64, layer_size, time))  # its name is known when it is written
        layer = Hashing(target)
        layer.write(directory + file)
        copy(disk, layer)
        layer.write(padding(size) + END)
        assert layer.size == layer_size
        for name, data in _documents(job, layer.digest, layer_size):
            target.write(member(name, data, time=time))
        target.write(END)
        target.seek(header_at)
        target.write(_blob_header(layer.digest, layer_size, time))


def _blob_header(digest: str, size: int, time: int) -> bytes:
    return member_header(f"blobs/sha256/{digest}", size, time=time)


def _documents(job: ConversionJob, layer: str, size: int) -> list[tuple[str, bytes]]:
    """Config, manifest and index, by their names in the layout."""
    created = datetime.fromtimestamp(job.identity.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    architecture, variant = normalize(job.architecture)
    platform = {"architecture": architecture, "os": "linux", **({"variant": variant} if variant else {})}
    config = _json(
        {
            "created": created,
            **platform,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
            "history": [{"created": created, "created_by": "dibo convert -t containerdisk"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _described(_CONFIG, config),
            "layers": [{"mediaType": _LAYER, "digest": f"sha256:{layer}", "size": size}],
        }
    )
    index = {
        "schemaVersion": 2,
        "mediaType": _INDEX,
        "manifests": [{**_described(OCI_MANIFEST, manifest), "platform": platform}],
    }
    return [
        *((f"blobs/sha256/{hashlib.sha256(data).hexdigest()}", data) for data in (config, manifest)),
        ("index.json", _json(index)),
    ]


def _described(media_type: str, data: bytes) -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "size": len(data),
    }


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
