"""The faults, and what must hold after each.

A fault takes a `Round` and returns how it ended, in a word or two; whatever must not happen is an AssertionError.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dibo import errors
from dibo.errors import DiboError
from tests.fuzz.__main__ import run as broken_layers
from tests.shake.sample import KINDS, SampleImage, argv, convert, dibo, environment, sha256
from tests.support.disks.boot_disks import ext4, save
from tests.support.host.host_state import host_state, new_on_host
from tests.support.servers.fake_registry import FakeRegistry, Fault

LONGEST = 120.0
"""Seconds that a command may take, whatever befalls it."""
MIB = 1 << 20
CODES = {
    kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DiboError)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One fault: all that is random in it comes from its seed."""

    seed: int
    directory: Path
    """Empty before, removed afterwards."""
    sample: SampleImage
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "random", random.Random(self.seed))

    @property
    def cache(self) -> Path:
        return self.directory / "cache"


def killed(this: Round) -> str:
    """A signal, at any moment of a conversion: the disk is whole or not there; after SIGKILL the next run cleans up."""
    kind, output = this.random.choice(KINDS), this.directory / "out"
    command = argv(*convert(this.sample.reference, output, kind))
    before = host_state(this.directory)
    signum = this.random.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL))
    with subprocess.Popen(
        command, env=environment(this.cache), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as running:
        time.sleep(this.random.random() * 1.5)
        running.send_signal(signum)
        _, message = running.communicate(timeout=LONGEST)
    _no_traceback(message.decode(errors="replace"))
    _whole_or_absent(this, output, kind)
    if signum != signal.SIGKILL:
        _nothing_left(this, before)
        return f"{signum.name}, {'disk' if output.with_suffix(f'.{kind}').exists() else 'nothing'}"
    after = dibo(*convert(this.sample.reference, output, kind), cache=this.cache, timeout=LONGEST)
    assert after.code == 0, after.output
    assert sha256(output.with_suffix(f".{kind}")) == this.sample.digests[kind]
    _nothing_left(this, before)
    return "SIGKILL, then the next run"


def full_disk(this: Round) -> str:
    """A disk that runs full: the error names it, and nothing of the output stays. Root only."""
    if os.geteuid() != 0:
        return "left out: mounting needs root"
    kind = this.random.choice(KINDS)
    place = this.directory / this.random.choice(("output", "temporary"))
    room = this.random.randrange(64 * 1024, 24 * MIB if place.name == "output" else 512 * 1024)
    with _small_disk(place, room):
        output = (place if place.name == "output" else this.directory) / "out"
        cache = this.cache if place.name == "output" else place / "cache"
        done = dibo(*convert(this.sample.reference, output, kind), cache=cache, timeout=LONGEST)
        _no_traceback(done.output)
        if done.code == 0:
            assert sha256(output.with_suffix(f".{kind}")) == this.sample.digests[kind]
            return "there was room enough"
        assert done.code in CODES, done.output
        assert "No space left" in done.output or "full" in done.output, done.output
        assert str(place) in done.output, f"the error does not name {place}: {done.output}"
        left = sorted(path.name for path in output.parent.iterdir() if path.name.startswith(("out", ".out")))
        assert left == [], left
    return f"{place.name} full, said"


def bad_registry(this: Round) -> str:
    """A registry with faults: the right disk, or an error of its own, soon."""
    kind, output = this.random.choice(KINDS), this.directory / "out"
    faults: tuple[Fault, ...] = (
        500, 503, 404, 401, (429, {"Retry-After": "0"}), "drop", "wrong", "cut:0", "cut:1000", "cut:200000", "slow:0.5",
    )  # fmt: skip
    with FakeRegistry() as registry:
        for digest, blob in this.sample.maker.blobs.items():
            registry.state.blobs["shaken", digest] = blob
        manifest = this.sample.maker.index["manifests"][0]
        body = this.sample.maker.blobs[manifest["digest"]]
        for reference in ("1", manifest["digest"]):
            registry.state.manifests["shaken", reference] = (manifest["mediaType"], body)
        for _ in range(this.random.randint(1, 4)):
            path, fault = this.random.choice(("/blobs/", "/manifests/", "/v2/")), this.random.choice(faults)
            if this.random.random() < 0.2:
                registry.state.always(path, fault)
            else:
                registry.state.inject(path, *[fault] * this.random.randint(1, 3))
        reference = f"{registry.host}/shaken:1"
        done = dibo(*convert(reference, output, kind), cache=this.cache, timeout=LONGEST)
    _no_traceback(done.output)
    _whole_or_absent(this, output, kind)
    if done.code == 0:
        assert output.with_suffix(f".{kind}").exists()
        return "right all the same"
    assert done.code in CODES, f"exit code {done.code}: {done.output}"
    assert not output.with_suffix(f".{kind}").exists()
    return f"refused with {done.code}"


def broken_disk(this: Round) -> str:
    """A disk image with bytes changed or cut off: its kernel, or an error of its own, soon and in little memory."""
    disk = bytearray(ext4())
    for _ in range(this.random.randint(0, 4)):
        place = this.random.choice((len(disk), len(disk), 64 * 1024, 4096))
        at = this.random.randrange(min(place, len(disk)))
        disk[at : at + this.random.choice((1, 2, 4, 512))] = this.random.randbytes(
            this.random.choice((1, 2, 4, 512))
        )
    if this.random.random() < 0.2:
        del disk[this.random.randrange(len(disk)) :]
    image = save(this.directory / "disk.raw", bytes(disk))
    if this.random.random() < 0.4:
        image = _as_qcow2(this, image)
    command = ["-c", "import sys; from dibo.cli.main import disk_image_get_kernel as run; sys.exit(run())"]
    limits = ["prlimit", f"--as={2048 * MIB}"]
    done = subprocess.run(
        [*limits, argv()[0], *command, str(image), "-d", str(this.directory)],
        capture_output=True,
        timeout=LONGEST,
        env=environment(this.cache),
    )
    output = (done.stdout + done.stderr).decode(errors="replace")
    _no_traceback(output)
    assert done.returncode in {0, *CODES}, f"exit code {done.returncode}: {output}"
    return "a kernel" if done.returncode == 0 else f"refused with {done.returncode}"


def broken_layer(this: Round) -> str:
    """Layers broken at random (tests/fuzz): a tree, or an error, in bounded time and memory."""
    return broken_layers(this.seed)


FAULTS: dict[str, Callable[[Round], str]] = {
    "killed": killed,
    "full-disk": full_disk,
    "bad-registry": bad_registry,
    "broken-disk": broken_disk,
    "broken-layer": broken_layer,
}


def _as_qcow2(this: Round, image: Path) -> Path:
    """The same disk as a qcow2, whose own structures are broken too."""
    target = this.directory / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", image, target], check=True)
    broken = bytearray(target.read_bytes())
    for _ in range(this.random.randint(0, 3)):
        broken[this.random.randrange(min(len(broken), 300_000))] ^= 1 << this.random.randrange(8)
    target.write_bytes(broken)
    return target


@contextlib.contextmanager
def _small_disk(place: Path, room: int) -> Iterator[None]:
    """A tmpfs with `room` bytes at `place`."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def _whole_or_absent(this: Round, output: Path, kind: str) -> None:
    disk = output.with_suffix(f".{kind}")
    if disk.exists():
        assert sha256(disk) == this.sample.digests[kind], f"{disk.name} is not what it must be"
    checksum = disk.with_name(f"{disk.name}.sha256")
    if checksum.exists():
        assert checksum.read_text().split()[0] == this.sample.digests[kind], "a checksum of something else"


def _nothing_left(this: Round, before: tuple[str, ...]) -> None:
    """No process, mount or loop device, no half-written file, no directory of a run."""
    assert new_on_host(this.directory, before) == []
    left = [path.name for path in this.directory.iterdir() if ".part" in path.name]
    runs = this.cache / "runs"
    left += [path.name for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
    assert left == [], left


def _no_traceback(output: str) -> None:
    assert "Traceback (most recent call last)" not in output, output


def clear(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()
