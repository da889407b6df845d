"""The programs that run elements: containerfiles/elements/runner, each called as the runner or a script calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[3] / "containerfiles" / "elements" / "runner"
RUN_PARTS = RUNNER / "lib" / "dib-run-parts"


def run(*argv: str | Path, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{RUNNER}/outside-bin:/usr/bin:/bin",
        "PYTHONPATH": "/p",
        "DIBO_PYTHON": sys.executable,
    }
    return subprocess.run(
        [str(word) for word in argv], env=environment | variables, capture_output=True, text=True, check=check
    )


@pytest.fixture
def phase(tmp_path: Path) -> Path:
    directory = tmp_path / "hooks" / "install.d"
    directory.mkdir(parents=True)
    for name in ("100-x", "9-x", "10-b", "10-a", "named", "50-x.sh", "not-executable"):
        (directory / name).write_text(f"#!/bin/sh\necho {name} $COLOUR\n")
        (directory / name).chmod(0o644 if name == "not-executable" else 0o755)
    (directory / "60-linked").symlink_to("10-a")
    (directory / "70-directory").mkdir()
    return directory


def test_scripts_run_in_the_order_of_numbers(phase: Path) -> None:
    names = ["named", "9-x", "10-a", "10-b", "60-linked", "100-x"]
    assert run(RUN_PARTS, "--list", phase).stdout.split() == [str(phase / name) for name in names]
    assert run(RUN_PARTS, phase).stdout.split() == ["named", "9-x", "10-a", "10-b", "10-a", "100-x"]


@pytest.mark.parametrize(
    ("after", "until", "names"),
    [
        ("", "10-a", ["named", "9-x", "10-a"]),
        ("10-a", "60-linked", ["10-b", "60-linked"]),
        ("60-linked", "", ["100-x"]),
        ("20-gone", "", ["60-linked", "100-x"]),
        ("10-b", "99-gone", ["60-linked"]),
    ],
)
def test_a_step_runs_its_part_of_a_phase(phase: Path, after: str, until: str, names: list[str]) -> None:
    listed = run(RUN_PARTS, "--list", phase, DIBO_AFTER=after, DIBO_UNTIL=until).stdout
    assert [Path(line).name for line in listed.split()] == names


def test_settings_are_sourced_in_order_before_a_phase(phase: Path) -> None:
    settings = phase.parent / "environment.d"
    settings.mkdir()
    (settings / "20-b.bash").write_text("export COLOUR=$COLOUR-b\n")
    (settings / "10-a").write_text("export COLOUR=a\n")
    (settings / "30-c~").write_text("export COLOUR=c\n")
    assert "10-b a-b" in run(RUN_PARTS, phase).stdout


def test_the_first_failure_ends_a_phase(phase: Path) -> None:
    (phase / "10-a").write_text("#!/bin/sh\nexit 7\n")
    done = run(RUN_PARTS, phase, check=False, DIBO_MARKS="1")
    assert (done.returncode, done.stdout.split("\n")[-2]) == (7, "\036hook 10-a")


def test_a_script_with_nested_run_parts_runs_all_of_the_other_directory(phase: Path) -> None:
    other = phase.parent / "other.d"
    other.mkdir()
    (other / "1-other").write_text("#!/bin/sh\necho other\n")
    (other / "1-other").chmod(0o755)
    (phase / "10-a").write_text(f"#!/bin/sh\n{RUN_PARTS} {other}\n")
    assert "other" in run(RUN_PARTS, phase, DIBO_AFTER="9-x", DIBO_UNTIL="10-a", DIBO_MARKS="1").stdout


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (("-E", "sh", "-c", "echo $KEPT"), "1"),
        (("sh", "-c", "echo $KEPT."), "."),
        (("-H", "-n", "-u", "root", "NAME=x", "sh", "-c", "echo $NAME"), "x"),
        (("mount", "--bind", "/nowhere", "/nowhere"), ""),
        (("umount", "-f", "/nowhere"), ""),
        (("mknod", "/dev/null", "c", "1", "3"), ""),
        (("/bin/mknod", "-m", "666", "/dev/null", "c", "1", "3"), ""),
        (("-E", "python3", "-c", "print(6)"), "6"),
    ],
)
def test_sudo_outside(words: tuple[str, ...], output: str) -> None:
    assert run("sudo", *words, KEPT="1").stdout.strip() == output


def test_mknod_outside_leaves_a_device_that_is_there(tmp_path: Path) -> None:
    path = f"{RUNNER}/outside-bin:/usr/bin:/bin"
    assert run(f"{RUNNER}/outside-bin/mknod", "/dev/zero", "c", "1", "5", PATH=path).stdout == ""
    run(f"{RUNNER}/outside-bin/mknod", tmp_path / "pipe", "p", PATH=path)
    assert (tmp_path / "pipe").is_fifo()


def test_sudo_outside_takes_the_dot_between_owner_and_group(tmp_path: Path) -> None:
    (tmp_path / "chown").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "chown").chmod(0o755)
    words = run(
        "sudo", "chown", "-R", "root.root", "./a.b", PATH=f"{RUNNER}/outside-bin:{tmp_path}:/usr/bin:/bin"
    )
    assert words.stdout.split() == ["-R", "root:root", "./a.b"]


def test_sudo_inside_runs_the_command(tmp_path: Path) -> None:
    sudo = RUNNER / "inside-bin" / "sudo"
    assert run(sudo, "-E", "-u", "root", "A=1", "sh", "-c", "echo $A $B", B="2").stdout == "1 2\n"
    assert run(sudo, "-n").stdout == ""


def test_what_scripts_change_in_the_merged_tree_is_kept(tmp_path: Path) -> None:
    before, after, target = (tmp_path / name for name in ("before", "after", "target"))
    for tree in (before, after):
        (tree / "install.d").mkdir(parents=True)
        (tree / "install.d/10-same").write_text("same")
        (tree / "changed").write_text("old")
    (after / "changed").write_text("new")
    (after / "environment.d").mkdir()
    (after / "environment.d/50-new").write_text("export A=1")
    (after / "install.d/20-linked").symlink_to("x/20-linked")
    (after / "install.d/10-same").touch()
    run(RUNNER / "changed-files", before, after, target)
    kept = sorted(str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir())
    assert kept == ["changed", "environment.d/50-new", "install.d/20-linked"]


def choose_kernel(root: Path, **variables: str) -> list[str]:
    script = '. "$LIB/img-functions"; select_boot_kernel_initrd "$ROOT"; echo $KERNEL $RAMDISK'
    done = run("bash", "-euc", script, LIB=str(RUNNER / "lib"), ROOT=str(root), check=False, **variables)
    return (done.stdout or done.stderr).split()


def test_the_newest_kernel_boots_a_root(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/debian_version").touch()
    assert choose_kernel(tmp_path)[:4] == ["there", "is", "no", "kernel"]
    for version in ("6.9.1-amd64", "6.10.0-amd64"):
        (tmp_path / f"boot/vmlinuz-{version}").touch()
        (tmp_path / f"boot/initrd.img-{version}").touch()
    assert choose_kernel(tmp_path) == ["vmlinuz-6.10.0-amd64", "initrd.img-6.10.0-amd64"]
    patterns = {"DIB_BAREMETAL_KERNEL_PATTERN": "vmlinuz-6.9*", "DIB_BAREMETAL_INITRD_PATTERN": "initrd*6.9*"}
    assert choose_kernel(tmp_path, **patterns) == ["vmlinuz-6.9.1-amd64", "initrd.img-6.9.1-amd64"]


def test_die_says_why_and_fails() -> None:
    done = run(
        "bash", "-c", '. "$LIB/die"; true; bash -c "die no hook path"', LIB=str(RUNNER / "lib"), check=False
    )
    assert (done.returncode, done.stderr) == (1, "no hook path\n")


def test_rm_inside_leaves_what_dibo_mounts(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "rm").write_text('#!/bin/sh\necho "$@"\nexec /bin/rm "$@"\n')
    (tmp_path / "rm").chmod(0o755)
    words = ("rm", "-Rf", "/var/run/dibo", str(tmp_path / "lock"), "/run/dibo", "/run/dibo.pid")
    done = run(*words, PATH=f"{RUNNER}/inside-bin:{tmp_path}:/usr/bin:/bin")
    assert done.stdout.split() == ["-Rf", str(tmp_path / "lock"), "/run/dibo.pid"]
    assert not (tmp_path / "lock").exists()


def test_functions_for_scripts_that_mount() -> None:
    script = '. "$_LIB/common-functions"; mount_proc_dev_sys; mount_dev_pts_options'
    assert run("bash", "-euc", script, _LIB=str(RUNNER / "lib")).stdout.startswith("-o ")


def test_hashes_of_programs_of_elements_have_one_order(tmp_path: Path) -> None:
    """Programs go through sets of packages, inside of the image and outside."""
    (tmp_path / "phase").write_text("install.d\n")
    (tmp_path / "environment").touch()
    script = 'step=$STEP; . "$RUNNER/common" 2> /dev/null; step=$STEP; set_environment; echo $PYTHONHASHSEED'
    done = run("bash", "-c", script, RUNNER=str(RUNNER), STEP=str(tmp_path), context=str(tmp_path))
    assert done.stdout == "0\n"
