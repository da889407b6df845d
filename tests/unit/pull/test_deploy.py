"""Whole deployments: from web servers and registries to a file that stands for the disk, and all that can fail."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pull import gpt
from pull.main import Machine, deploy
from pull.web import Patience
from tests.support.disks.gpt_disks import MIB, make_disk, problems_of
from tests.support.machines.direct_boot import FormServer, free_port
from tests.support.servers.fake_registry import FakeRegistry
from tests.support.servers.fake_web_server import FakeWebServer, make_certificate
from tests.unit.pull.test_qcow2 import made
from tests.unit.pull.test_registry import put

pytestmark = pytest.mark.slow

QUICK = Patience(connect=5.0, silence=5.0, pauses=(0.0, 0.0), sleep=lambda _: None)
PARTS = {"esp": (1, 2), gpt.STATE: (3, 4), "root": (7, 8)}
KEY = "open-sesame"
ASIT = "the disk is as it was"
BROKEN = "the disk is written in part, and does not boot"


class Lab:
    """A machine with an empty disk of 24 MiB, a web server, a registry, and a boot server."""

    def __init__(
        self,
        directory: Path,
        image: bytes,
        web: FakeWebServer,
        fake_registry: FakeRegistry,
        server: FormServer,
    ) -> None:
        self.directory, self.web, self.fake_registry, self.server = directory, web, fake_registry, server
        self.disk = directory / "disk"
        self.disk.write_bytes(b"\xaa" * (24 * MIB))
        self.image = image
        self.console: list[str] = []
        self.machine: dict[str, Any] = {}
        self.when_writing: Callable[[], None] = lambda: None

    def say(self, text: str) -> None:
        self.console.append(text)
        if text.startswith("writing sha256"):
            self.when_writing()

    def deploy(self, image: str, digest: str = "", **parameters: str) -> str:
        given = {"image": image, "deployment_id": "7", "deployment_key": KEY, **parameters}
        if digest:
            given["image_digest"] = digest
        fields = {
            "disk": str(self.disk),
            "wanted_disks": "vda",
            "address": "192.0.2.7",
            "boot_server": "127.0.0.1",
            "port": self.server.port,
            "patience": QUICK,
            "telling": QUICK,
            "every": 0.0,
        }
        return deploy(given, Machine(**{**fields, **self.machine}), self.say)

    def serve(self, path: str, body: bytes) -> tuple[str, str]:
        """(URL, digest)."""
        self.web.site.files[path] = body
        return f"{self.web.url}{path}", f"sha256:{hashlib.sha256(body).hexdigest()}"

    @property
    def states(self) -> list[str]:
        """What the server was told, without repeating itself."""
        told = [form["s"] for form in self.server.forms]
        return [state for at, state in enumerate(told) if at == 0 or told[at - 1] != state]

    def assert_written(self) -> None:
        assert problems_of(self.disk) == ""
        found = self.disk.read_bytes()
        assert found[:440] == self.image[:440]
        assert found[MIB : 16 * MIB - 33 * 512] == self.image[MIB : -33 * 512]

    def assert_untouched(self) -> None:
        assert self.disk.read_bytes() == b"\xaa" * (24 * MIB)

    def assert_failed(self, why: str, said: str, *, disk: str) -> None:
        """Told on both ways, with the truth about the disk; and no secret anywhere."""
        assert said in why and why.endswith(disk)
        form = self.server.forms[-1]
        assert (form["s"], form["e"]) == ("failed", why)
        assert "done" not in self.states
        if disk == ASIT:
            self.assert_untouched()
        else:
            head = self.disk.read_bytes()
            assert head[: 64 * 512] == bytes(64 * 512) == head[-64 * 512 :]
        assert not any(KEY in line for line in (*self.console, why))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_disk(tmp_path_factory.mktemp("image") / "image", 16, PARTS)


@pytest.fixture
def lab(tmp_path: Path, image: bytes) -> Iterator[Lab]:
    with FakeWebServer() as web, FakeRegistry() as fake_registry, FormServer() as server:
        yield Lab(tmp_path, image, web, fake_registry, server)


def test_a_raw_image(lab: Lab) -> None:
    url, digest = lab.serve("/web.raw", lab.image)
    lab.web.site.inject("/web.raw", "cut:3000000")
    assert lab.deploy(url, digest) == ""
    lab.assert_written()
    assert lab.states == ["started", "writing", "done"]
    assert lab.console[0] == f"fetching {url}"
    assert any(
        "broke off after 3000000 of 16777216 bytes; trying again in 0 s" in line for line in lab.console
    )
    assert lab.server.bodies[0] == f"i=7&k={KEY}&a=192.0.2.7&s=started&m={url}"
    size = len(lab.image)
    assert lab.server.bodies[-1] == f"i=7&k={KEY}&a=192.0.2.7&s=done&m={url}&b={size}&t={size}&d={digest}"
    writing = [int(form["b"]) for form in lab.server.forms if form["s"] == "writing"]
    assert writing == sorted(writing) and writing[-1] <= size
    assert any("100 %" in line for line in lab.console)
    assert not any(KEY in line for line in lab.console)


def test_a_compressed_image_of_unknown_length(lab: Lab) -> None:
    lab.web.site.lengths = False
    assert lab.deploy(*lab.serve("/web.raw.gz", gzip.compress(lab.image))) == ""
    lab.assert_written()
    assert "t" not in lab.server.forms[-1]


def test_a_qcow2(lab: Lab) -> None:
    data = made(lab.directory, lab.image, convert=("-c",))
    assert lab.deploy(*lab.serve("/web.qcow2", data)) == ""
    lab.assert_written()


def test_an_artefact(lab: Lab) -> None:
    lab.fake_registry.state.tokens = True
    data = made(lab.directory, lab.image, "compression_type=zstd", convert=("-c",))
    put(lab.fake_registry, data)
    lab.fake_registry.state.inject("blobs", "cut:100000")
    assert lab.deploy(f"oci://{lab.fake_registry.host}/team/web:1") == ""
    lab.assert_written()
    assert lab.server.forms[-1]["d"] == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_second_deployment_keeps_the_state(lab: Lab) -> None:
    url, digest = lab.serve("/web.raw", lab.image)
    assert lab.deploy(url, digest) == ""
    kept = b"\xbb" * (4 * MIB)
    with lab.disk.open("r+b") as file:
        file.seek(3 * MIB)
        file.write(kept)
    lab.image = make_disk(lab.directory / "image", 16, PARTS, seed=9)
    new = lab.serve("/new.raw", lab.image)
    lab.web.site.inject("/new.raw", "cut:5000000", *[503] * 9)
    assert "its partition persistent-state is as it was" in lab.deploy(*new)
    assert lab.disk.read_bytes()[3 * MIB : 7 * MIB] == kept
    lab.web.site.faults.clear()
    assert lab.deploy(*new) == ""  # also after one that broke off
    found = lab.disk.read_bytes()
    assert found[3 * MIB : 7 * MIB] == kept
    assert (
        found[MIB : 3 * MIB] == lab.image[MIB : 3 * MIB]
        and found[7 * MIB : 15 * MIB] == lab.image[7 * MIB : 15 * MIB]
    )
    assert any("keeping the partition persistent-state: 4 MiB" in line for line in lab.console)
    assert lab.deploy(*new, persistent_state="wipe") == ""
    lab.assert_written()


def test_nobody_is_told_where_nobody_asked(lab: Lab) -> None:
    assert lab.deploy(*lab.serve("/web.raw", lab.image), deployment_id="") == ""
    lab.assert_written()
    assert lab.server.forms == []
    assert "deployment_id= is not on the command line: no boot server is told" in lab.console


def test_no_such_disk(lab: Lab) -> None:
    lab.machine["disk"] = ""
    lab.assert_failed(lab.deploy("https://a/b"), "none of these disks is there: vda", disk=ASIT)


def test_no_boot_server(lab: Lab) -> None:
    lab.machine["boot_server"] = ""
    assert lab.deploy("https://a/b").startswith("the boot server is not known")
    lab.assert_untouched()


def test_a_disk_that_is_too_small(lab: Lab) -> None:
    lab.disk.write_bytes(b"\xaa" * (15 * MIB))
    why = lab.deploy(*lab.serve("/web.raw", lab.image))
    assert "is too small" in why and lab.server.forms[-1]["e"] == why
    assert lab.disk.read_bytes() == b"\xaa" * (15 * MIB)


def test_a_wrong_key(lab: Lab) -> None:
    with FormServer(status=400) as strict:
        lab.machine["port"] = strict.port
        why = lab.deploy(*lab.serve("/web.raw", lab.image))
        assert why.startswith("the boot server refused this machine (400)") and why.endswith(ASIT)
        assert [form["s"] for form in strict.forms] == ["started"]  # it is not asked again
    lab.assert_untouched()


def test_a_boot_server_that_never_answers(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        lab.machine["port"] = silent.getsockname()[1]
        lab.machine["telling"] = Patience(connect=1.0, silence=0.1, pauses=(0.0,), sleep=lambda _: None)
        why = lab.deploy(*lab.serve("/web.raw", lab.image))
    assert why.startswith("the boot server does not answer: 127.0.0.1:")
    assert "cannot be reached: it does not answer" in why and why.endswith(ASIT)
    assert any("it does not answer; trying again in 0 s" in line for line in lab.console)
    lab.assert_untouched()


def test_a_boot_server_that_goes_away_meanwhile(lab: Lab) -> None:
    """The disk is written; that nobody knows is no success."""
    url, digest = lab.serve("/web.raw", lab.image)

    def leave(form: Mapping[str, str]) -> None:
        server.__exit__(None, None, None)
        gone.set()

    gone = threading.Event()
    lab.when_writing = lambda: None if gone.wait(10) else pytest.fail("it stays")
    server = FormServer(work=leave)
    server.__enter__()
    lab.machine["port"] = server.port
    why = lab.deploy(url, digest)
    assert why.startswith("the boot server could not be told that it is done") and why.endswith(
        "is written, and boots"
    )
    lab.assert_written()


def test_a_boot_server_that_does_not_want_to_know(lab: Lab) -> None:
    """It refuses `done`: then it is not told that the deployment failed, for it did not."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(400 if b"&s=done" in bodies[-1] else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    bodies: list[bytes] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        lab.machine["port"] = server.server_address[1]
        why = lab.deploy(*lab.serve("/web.raw", lab.image))
        server.shutdown()
    assert "told that it is done: the boot server refused" in why and why.endswith("is written, and boots")
    assert b"&s=done" in bodies[-1]


def test_an_image_server_that_is_not_there(lab: Lab) -> None:
    url = f"http://127.0.0.1:{free_port()}/web.raw"
    lab.assert_failed(lab.deploy(url, f"sha256:{'0' * 64}"), "Connection refused", disk=ASIT)


def test_a_digest_that_does_not_hold(lab: Lab) -> None:
    url, _ = lab.serve("/web.raw", lab.image)
    lab.assert_failed(lab.deploy(url, f"sha256:{'0' * 64}"), "digest mismatch", disk=BROKEN)


def test_a_digest_that_does_not_hold_in_a_qcow2(lab: Lab) -> None:
    """What is changed is data alone; to the tables it is as good as any."""
    data = bytearray(made(lab.directory, lab.image))
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    data[-100] ^= 1
    url, _ = lab.serve("/web.qcow2", bytes(data))
    lab.assert_failed(lab.deploy(url, digest), "digest mismatch", disk=BROKEN)


def test_another_digest_than_that_of_the_artefact(lab: Lab) -> None:
    put(lab.fake_registry, lab.image)
    why = lab.deploy(f"oci://{lab.fake_registry.host}/team/web:1", f"sha256:{'0' * 64}")
    lab.assert_failed(why, "digest mismatch", disk=ASIT)


def test_a_cable_that_is_pulled(lab: Lab) -> None:
    url, digest = lab.serve("/web.raw", lab.image)
    lab.web.site.inject("/web.raw", "cut:9000000", *[503] * 9)
    lab.assert_failed(lab.deploy(url, digest), "answered 503; tried 3 times", disk=BROKEN)


def test_how_often_it_is_tried(lab: Lab) -> None:
    """Two pauses are known, more are like the last."""
    url, digest = lab.serve("/web.raw", lab.image)
    for tries in ("1", "2", "9"):
        lab.web.site.inject("/web.raw", *[503] * 9)
        assert f"; tried {tries} times" in lab.deploy(url, digest, image_tries=tries)


def test_a_cable_that_is_pulled_under_a_qcow2(lab: Lab) -> None:
    data = made(lab.directory, lab.image)
    lab.fake_registry.state.tokens = True
    put(lab.fake_registry, data)
    blob = f"sha256:{hashlib.sha256(data).hexdigest()}"
    lab.when_writing = lambda: lab.fake_registry.state.always(blob, "drop")
    lab.fake_registry.state.inject(blob, "cut:1100000")
    why = lab.deploy(f"oci://{lab.fake_registry.host}/team/web:1")
    lab.assert_failed(why, "tried 3 times", disk=BROKEN)


def test_a_server_without_ranges_for_a_qcow2(lab: Lab) -> None:
    """Unless its tables, and where the disk begins, are in the first mebibyte."""
    lab.web.site.ranges = False
    assert lab.deploy(*lab.serve("/small.qcow2", made(lab.directory, lab.image))) == ""
    lab.assert_written()
    lab.disk.write_bytes(b"\xaa" * (24 * MIB))
    lab.server.forms.clear()
    image = make_disk(lab.directory / "image", 16, PARTS, filled=4 * MIB)
    data = made(lab.directory, image, "cluster_size=4k")
    why = lab.deploy(*lab.serve("/web.qcow2", data))
    lab.assert_failed(why, "gives no ranges of a file (RFC 9110), which a qcow2 needs", disk=ASIT)


def test_plain_http_wants_a_digest(lab: Lab) -> None:
    url, _ = lab.serve("/web.raw", lab.image)
    lab.assert_failed(lab.deploy(url), "image_digest=sha256:… is wanted", disk=ASIT)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{digest}  web.raw\n", ""),
        ("{zero}  other.raw\n{digest} *./web.raw\n", ""),
        ("{digest}\n", ""),
        ("{zero}  web.raw\n", "digest mismatch"),
        ("{zero}  other.raw\n{zero}  more.raw\n", "or a file web.raw.sha256 beside it"),
        (None, "or a file web.raw.sha256 beside it"),
    ],
)
def test_a_digest_beside_the_image_counts_where_there_is_tls(
    lab: Lab, tmp_path: Path, text: str | None, said: str
) -> None:
    lab.machine["authorities"] = str(certificate := make_certificate(tmp_path))
    lab.web.secure(certificate)
    url, digest = lab.serve("/web.raw", lab.image)
    if text is not None:
        lab.serve(
            "/web.raw.sha256", text.format(digest=digest.removeprefix("sha256:"), zero="0" * 64).encode()
        )
    why = lab.deploy(url)
    if said:
        lab.assert_failed(why, said, disk=BROKEN if said == "digest mismatch" else ASIT)
    else:
        assert why == ""
        lab.assert_written()


@pytest.mark.parametrize(
    ("body", "parameters", "said"),
    [
        (
            b"<html>Welcome to the portal</html>" * 100,
            {},
            "no partition table and no file system that is known",
        ),
        (b"KDMV" + bytes(4096), {}, "a disk of the format vmdk"),
        (bytes(257) + b"ustar" + bytes(4096), {}, "the image is a tar, not a disk"),
        (gzip.compress(b"QFI\xfb" + bytes(4096)), {}, "a qcow2, compressed once more"),
        (b"\x1f\x8b" + bytes(4096), {}, "it is no sound gzip"),
        (b"QFI\xfb" + bytes(4096), {}, "a qcow2 of version 0"),
        (bytes(4096), {"image_format": "qcow2"}, "is no qcow2"),
        (b"", {}, "no partition table"),
    ],
    ids=range(8),
)
def test_what_is_no_disk(lab: Lab, body: bytes, parameters: dict[str, str], said: str) -> None:
    lab.assert_failed(lab.deploy(*lab.serve("/x", body), **parameters), said, disk=ASIT)


def test_a_raw_image_of_no_known_kind_when_it_is_meant(lab: Lab) -> None:
    body = b"KDMV" + bytes(4092)
    assert lab.deploy(*lab.serve("/x", body), image_format="raw") == ""
    assert lab.disk.read_bytes().startswith(body)


def test_a_defect_is_told_and_is_no_success(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("oops")

    monkeypatch.setattr("pull.target.Target.write", broken)
    why = lab.deploy(*lab.serve("/web.raw", lab.image))
    lab.assert_failed(why, "a defect of the ramdisk: TypeError: oops", disk=BROKEN)


def test_secrets_of_urls_are_not_told(lab: Lab) -> None:
    """Nor on the console, in errors or forms."""
    url, digest = lab.serve("/web.raw?signature=hush", lab.image)
    url = url.replace("http://", "http://user:mum@")
    assert lab.deploy(url, digest) == ""
    assert lab.server.forms[-1]["m"] == f"{lab.web.url}/web.raw"
    assert "Authorization" in lab.web.site.asked[0][1]
    lab.web.site.files.clear()
    why = lab.deploy(url, digest)
    assert "answered 404 for" in why
    said = " ".join([*lab.console, why, *lab.server.bodies])
    assert "hush" not in said and "mum" not in said
