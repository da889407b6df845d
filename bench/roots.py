"""The roots that benchmarks convert, as OCI layouts: made once, then kept.

    TOP/debian/zstd  TOP/debian/gzip    Debian with a kernel and what a server has: about 800 MB, 21,000 files
    TOP/large/zstd                      the same with as many synthetic files on top as make it 4 GB and 100,000
    TOP/debian-raw/disk.raw             Debian's as a file system in a plain file

Usage: python bench/roots.py. TOP is DIBO_BENCH_DIR, else /dev/shm/dibo-bench-UID: in memory, so that no disk is
measured; they take 3.5 GB there, and conversions as much again as the root is large. DIBO_BENCH_LARGE is the size of
the large one in GB. Both need mmdebstrap and a Debian mirror the first time; remove TOP to have them made anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

TOP = Path(os.environ.get("DIBO_BENCH_DIR", f"/dev/shm/dibo-bench-{os.getuid()}"))
LARGE = float(os.environ.get("DIBO_BENCH_LARGE", "4")) * 1e9
LARGE_FILES = 100_000
SUITE = "bookworm"
PACKAGES = (
    "linux-image-amd64",
    "systemd-sysv",
    "openssh-server",
    "cloud-init",
    "grub-pc-bin",
    "grub-efi-amd64-bin",
    "shim-signed",
    "nginx",
    "curl",
    "ca-certificates",
    "locales",
)
LAYERS = 4
TAG = "latest"
_TEXT = 4_000_000
_NOISE = 32_000_000


@dataclass(frozen=True, kw_only=True)
class Root:
    """An OCI layout and what is in it."""

    layout: Path
    layers: tuple[Path, ...]
    """Blobs, the lowest first."""
    bytes: int
    """Of all tars."""
    files: int
    """Entries of all tars."""


def debian(compression: str = "zstd") -> Root:
    """The root of 800 MB; `compression` is zstd or gzip."""
    if not (TOP / "debian").is_dir():
        with making("debian") as part:
            tars = _split(_mmdebstrap(part / "root.tar"), part)
            for each in ("zstd", "gzip"):
                write_layout(part / each, tars, each)
            _remove(part, "*.tar")
    return _load(TOP / "debian" / compression)


def large() -> Root:
    """The root of 4 GB."""
    if not (TOP / "large").is_dir():
        lower = debian()
        with making("large") as part:
            for number, blob in enumerate(lower.layers):
                with (part / f"{number}.tar").open("wb") as tar:
                    subprocess.run(["zstd", "-dcq", blob], stdout=tar, check=True)
            size, count = (LARGE - lower.bytes) / LAYERS, (LARGE_FILES - lower.files) // LAYERS
            for number in range(LAYERS):
                synthetic(part / f"{len(lower.layers) + number}.tar", number, int(size / count), count)
            write_layout(part / "zstd", sorted(part.glob("*.tar")), "zstd")
            _remove(part, "*.tar")
    return _load(TOP / "large" / "zstd")


def raw_disk() -> Path:
    """A bare file system of 2 GiB with the root of 800 MB, made by mke2fs: sparse, as dibo makes them."""
    path = TOP / "debian-raw" / "disk.raw"
    if not path.exists():
        root = debian()
        with making("debian-raw") as part:
            (part / "tree").mkdir()
            for blob in root.layers[:-1]:
                unpack = 'zstd -dcq "$1" | tar -x --exclude="./dev/*" --delay-directory-restore -C "$2"'
                subprocess.run(["sh", "-c", unpack, "sh", blob, part / "tree"], check=True)
            argv = ["mke2fs", "-q", "-t", "ext4", "-d", part / "tree", part / "disk.raw", "2G"]
            subprocess.run(
                argv, env={**os.environ, "PATH": f"{os.environ['PATH']}:/sbin:/usr/sbin"}, check=True
            )
            shutil.rmtree(part / "tree")
    return path


@contextmanager
def making(name: str) -> Iterator[Path]:
    """A directory that gets its name when all that belongs into it is there."""
    part = TOP / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    part.rename(TOP / name)


def _remove(directory: Path, pattern: str) -> None:
    for path in directory.glob(pattern):
        path.unlink()


def _mmdebstrap(target: Path) -> Path:
    return minimal_debian(target, PACKAGES)


def minimal_debian(target: Path, packages: Sequence[str]) -> Path:
    """A tar of Debian's minimal system with these packages."""
    mode = "root" if os.geteuid() == 0 else "unshare"
    include = f"--include={','.join(packages)}"
    argv = ["mmdebstrap", "--quiet", f"--mode={mode}", "--variant=minbase", include, SUITE, str(target)]
    subprocess.run(argv, check=True)
    return target


def _split(source: Path, directory: Path) -> list[Path]:
    """The tar as layers: equal pieces in the order of the tar, and one that replaces and removes some files, as
    installing packages does."""
    each = source.stat().st_size // (LAYERS - 1) + 1
    paths = [directory / f"{number}.tar" for number in range(LAYERS)]
    places: dict[str, int] = {}
    with tarfile.open(source) as archive, ExitStack() as stack:
        layers = [stack.enter_context(tarfile.open(path, "w", format=tarfile.PAX_FORMAT)) for path in paths]
        for entry in archive.getmembers():
            number = places[entry.name] = entry.offset // each
            content = archive.extractfile(entry) if entry.isreg() or entry.islnk() else None
            if entry.islnk() and places[entry.linkname] != number:  # links do not cross layers
                entry.type, entry.size = tarfile.REGTYPE, archive.getmember(entry.linkname).size
            layers[number].addfile(entry, content if entry.isreg() else None)
        _change(archive, layers[-1], places)
    return paths


def _change(lower: tarfile.TarFile, layer: tarfile.TarFile, names: dict[str, int]) -> None:
    status = next(name for name in names if name.endswith("var/lib/dpkg/status"))
    layer.addfile(lower.getmember(status), lower.extractfile(status))
    documents = [name for name in names if "/usr/share/doc/" in name and name.endswith("/copyright")]
    for name in documents[::4]:
        parent, _, base = name.rpartition("/")
        layer.addfile(tarfile.TarInfo(f"{parent}/.wh.{base}"))


def synthetic(path: Path, seed: int, size: int, count: int) -> None:
    """`count` files of about `size` bytes: a third is noise, the rest words; most are small, a few are large."""
    chance = random.Random(seed)
    words = [
        bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 11))) for _ in range(5000)
    ]
    text = b" ".join(chance.choices(words, k=_TEXT // 8))
    noise = chance.randbytes(_NOISE)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as layer:
        for number in range(count):
            if number % 100 == 0:
                directory = tarfile.TarInfo(f"srv/{seed}/{number // 100}")
                directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                layer.addfile(directory)
            length = int(size * chance.choice((0.1, 0.2, 0.3, 0.5, 1, 1.5, 1.9, 2.5)))
            pool = noise if number % 3 == 0 else text
            start = chance.randrange(len(pool) - min(length, len(pool) - 1))
            data = pool[start : start + length]
            entry = tarfile.TarInfo(f"srv/{seed}/{number // 100}/{number}")
            entry.size, entry.mtime = len(data), 1_700_000_000 + number
            layer.addfile(entry, io.BytesIO(data))


def write_layout(directory: Path, tars: list[Path], compression: str) -> None:
    """The image specification's image-layout.md."""
    manifest = write_image(directory, tars, TAG, compression)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    bytes_, files = sum(tar.stat().st_size for tar in tars), 0
    for tar in tars:
        with tarfile.open(tar) as archive:
            files += sum(1 for _ in archive)
    blobs = directory / "blobs" / "sha256"
    layers = json.loads((blobs / str(manifest["digest"]).removeprefix("sha256:")).read_text())["layers"]
    digests = [str(layer["digest"]).removeprefix("sha256:") for layer in layers]
    (directory / "facts.json").write_text(json.dumps({"layers": digests, "bytes": bytes_, "files": files}))


def write_image(
    directory: Path, tars: Sequence[Path], tag: str, compression: str = "zstd"
) -> dict[str, object]:
    """Put an image of these layers into a layout; what its index says of it. What is there is not made again."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    command = ["zstd", "-3", "-T0", "-q", "-c"] if compression == "zstd" else ["gzip", "-6", "-n", "-c"]

    def put(data: bytes | Path, kind: str) -> dict[str, object]:
        part = blobs / "part"
        if isinstance(data, bytes):
            part.write_bytes(data)
        else:
            with part.open("wb") as file:
                subprocess.run([*command, data], stdout=file, check=True)
        digest = _digest(part)
        size = part.stat().st_size
        part.rename(blobs / digest)
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}

    def layer(tar: Path) -> tuple[str, dict[str, object]]:
        status = tar.stat()
        known = (directory, tar, status.st_ino, status.st_mtime_ns, compression)
        if known not in _made:
            _made[known] = f"sha256:{_digest(tar)}", put(tar, f"layer.v1.tar+{compression}")
        return _made[known]

    layers = [layer(tar) for tar in tars]
    rootfs = {"type": "layers", "diff_ids": [diff_id for diff_id, _ in layers]}
    config = {"architecture": "amd64", "os": "linux", "rootfs": rootfs}
    kind = "manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"application/vnd.oci.image.{kind}",
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": [descriptor for _, descriptor in layers],
    }
    annotations = {"org.opencontainers.image.ref.name": tag}
    return {**put(json.dumps(manifest).encode(), kind), "annotations": annotations}


_made: dict[tuple[object, ...], tuple[str, dict[str, object]]] = {}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(layout: Path) -> Root:
    facts = json.loads((layout / "facts.json").read_text())
    layers = tuple(layout / "blobs" / "sha256" / digest for digest in facts["layers"])
    return Root(layout=layout, layers=layers, bytes=facts["bytes"], files=facts["files"])


def main() -> None:
    for root in (debian("zstd"), debian("gzip"), large()):
        packed = sum(layer.stat().st_size for layer in root.layers)
        print(f"{root.layout}: {root.bytes / 1e6:.0f} MB ({packed / 1e6:.0f} MB packed), {root.files} files")


if __name__ == "__main__":
    main()
