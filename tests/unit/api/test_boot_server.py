"""`dibo boot-server` as a program: what it wants before it starts, the file that is read again, and its end."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from dibo.api.boot_server import MachinesFile
from dibo.cli import main
from dibo.errors import BootServerError
from dibo.system.report import Report
from tests.support.machines.direct_boot import free_port
from tests.support.timeouts import TIMEOUT

PROJECT = Path(__file__).parents[3]
KEY = "open-sesame"
PULL = f'machines: {{"7": {{key: {KEY}, method: pull, image: "http://192.0.2.1/web.qcow2"}}}}\n'


@pytest.fixture
def machines(tmp_path: Path) -> Path:
    path = tmp_path / "machines.yaml"
    path.write_text(PULL)
    return path


def test_a_file_that_was_changed_is_read_again(machines: Path) -> None:
    said = io.StringIO()
    file = MachinesFile(machines, Report(said))
    assert list(file()) == ["7"]
    machines.write_text(PULL.replace('"7"', '"seven"'))
    assert list(file()) == ["seven"]
    machines.write_text(PULL.replace("method", "methid"))
    assert list(file()) == ["seven"] and list(file()) == ["seven"]
    assert said.getvalue().count("machines.7.methid: no such key; what the file said before counts on") == 1
    machines.unlink()
    assert list(file()) == ["seven"] and "No such file" in said.getvalue()
    machines.write_text(PULL)
    assert list(file()) == ["7"]


def test_a_file_that_is_not_there_is_told_with_where_its_format_is_documented(tmp_path: Path) -> None:
    with pytest.raises(BootServerError) as caught:
        MachinesFile(tmp_path / "machines.yaml", Report(io.StringIO()))
    assert caught.value.message == f"cannot read {tmp_path}/machines.yaml: No such file or directory"
    assert "docs/reference/boot-server.md" in caught.value.hint


def test_what_stands_there_is_meant(machines: Path) -> None:
    """Without quotes, where YAML would see numbers of base 60 and 8, and booleans; and nothing twice."""
    machines.write_text("machines: {007: {key: no, mac: 52:54:00:12:34:56, image: 1e3, deployment: 2}}\n")
    (machine,) = MachinesFile(machines, Report(io.StringIO()))().values()
    assert (machine.id, machine.key, machine.mac) == ("007", "no", "52:54:00:12:34:56")
    assert machine.image.endswith("/1e3") and machine.deployment == 2
    machines.write_text("machines:\n  7: {key: a, image: b}\n  7: {key: a, image: c}\n")
    with pytest.raises(BootServerError, match="line 3: no YAML: the key '7' stands there twice"):
        MachinesFile(machines, Report(io.StringIO()))


def test_a_file_that_is_no_yaml_is_told_without_its_lines(machines: Path) -> None:
    machines.write_text(f"machines:\n  7: {{key: {KEY}, image: : }}\n")
    with pytest.raises(BootServerError) as caught:
        MachinesFile(machines, Report(io.StringIO()))
    assert "line 2: no YAML" in caught.value.message and KEY not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--ramdisk", "nowhere.ramdisk"], 58, "there is no nowhere.ramdisk"),
        (["--state", "/proc/nonexistent/state"], 58, "cannot write to /proc/nonexistent/state"),
        (["--listen", "192.0.2.1"], 58, "cannot listen on 192.0.2.1:0"),
        (["--listen", "no such host"], 58, "cannot listen on no such host:0"),
    ],
)
def test_what_cannot_be(
    machines: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = arguments if "--port" in arguments else ["--port", "0", *arguments]
    assert main.dibo(["boot-server", str(machines), *options]) == code
    assert said in capsys.readouterr().err


def test_qemu_img_must_know_iscsi(
    machines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on Debian without qemu-block-extra. Machines that pull do not need it."""
    program = "#!/bin/sh\necho \"qemu-img: Could not open: Unknown driver 'iscsi'\" >&2\nexit 1\n"
    (tmp_path / "qemu-img").write_text(program)
    (tmp_path / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    machines.write_text(PULL.replace("pull", "iscsi"))
    assert main.dibo(["boot-server", str(machines), "--port", "0"]) == 41
    assert "sudo apt-get install qemu-block-extra" in capsys.readouterr().err


def test_it_serves_until_a_signal_comes(machines: Path) -> None:
    program = "import sys; from dibo.cli.main import dibo; sys.exit(dibo())"
    port = free_port()
    argv = [
        sys.executable,
        "-c",
        program,
        "boot-server",
        str(machines),
        "--listen",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with subprocess.Popen(
        argv, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": str(PROJECT)}
    ) as server:
        assert server.stderr is not None
        assert server.stderr.readline() == f"boot server: port {port} of 127.0.0.1; machines: 7\n"
        try:
            token = machines.with_name("machines.yaml.token").read_text().strip()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/machines", headers={"Authorization": f"Bearer {token}"}
            )
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                assert json.load(answer)["machines"][0]["state"] == "waiting"
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 143
        assert "nothing was left behind" in server.stderr.read()
    assert json.loads(machines.with_name("machines.yaml.state").read_text()) == {}
