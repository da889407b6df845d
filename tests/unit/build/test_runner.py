"""The scripts that run in the root: sound as shell, and doing what they say, in each shell that /bin/sh may be."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from dibo.system import resources
from tests.support.programs import fake
from tests.support.requirements import need

RUNNER = resources.shared("containerfiles") / "runner"
SUDO = RUNNER / "bin" / "sudo"
FIRST_BOOT = RUNNER / "first-boot" / "first-boot"
SCRIPTS = sorted(p for p in RUNNER.rglob("*") if p.is_file() and p.read_bytes().startswith(b"#!"))
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
in_each_shell = pytest.mark.parametrize("shell", SHELLS)


def test_all_scripts_are_executable_posix_shell() -> None:
    assert SCRIPTS
    for script in SCRIPTS:
        assert script.stat().st_mode & 0o111 == 0o111, script
        assert script.read_text().startswith("#!/bin/sh\n"), script


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(RUNNER)))
@in_each_shell
def test_scripts_parse(shell: str, script: Path) -> None:
    subprocess.run([shell, "-n", script], check=True)


def test_shellcheck() -> None:
    need("shellcheck")
    done = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# sudo


def sudo(shell: str, *arguments: str, home: str = "/root") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": home}
    return subprocess.run([shell, SUDO, *arguments], capture_output=True, text=True, env=environment)


ECHO = ("sh", "-c", 'echo "$#,$1,$X"', "sh", "a b")


@in_each_shell
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-E",),
        ("-n",),
        ("-nE",),
        ("-H", "-n"),
        ("-u", "root"),
        ("-uroot",),
        ("--user", "root"),
        ("--user=root",),
        ("-Hu", "root"),
        ("-nEHu", "root"),
        ("-g", "adm"),
        ("-p", "password: "),
        ("--preserve-env=PATH",),
        ("-k",),
        ("--",),
        ("-E", "--"),
    ],
    ids=" ".join,
)
def test_sudo_just_runs_the_command(shell: str, options: tuple[str, ...]) -> None:
    done = sudo(shell, *options, *ECHO)
    assert (done.stdout, done.returncode) == ("1,a b,\n", 0), done.stderr


@in_each_shell
def test_sudo_takes_variables(shell: str) -> None:
    assert sudo(shell, "X=two words", *ECHO).stdout == "1,a b,two words\n"
    assert sudo(shell, "-E", "X=1", "Y=2", *ECHO).stdout == "1,a b,1\n"


@in_each_shell
def test_sudo_passes_the_exit_code_on(shell: str) -> None:
    assert sudo(shell, "sh", "-c", "exit 7").returncode == 7
    assert sudo(shell, "no-such-command").returncode == 127


@in_each_shell
@pytest.mark.parametrize("option", ["-l", "-v", "-k", "-K"])
def test_sudo_without_a_command(shell: str, option: str) -> None:
    done = sudo(shell, option)
    assert (done.stdout, done.returncode) == ("", 0)


@in_each_shell
def test_sudo_with_a_shell(shell: str) -> None:
    assert sudo(shell, "-s", "echo one; echo two").stdout == "one\ntwo\n"
    assert sudo(shell, "-i", "echo", "one").stdout == "one\n"
    assert sudo(shell, "-su", "root", "echo one").stdout == "one\n"


@in_each_shell
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize(
    "options", [("-u", "nobody"), ("-Hu", "nobody"), ("-n", "--user=nobody")], ids=" ".join
)
def test_sudo_as_somebody_else(shell: str, options: tuple[str, ...]) -> None:
    nobody = pwd.getpwnam("nobody")
    done = sudo(shell, *options, "sh", "-c", 'id -u; id -g; echo "$HOME $USER"')
    assert done.stdout.split("\n")[:3] == [
        str(nobody.pw_uid),
        str(nobody.pw_gid),
        f"{nobody.pw_dir} nobody",
    ], done.stderr


# first boot


class FirstBoot:
    def __init__(self, directory: Path, shell: str) -> None:
        self.directory = directory / "first-boot.d"
        self.log = directory / "log"
        self.shell = shell

    def hook(self, path: str, text: str = "") -> Path:
        hook = self.directory / path
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {path} >> {self.log}\n{text}\n")
        hook.chmod(0o755)
        return hook

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.shell, FIRST_BOOT, self.directory], capture_output=True, text=True)

    def ran(self) -> list[str]:
        lines = self.log.read_text().split() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture(params=SHELLS)
def boot(tmp_path: Path, request: pytest.FixtureRequest) -> FirstBoot:
    return FirstBoot(tmp_path, request.param)


def test_first_boot_hooks_run_by_name_then_place(boot: FirstBoot) -> None:
    for path in ("002-b/10-x", "001-a/10-x", "001-a/9-last", "002-b/10-x-more", "000-c/20-y", "010-d/10-x"):
        boot.hook(path)
    done = boot.run()
    assert done.returncode == 0, done.stderr
    wanted = ["001-a/10-x", "002-b/10-x", "010-d/10-x", "002-b/10-x-more", "000-c/20-y", "001-a/9-last"]
    assert boot.ran() == wanted
    assert not boot.directory.exists()


def test_a_failing_first_boot_hook_stays_with_those_after_it(boot: FirstBoot, tmp_path: Path) -> None:
    for path in ("001-a/10-x", "001-a/30-z"):
        boot.hook(path)
    boot.hook("002-b/20-y", f"test -e {tmp_path}/token")
    done = boot.run()
    assert done.returncode == 1
    assert "002-b/20-y failed with exit code 1; it runs again at the next boot" in done.stderr
    assert boot.ran() == ["001-a/10-x", "002-b/20-y"]
    assert not (boot.directory / "001-a" / "10-x").exists()
    assert boot.run().returncode == 1
    assert boot.ran() == ["002-b/20-y"]
    (tmp_path / "token").write_text("")
    assert boot.run().returncode == 0
    assert boot.ran() == ["002-b/20-y", "001-a/30-z"]
    assert not boot.directory.exists()


def test_data_beside_first_boot_hooks_is_not_run_and_stays_to_the_end(boot: FirstBoot) -> None:
    for name in ("10-x.sh", "defaults", "10x-y", "10-", "a-b"):
        boot.hook(f"001-a/{name}")
    boot.hook("001-a/10-not-executable").chmod(0o644)
    boot.hook("001-a/50-reads", 'test -e "$(dirname "$0")/defaults"')
    assert boot.run().returncode == 0
    assert boot.ran() == ["001-a/50-reads"]


def test_first_boot_hooks_get_no_input_and_their_output_is_kept(boot: FirstBoot) -> None:
    boot.hook("001-a/10-x", "cat; echo said")
    done = boot.run()
    assert "said\n" in done.stdout
    assert "running" in done.stdout


def test_nothing_to_do_at_first_boot(boot: FirstBoot) -> None:
    assert boot.run().returncode == 0
    boot.directory.mkdir()
    assert boot.run().returncode == 0
    assert not boot.directory.exists()


def test_the_unit_runs_before_rc_local_after_network_and_metadata() -> None:
    unit = (RUNNER / "first-boot" / "dibo-first-boot.service").read_text()
    assert "Before=rc-local.service" in unit
    assert "network-online.target" in unit
    assert "cloud-config.service" in unit
    assert "ExecStart=/usr/lib/dibo/first-boot\n" in unit


# settle


@in_each_shell
@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("touch: setting times of '/usr/x': No space left on device", 1),
        ("touch: setting times of '/usr/x': Disk quota exceeded", 1),
        ("touch: setting times of '/etc/hosts': Read-only file system", 0),
        ("", 0),
    ],
)
def test_a_full_store_fails_the_step_instead_of_making_another_layer(
    shell: str, message: str, code: int, tmp_path: Path
) -> None:
    text = (RUNNER / "settle").read_text()
    function = text[text.index("turn_back_time() {") : text.rindex("remove_traces\nturn_back_time")]
    fake(tmp_path, "find", f'[ -z "{message}" ] || {{ echo "{message}" >&2; exit 1; }}')
    fake(tmp_path, "touch", "exit 0")
    clock = tmp_path / "time"
    clock.write_text("1\n")
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    script = f"seconds=1; clock={clock}; context=/nowhere\n{function}\nturn_back_time"
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == code
    assert ("the times of files cannot be set" in done.stderr) == bool(code)
    assert not code or message in done.stderr


@in_each_shell
@pytest.mark.parametrize(
    ("step", "below", "answer"),
    [
        ("200\n", None, "200"),
        ("200\n", "100\n", "200"),
        ("200\n", "300\n", "300"),
        (None, "300\n", "300"),
        (None, None, ""),
    ],
)
def test_a_layer_is_no_older_than_those_below(
    shell: str, step: str | None, below: str | None, answer: str, tmp_path: Path
) -> None:
    (tmp_path / "dibo/step").mkdir(parents=True)
    (tmp_path / "root/var/lib/dibo").mkdir(parents=True)
    script = shutil.copy(RUNNER / "clock", tmp_path / "dibo")
    for text, path in ((step, "dibo/step/time"), (below, "root/var/lib/dibo/clock")):
        if text is not None:
            (tmp_path / path).write_text(text)
    done = subprocess.run([shell, script, tmp_path / "root"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{answer}\n"


@in_each_shell
def test_a_step_fails_when_its_end_does(shell: str) -> None:
    """The code of what a trap runs is not that of the shell."""
    text = (RUNNER / "run").read_text()
    leave = text[text.index("leave() {") : text.index("sources_digest() {")]
    script = f"made_policy=; phase=first-boot.d; settle() {{ return 7; }}\n{leave}\ntrap leave EXIT; true"
    done = subprocess.run([shell, "-c", script.replace('"$dibo/settle"', "settle")])
    assert done.returncode == 1
