"""`dibo boot-server` with real disks: tgtd offers them, qemu-img writes them, over loopback. No machine is booted here;
that is tests/boot/test_deployment.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from dibo.deploy.machines import parse_machines
from dibo.deploy.server import BootServer, ServerSettings
from dibo.system import process
from tests.support.host.host_state import processes
from tests.support.requirements import need, unmet
from tests.support.servers.tgtd import Tgtd
from tests.support.timeouts import TIMEOUT, wait_until

pytestmark = pytest.mark.integration

IQN = "iqn.2026-11.example.dibo:machine-7"
TOKEN = "0123456789abcdef"
KEY = "open-sesame"
MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def parts() -> None:
    need("qemu-img", "tgtd", "tgtadm", "sfdisk")
    if "iscsi" not in process.run(["qemu-img", "--help"], capture=True, check=False).stdout:
        unmet("qemu-img knows no iSCSI; install it: sudo apt-get install qemu-block-extra")


@pytest.fixture
def top() -> Iterator[Path]:
    """A directory with a short name, for the socket of tgtd."""
    with tempfile.TemporaryDirectory(prefix="dibo-iscsi-") as name:
        yield Path(name)


class Ear:
    """Where a machine waits for word."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.heard = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            with connection:
                while connection.recv(100):
                    pass
            self.heard.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Lab:
    """One machine, its disk, and the server."""

    def __init__(self, top: Path, tgtd: Tgtd) -> None:
        self.top, self.tgtd = top, tgtd
        self.ear = Ear()
        self.lines: list[str] = []
        self.entry: dict[str, Any] = {
            "key": KEY,
            "image": "image.raw",
            "portal": f"127.0.0.1:{tgtd.port}",
            "word": f"127.0.0.1:{self.ear.port}",
        }
        self.image, self.disk = top / "image.raw", top / "disk.raw"
        self.patience = 30.0

    @contextlib.contextmanager
    def served(self) -> Iterator[BootServer]:
        settings = ServerSettings(
            listen="127.0.0.1", port=0, state_file=self.top / "state", patience=self.patience, token=TOKEN
        )

        def machines() -> Any:
            return parse_machines({"machines": {"7": self.entry}}, origin="machines", directory=self.top)

        with BootServer(settings, machines, self.lines.append) as self.server:
            yield self.server

    def post(self, **changes: str) -> int:
        form = {"i": "7", "k": KEY, "a": "127.0.0.1", "n": IQN, **changes}
        url = f"http://127.0.0.1:{self.server.port}/"
        try:
            with urllib.request.urlopen(url, data=urlencode(form).encode(), timeout=TIMEOUT) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def shown(self) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.server.port}/machines", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            (found,) = json.load(answer)["machines"]
        return dict(found)

    def wait(
        self, *states: str, until: Callable[[dict[str, Any]], bool] = lambda found: True
    ) -> dict[str, Any]:
        deadline = time.monotonic() + 120
        while (found := self.shown())["state"] not in states or not until(found):
            assert time.monotonic() < deadline, (states, found, self.lines)
            time.sleep(0.05)
        return found

    def partitioned(self, path: Path, size: int, *lines: str, seed: int) -> None:
        """Noise of `size` MiB, with a GPT by sfdisk."""
        path.write_bytes(random.Random(seed).randbytes(size * MIB))
        script = "\n".join(("label: gpt", *lines))
        process.run(
            ["sfdisk", "--quiet", "--wipe", "always", str(path)],
            streams=process.Streams(stdin=script.encode()),
        )


@pytest.fixture
def lab(top: Path) -> Iterator[Lab]:
    with Tgtd(top) as tgtd:
        found = Lab(top, tgtd)
        try:
            yield found
        finally:
            found.ear.close()


def offer(lab: Lab, size: int) -> None:
    if not lab.disk.exists():
        with lab.disk.open("wb") as file:
            file.truncate(size)
    lab.tgtd.offer(IQN, lab.disk)


def table(path: Path, *, as_if: Path | None = None) -> dict[str, Any]:
    """The partition table, as sfdisk reads it; names of partitions are those of `as_if`."""
    said = process.run(["sfdisk", "--json", str(path)], capture=True).stdout
    found: dict[str, Any] = json.loads(said.replace(str(path), str(as_if or path)))["partitiontable"]
    return found


STATE = "start=2048, size=8192, name=persistent-state"


def test_a_disk_is_written_and_the_machine_is_told(lab: Lab) -> None:
    """The image is a compressed qcow2; its sha256 lies beside it."""
    raw = lab.top / "raw"
    lab.partitioned(raw, 24, "start=2048, size=16384, name=root", seed=7)
    with raw.open("r+b") as file:
        file.truncate(260 * MIB)  # more than one piece, and most of it holes
    process.run(["sfdisk", "--quiet", "--relocate", "gpt-bak-std", str(raw)])
    lab.image = lab.top / "an image, with a comma.qcow2"
    process.run(["qemu-img", "convert", "-c", "-O", "qcow2", str(raw), str(lab.image)])
    lab.entry["image"] = lab.image.name
    digest = hashlib.sha256(lab.image.read_bytes()).hexdigest()
    lab.image.with_name(f"{lab.image.name}.sha256").write_text(f"{digest}  {lab.image.name}\n")
    lab.disk.write_bytes(b"old" * (270 * MIB // 3))
    offer(lab, 0)
    with lab.served():
        assert lab.post() == 200
        found = lab.wait("done", "failed")
        assert lab.ear.heard.wait(30)
    assert (found["state"], found["error"], found["digest"]) == ("done", None, f"sha256:{digest}")
    assert found["written"] == found["total"] == 259 * MIB
    process.run(["sfdisk", "--verify", str(lab.disk)])
    assert table(lab.disk)["partitions"] == table(raw, as_if=lab.disk)["partitions"]
    assert table(lab.disk)["lastlba"] == lab.disk.stat().st_size // 512 - 34
    with raw.open("rb") as wanted, lab.disk.open("rb") as written:
        wanted.seek(MIB)
        written.seek(MIB)
        for _ in range(258):
            assert written.read(MIB) == wanted.read(MIB)
        written.seek(MIB, os.SEEK_CUR)
        assert written.read(MIB).startswith((b"old", b"ldo", b"dol")), "what is behind the image was touched"
    assert KEY not in "\n".join(lab.lines) + (lab.top / "state").read_text()


def test_persistent_state_is_kept_and_no_second_time_without_a_wish(lab: Lab) -> None:
    lab.partitioned(lab.image, 16, STATE, "start=10240, size=16384, name=root", seed=1)
    lab.partitioned(lab.disk, 32, STATE, "start=10240, name=root", seed=2)
    before, image = lab.disk.read_bytes(), lab.image.read_bytes()
    offer(lab, 0)
    with lab.served():
        assert lab.post() == 200
        assert lab.wait("done", "failed")["error"] is None
        assert lab.post() == 409, "it is deployed"
        assert any("persistent-state was kept" in line for line in lab.lines)
    after = lab.disk.read_bytes()
    assert after[MIB : 5 * MIB] == before[MIB : 5 * MIB] != image[MIB : 5 * MIB]
    assert after[:440] == image[:440] and after[5 * MIB : 16 * MIB - 33 * 512] == image[5 * MIB : -33 * 512]
    process.run(["sfdisk", "--verify", str(lab.disk)])
    assert [each["name"] for each in table(lab.disk)["partitions"]] == ["persistent-state", "root"]
    lab.lines.clear()
    with lab.served():  # it remembers
        assert lab.post() == 409
        lab.entry |= {
            "deployment": "2",
            "persistent_state": "wipe",
            "word": f"127.0.0.1:{(ear := Ear()).port}",
        }
        assert lab.post() == 200
        assert lab.wait("done", "failed", until=lambda found: found["deployed"] == 2)["error"] is None
    ear.close()
    assert lab.disk.read_bytes()[MIB : 16 * MIB - 33 * 512] == image[MIB : -33 * 512]


def failure(lab: Lab, *, deployed: int | None = None, **form: str) -> str:
    """Posts, waits for the failure, and shows that the server lives on; the error."""
    with lab.served():
        assert lab.post(**form) == 200
        found = lab.wait("failed", "done")
        assert (found["state"], found["deployed"]) == ("failed", deployed) and not lab.ear.heard.is_set()
        assert lab.post(i="8") == 400
    return str(found["error"])


def test_a_disk_that_is_too_small(lab: Lab) -> None:
    lab.image.write_bytes(bytes(9 * MIB))
    lab.disk.write_bytes(b"old" * (8 * MIB // 3) + b"ol")
    offer(lab, 0)
    before = lab.disk.read_bytes()
    assert "the disk is too small: the image has 9 MiB" in failure(lab)
    assert lab.disk.read_bytes() == before


def test_persistent_state_that_cannot_be_kept(lab: Lab) -> None:
    lab.partitioned(lab.image, 16, "start=10240, size=16384, name=root", seed=1)
    lab.partitioned(lab.disk, 32, STATE, seed=2)
    before = lab.disk.read_bytes()
    offer(lab, 0)
    assert "the image has none: it would be overwritten; to lose what" in failure(lab)
    assert lab.disk.read_bytes() == before


def test_no_such_target(lab: Lab) -> None:
    lab.image.write_bytes(bytes(2 * MIB))
    offer(lab, 8 * MIB)
    assert "Target not found" in failure(lab, n=f"{IQN}8")


def test_nobody_at_the_portal(lab: Lab) -> None:
    lab.image.write_bytes(bytes(2 * MIB))
    lab.patience = 3
    lab.tgtd.kill()
    assert failure(lab) != ""


@pytest.mark.parametrize("kind", ["missing", "gzip", "damaged qcow2", "other sha256"])
def test_an_image_that_is_none(lab: Lab, kind: str) -> None:
    match kind:
        case "missing":
            said = f"cannot read {lab.image}: No such file or directory"
        case "gzip":
            lab.image.write_bytes(b"\x1f\x8b" + bytes(2000))
            said = "is compressed by gzip"
        case "damaged qcow2":
            lab.image.write_bytes(b"QFI\xfb" + b"\xff" * 2000)
            said = f"{lab.image} is a qcow2 of version 4294967295, expected 2 or 3"
        case _:
            lab.image.write_bytes(bytes(2 * MIB))
            lab.image.with_name("image.raw.sha256").write_text(f"{'0' * 64}  image.raw\n")
            said = "its sha256 is not that of image.raw.sha256"
    offer(lab, 8 * MIB)
    assert said in failure(lab)
    assert not any(lab.disk.read_bytes())


def test_an_image_that_is_damaged_in_the_middle_leaves_nothing_that_boots(lab: Lab) -> None:
    """A compressed qcow2: what does not unpack is an error to whoever reads that far."""
    raw = lab.top / "raw"
    lab.partitioned(raw, 24, "start=2048, name=root", seed=7)
    with raw.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(random.Random(7).randbytes(10 * MIB).hex().encode())
    process.run(["qemu-img", "convert", "-c", "-O", "qcow2", str(raw), str(lab.image)])
    with lab.image.open("r+b") as file:
        file.seek(lab.image.stat().st_size // 2)
        file.write(b"damage" * 10_000)
    lab.disk.write_bytes(raw.read_bytes())
    offer(lab, 0)
    assert "Input/output error" in failure(lab)
    assert not any(lab.disk.read_bytes()[: 34 * 512]), "a table, or a boot sector, before all else was there"


def test_the_cable_is_pulled_in_the_middle(lab: Lab) -> None:
    """The machine comes again, is deployed, and what was under way is not in the way."""
    lab.partitioned(lab.image, 200, STATE, "start=10240, name=root", seed=1)
    lab.partitioned(lab.disk, 200, STATE, "start=10240, name=root", seed=2)
    state = lab.disk.read_bytes()[MIB : 5 * MIB]
    offer(lab, 0)
    lab.patience = 3
    with lab.served():
        assert lab.post() == 200
        lab.wait("writing", until=lambda found: found["written"] > 0)
        lab.tgtd.kill()
        found = lab.wait("failed", "done")
        assert "does not answer: no progress for 3 s" in str(found["error"])
        with Tgtd(lab.top) as again:
            again.offer(IQN, lab.disk)
            lab.entry["portal"] = f"127.0.0.1:{again.port}"
            lab.patience = 30
            assert lab.post() == 200
            assert lab.wait("done", "failed")["error"] is None
    after, image = lab.disk.read_bytes(), lab.image.read_bytes()
    assert after[MIB : 5 * MIB] == state
    assert after[:MIB] == image[:MIB] and after[5 * MIB :] == image[5 * MIB :]


def test_a_machine_that_posts_again_has_one_writer(lab: Lab) -> None:
    lab.partitioned(lab.image, 200, "start=2048, name=root", seed=1)
    offer(lab, 200 * MIB)
    with lab.served():
        assert lab.post() == 200
        lab.wait("writing", until=lambda found: found["written"] > 0)
        assert lab.post() == 200
        assert lab.wait("done", "failed")["error"] is None
    assert "7: what was under way was given up" in lab.lines
    assert lab.disk.read_bytes() == lab.image.read_bytes()


def test_a_word_that_is_never_taken(lab: Lab) -> None:
    lab.image.write_bytes(random.Random(1).randbytes(2 * MIB))
    offer(lab, 8 * MIB)
    lab.ear.close()
    lab.patience = 2
    error = failure(lab, deployed=1)
    assert "the disk is written, but the machine does not take the word at 127.0.0.1:" in error
    assert lab.disk.read_bytes()[: 2 * MIB] == lab.image.read_bytes()


def writers(lab: Lab) -> list[str]:
    """Programs that write to the machine's disk, whoever has started them."""
    return [each for each in processes(Path(str(lab.entry["portal"]))) if "qemu-img" in each]


def test_a_server_that_ends_leaves_no_program_behind(lab: Lab) -> None:
    lab.image.write_bytes(random.Random(1).randbytes(200 * MIB))
    offer(lab, 200 * MIB)
    with lab.served():
        assert lab.post() == 200
        lab.wait("writing", until=lambda found: found["written"] > 0)
        wait_until(lambda: writers(lab), "qemu-img writes to the disk")
    assert writers(lab) == []
    with lab.served():
        assert "the server ended while it was writing" in str(lab.shown()["error"])
