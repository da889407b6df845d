"""The image that is converted while the day goes bad: an OCI layout, and the digests of the disks made of it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.images import tar_layers
from tests.unit.images.sources.sample_images import LAYER, TAG, Maker, digest_of

KINDS = ("raw", "qcow2")
SIZE = "0.125"
"""Of the disks, in GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that ended by itself."""

    code: int
    output: str


def dibo(*arguments: str | Path, cache: Path, timeout: float) -> Finished:
    """Run dibo in a process of its own."""
    done = subprocess.run(
        argv(*arguments),
        capture_output=True,
        timeout=timeout,
        env=environment(cache),
        stdin=subprocess.DEVNULL,
    )
    return Finished(code=done.returncode, output=(done.stdout + done.stderr).decode(errors="replace"))


def argv(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "dibo", *map(str, arguments)]


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "IMG_PATH": str(cache), "TMPDIR": str(cache.parent)}


def convert(reference: str, output: Path, kind: str) -> list[str | Path]:
    return ["convert", reference, "--bare", "-t", kind, "-o", output, "--image-size", SIZE]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleImage:
    maker: Maker
    layout: Path
    digests: dict[str, str]
    """sha256 of the disk, by type."""

    @property
    def reference(self) -> str:
        return f"oci:{self.layout}:shaken"


def make_sample(directory: Path) -> SampleImage:
    """Make the image, and convert it on a good day."""
    maker = Maker()
    layers = [_layer(number) for number in range(3)]
    descriptors = [maker.blob(gzip.compress(layer, 1), f"{LAYER}+gzip") for layer in layers]
    manifest = maker.image(
        config={"rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}},
        manifest={"layers": descriptors},
        annotations={TAG: "shaken"},
    )
    layout = directory / "image"
    maker.index = {"schemaVersion": 2, "manifests": [manifest]}
    maker.write(layout)
    sample = SampleImage(maker=maker, layout=layout, digests={})
    for kind in KINDS:
        output = directory / f"right.{kind}"
        done = dibo(*convert(sample.reference, output, kind), cache=directory / "cache", timeout=300)
        assert done.code == 0, done.output
        sample.digests[kind] = sha256(output)
        output.unlink()
    return sample


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _layer(number: int) -> bytes:
    """Three hundred files, most of them of the sizes of a distribution's."""
    contents = random.Random(number)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for index in range(300):
            member = tarfile.TarInfo(f"layer-{number}/file-{index}")
            member.size = contents.choice((0, 200, 4000, 40_000, 90_000))
            tar.addfile(member, io.BytesIO(contents.randbytes(member.size)))
    return stream.getvalue().removesuffix(tar_layers.END) + tar_layers.END
