"""What `dibo doctor` says of iSCSI: it uses qemu-img's driver, which is in a package of its own."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from dibo.api.upkeep import doctor, doctor_architectures
from dibo.build import foreign
from dibo.build.bases import debian
from dibo.build.finding import Finding
from dibo.errors import EngineError
from dibo.settings.settings import Options, decide
from dibo.system.report import Report
from tests.support.programs import fake

UNKNOWN = "echo \"qemu-img: Could not open 'driver=iscsi': Unknown driver 'iscsi'\" >&2; exit 1"
REFUSED = "echo 'qemu-img: iSCSI: Failed to connect to LUN : Connection refused' >&2; exit 1"


@pytest.mark.parametrize(
    ("program", "works", "advice"),
    [
        (UNKNOWN, False, "sudo apt-get install qemu-block-extra"),
        (REFUSED, True, ""),
        (None, False, "qemu-utils"),
    ],
    ids=["no driver", "a driver that nobody answers", "no qemu-img"],
)
def test_qemu_s_iscsi_driver_is_tried(
    program: str | None, works: bool, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    if program is not None:
        fake(tmp_path, "qemu-img", program)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    (finding,) = doctor._boot_server()
    assert (finding.works, finding.needed) == (works, False)
    assert advice in finding.advice
    assert finding.title == "dibo boot-server, method iscsi: qemu-img"


@pytest.mark.parametrize("keyring", [True, False])
def test_another_base_is_named_where_it_works(
    keyring: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("mmdebstrap", "newuidmap", "arch-test"):
        fake(tmp_path, program, "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    if keyring:
        (tmp_path / "keyring").touch()
    monkeypatch.setattr(debian, "KEYRING", tmp_path / "keyring")
    settings = decide(
        Options(keyring=str(tmp_path / "none")),
        {"IMG_PATH": str(tmp_path / "cache")},
        now=datetime.now(tz=UTC),
        machine="x86_64",
        home=tmp_path,
    )
    finding = list(doctor._base(settings, Report()))[-1]
    assert not finding.works
    assert ("--base debian works on this machine" in finding.advice) == keyring


def test_what_cannot_be_built_is_named() -> None:
    base = Finding(title="base ubuntu", works=False)
    engine = Finding(title="buildah", works=False)
    fine = Finding(title="cache", works=True)
    with pytest.raises(EngineError, match="this machine cannot build the base ubuntu"):
        doctor.require([fine, base])
    with pytest.raises(EngineError, match="this machine cannot build yet"):
        doctor.require([fine, base, engine])
    doctor.require([fine])


@pytest.mark.parametrize(
    ("findings", "last"),
    [
        ([Finding(title="cache", works=True)], "everything that is needed works"),
        (
            [Finding(title="cache", works=True), Finding(title="qemu-img", works=False, needed=False)],
            "everything that is needed works; lines that begin with -- are optional",
        ),
        ([Finding(title="cache", works=False)], "NO  cache"),
    ],
)
def test_the_last_line_says_whether_builds_work(findings: list[Finding], last: str) -> None:
    answer = doctor.findings_answer(doctor.Examination(findings=findings))
    assert answer.text.splitlines()[-1] == last


def test_other_architectures_are_needed_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, "buildah", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    foreign.emulation.cache_clear()
    findings = {finding.title: finding for finding in doctor_architectures.examine("arm64")}
    assert list(findings) == [f"builds for {word}, -a {word}" for word in ("arm64", "armhf", "riscv64")]
    arm64 = findings["builds for arm64, -a arm64"]
    assert (arm64.works, arm64.needed) == (False, True)
    assert "sudo apt-get install qemu-user-static" in arm64.advice
    assert not findings["builds for riscv64, -a riscv64"].needed
