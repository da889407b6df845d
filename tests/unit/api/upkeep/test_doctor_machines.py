"""What `dibo doctor` says of `dibo boot`, with programs that stand for QEMU's."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.api.settings import current_settings
from dibo.api.upkeep import doctor_machines
from dibo.build.finding import Finding
from dibo.settings.settings import Options


def findings(home: Path, *, asked_for: bool, architecture: str = "amd64") -> dict[str, Finding]:
    settings = current_settings(
        Options(architecture=architecture, cache_dir=str(home / "none")), {"HOME": str(home)}
    )
    return {finding.title: finding for finding in doctor_machines.examine(settings, asked_for=asked_for)}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("qemu-system-aarch64", "ssh-keygen"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_only_the_architecture_of_builds_unless_more_is_asked(programs: Path) -> None:
    found = findings(programs, asked_for=False)
    assert set(found) == {
        "dibo boot, amd64: qemu-system-x86_64",
        "dibo boot, to log in: ssh",
        "dibo boot, to log in: ssh-keygen",
    }
    assert not any(finding.needed for finding in found.values()), "a build needs none of it"
    qemu = found["dibo boot, amd64: qemu-system-x86_64"]
    assert not qemu.works and "qemu-system-x86" in qemu.advice


def test_who_asks_for_booting_needs_one_qemu_and_hears_of_all(programs: Path) -> None:
    found = findings(programs, asked_for=True, architecture="arm64")
    needed = {title for title, finding in found.items() if finding.needed}
    assert needed == {
        "dibo boot, arm64: qemu-system-aarch64",
        "dibo boot, to log in: ssh",
        "dibo boot, to log in: ssh-keygen",
    }
    assert found["dibo boot, arm64: qemu-system-aarch64"].works
    assert "dibo boot, arm64: firmware uefi" in found
    assert "dibo boot, s390x: qemu-system-s390x" in found
    assert not any("firmware bios" in title for title in found), "QEMU brings it"
