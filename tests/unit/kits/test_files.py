"""The files that a kit's init reads: what a shell makes of them is what the image said, character for character."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath

from dibo.kits.files import SERVICE, quoted, service_files
from dibo.kits.service import HealthCheck, Service
from dibo.kits.users import User
from tests.support.programs import fake
from tests.support.requirements import need

NASTY = (
    "it's",
    "$(touch {0}/broken)",
    "`touch {0}/broken`",
    "a;b&c|d>e",
    "\\",
    "'\\''",
    "two\nlines",
    "",
    "ü€",
    "*",
    "~",
)


def made(service: Service, restart: str = "always") -> dict[str, str]:
    return {path.name: data.decode() for path, data in service_files(service, restart=restart).items()}


def run(text: str, tmp_path: Path, *arguments: str) -> list[str]:
    """Run a script of a service by busybox; what its program was called with, after its variables."""
    need("busybox")
    (tmp_path / "bin").mkdir(exist_ok=True)
    fake(
        tmp_path,
        "setpriv",
        f'echo "$@" >{tmp_path}/setpriv\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"',
    )
    fake(
        tmp_path,
        "env",
        'shift; while case $1 in *=*) ;; *) break ;; esac; do printf "%s\\0" "$1"; shift; done; exec "$@"',
    )
    moved = text.replace("/usr/lib/dibo/kit/bin/", f"{tmp_path}/bin/")
    done = subprocess.run(
        ["busybox", "sh", "-c", moved, "run", *arguments],
        capture_output=True,
        check=True,
        env={"PATH": "/bin:/usr/bin"},
    )
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


def test_a_shell_reads_what_the_image_said(tmp_path: Path) -> None:
    words = tuple(word.format(tmp_path) for word in NASTY)
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$(pwd)" "$@"\n')
    program.chmod(0o755)
    (tmp_path / "it's here").mkdir()
    service = Service(
        command=(str(program), *words),
        environment={"A": words[1], "odd.name": words[6]},
        directory=str(tmp_path / "it's here"),
        user=User(uid=12, gid=34, groups=(5, 6)),
    )
    answer = run(made(service)["run"], tmp_path, "HOSTNAME=x", "A=later")
    assert answer == [
        f"A={words[1]}",
        f"odd.name={words[6]}",
        "HOSTNAME=x",
        "A=later",
        str(tmp_path / "it's here"),
        *words,
    ]
    assert not (tmp_path / "broken").exists()
    called = (tmp_path / "setpriv").read_text()
    assert called.startswith("--reuid 12 --regid 34 --groups 5,6 -- ")


def test_what_the_supervisor_reads() -> None:
    service = Service(
        command=("/a",),
        environment={},
        directory="/",
        user=User(uid=7, gid=7),
        volumes=("/data", "/it's"),
        ports=("80/tcp",),
        stop_signal="QUIT",
        health=HealthCheck(command=("/check", "it's"), interval=0, start=9),
    )
    files = made(service, "on-failure")
    assert files["conf"].splitlines() == [
        "restart=on-failure",
        "stop_signal=QUIT",
        "stop_seconds=30",
        "user_id=7",
        "ports='80/tcp'",
        "health_interval=1",
        "health_timeout=30",
        "health_start=9",
        "health_retries=3",
    ]
    assert files["volumes"] == "/data\n/it's\n"
    assert "'/check' \\\n\t'it'\\''s'\n" in files["health"]
    assert "--clear-groups" in files["run"]


def test_only_what_there_is() -> None:
    service = Service(command=("/a",), environment={}, directory="/", user=User(uid=0, gid=0))
    assert set(service_files(service, restart="never")) == {SERVICE / "run", SERVICE / "conf"}
    assert service_files(service, restart="never") == service_files(service, restart="never")
    assert PurePosixPath("/usr/lib/dibo/service") == SERVICE


def test_quotes() -> None:
    assert quoted("it's") == "'it'\\''s'"
