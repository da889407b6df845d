"""What a booted test machine is told: a NoCloud seed, and the key that opens the machine.

cloud-init's NoCloud source reads `user-data` and `meta-data` from a FAT file system labelled CIDATA, on any
disk (cloud-init's reference, "NoCloud"). mtools write it, not dibo: a test should not lean on what it tests.

The seed also carries the marker: a unit that waits for systemd to call the boot finished and then writes one
line to the virtio-serial port `dibo.marker`. The line says in which state systemd is, so nobody polls SSH to
learn whether the machine is up. The unit is Type=simple, for as a oneshot it would be a job of the very boot
that it waits for. The first boot starts it from `runcmd`, with --no-block; later boots find it enabled.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dibo.machines.seed import LABEL, make_key
from dibo.system import process

MARKER_PORT = "dibo.marker"
_SECTORS = 8192  # of 512 bytes: 4 MiB, FAT12

_MARKER_UNIT = f"""\
[Unit]
Description=Tell the test harness that the machine is up
After=multi-user.target cloud-final.service cloud-init.target
ConditionPathExists=/dev/virtio-ports/{MARKER_PORT}

[Service]
Type=simple
ExecStart=/bin/sh -c 'state=$$(systemctl is-system-running --wait); \\
  read up rest < /proc/uptime; \\
  echo "dibo-up $$state $$up $$(cat /proc/sys/kernel/random/boot_id)" > /dev/virtio-ports/{MARKER_PORT}'

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """`image` is the FAT image; `key` the private key whose public half the metadata gives to `user`."""

    image: Path
    key: Path
    user: str


def make_seed(
    directory: Path,
    *,
    user: str = "debian",
    hostname: str = "dibo-test",
    files: Sequence[tuple[str, str]] = (),
) -> Seed:
    """A seed with a key of its own, in `directory`. `user` must be the image's default user: the key comes as
    metadata, and cloud-init gives it to whom the image says. `files` are (path, content), written into the
    guest before anything runs that waits for cloud metadata.
    """
    directory.mkdir(parents=True, exist_ok=True)
    key = make_key(directory)
    public = key.with_suffix(".pub").read_text().strip()
    written: list[dict[str, Any]] = [
        {"path": "/etc/systemd/system/dibo-marker.service", "content": _MARKER_UNIT, "permissions": "0644"},
        *({"path": path, "content": content} for path, content in files),
    ]
    user_data = {
        "write_files": written,
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "dibo-marker.service"],
            ["systemctl", "start", "--no-block", "dibo-marker.service"],
        ],
    }
    meta_data = {"instance-id": hostname, "local-hostname": hostname, "public-keys": [public]}
    image = directory / "seed.img"
    write_fat(
        image,
        {
            # JSON is YAML.
            "user-data": "#cloud-config\n" + json.dumps(user_data, indent=1) + "\n",
            "meta-data": json.dumps(meta_data, indent=1) + "\n",
        },
    )
    return Seed(image=image, key=key, user=user)


def write_fat(image: Path, files: dict[str, str], *, label: str = LABEL) -> None:
    """Make `image` a FAT file system of these files."""
    image.unlink(missing_ok=True)
    process.run(["mformat", "-C", "-i", str(image), "-T", str(_SECTORS), "-v", label, "::"])
    for name, content in files.items():
        source = image.with_name(name)
        source.write_text(content)
        process.run(["mcopy", "-i", str(image), str(source), f"::{name}"])
