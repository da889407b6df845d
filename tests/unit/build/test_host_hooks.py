"""Hooks on the host: real scripts, whose answers are read and never evaluated."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dibo.build import host_hooks, seccomp
from dibo.build.context import ExtraFiles
from dibo.build.host_hooks import HostRun
from dibo.errors import FlavourError, HookFailed, UsageError
from dibo.units import GIB, MIB
from tests.support.flavours import read_stack, write_flavour
from tests.support.requirements import need, unmet

SH = "#!/bin/sh\n"


def size_of(
    directory: Path, *asked: str, said: list[str] | None = None, size: int = 2 * GIB
) -> tuple[int, str]:
    heard: list[str] = [] if said is None else said
    return host_hooks.image_size(
        read_stack(directory, *asked),
        size=size,
        set_by="IMAGE_SIZE",
        host=HostRun(environment={"DECLARED": "yes"}, on_output=heard.append, policy="run"),
    )


def sizes(directory: Path, name: str, **hooks: str) -> Path:
    files = {f"block-device-size.d/{hook.replace('_', '-')}": SH + text for hook, text in hooks.items()}
    return write_flavour(directory, name, {path.replace("/h", "/"): text for path, text in files.items()})


def test_no_hook_leaves_the_size_alone(tmp_path: Path) -> None:
    write_flavour(tmp_path, "a")
    assert size_of(tmp_path, "a") == (2 * GIB, "IMAGE_SIZE")


def test_the_last_answer_wins_and_is_known_by_its_hook(tmp_path: Path) -> None:
    sizes(tmp_path, "a", h10_a="echo IMAGE_SIZE=3; echo IMAGE_SIZE=4", h30_a="echo IMAGE_SIZE=5.5")
    sizes(tmp_path, "b", h20_b="echo IMAGE_SIZE=9")
    assert size_of(tmp_path, "a", "b") == (5632 * MIB, "a's block-device-size.d/30-a")
    sizes(tmp_path, "c", h10_c="echo IMAGE_SIZE=3; echo IMAGE_SIZE=4")
    assert size_of(tmp_path, "c")[0] == 4 * GIB


def test_a_hook_is_given_what_the_hook_before_it_said(tmp_path: Path) -> None:
    sizes(tmp_path, "a", h10_a="echo IMAGE_SIZE=1.1", h20_a="echo IMAGE_SIZE=$IMAGE_SIZE")
    assert size_of(tmp_path, "a")[0] == 1127 * MIB
    sizes(tmp_path, "b", h30_b="echo IMAGE_SIZE=$((IMAGE_SIZE + 1))")
    assert size_of(tmp_path, "b", size=2 * GIB)[0] == 3 * GIB


def test_other_lines_are_shown_and_count_for_nothing(tmp_path: Path) -> None:
    sizes(
        tmp_path, "a", h10_a="echo looking; echo at it >&2; echo MY_IMAGE_SIZE=9; echo '  IMAGE_SIZE=4'; echo"
    )
    said: list[str] = []
    assert size_of(tmp_path, "a", said=said)[0] == 4 * GIB
    assert sorted(said) == ["MY_IMAGE_SIZE=9", "at it", "looking"]


@pytest.mark.parametrize("answer", ["abc", "", "2G", "-1", "1;2", "0"])
def test_an_answer_that_is_no_size(tmp_path: Path, answer: str) -> None:
    sizes(tmp_path, "a", h10_a=f"echo 'IMAGE_SIZE={answer}'")
    with pytest.raises(HookFailed) as caught:
        size_of(tmp_path, "a")
    assert f"10-a printed IMAGE_SIZE={answer}: " in caught.value.message


def test_an_answer_is_never_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trap = tmp_path / "trap"
    path = sizes(tmp_path, "a", h10_a=f"echo 'IMAGE_SIZE=$(touch {trap})'")
    with pytest.raises(HookFailed, match="printed IMAGE_SIZE="):
        size_of(tmp_path, "a")
    assert not trap.exists()
    assert sorted(each.name for each in path.iterdir()) == ["README.md", "block-device-size.d"]


def test_a_hook_that_fails_says_which_and_how(tmp_path: Path) -> None:
    sizes(tmp_path, "a", h10_a="echo IMAGE_SIZE=3; echo no disk >&2; exit 7", h20_a=f"touch {tmp_path}/later")
    with pytest.raises(
        HookFailed, match=r"hook 10-a of flavour 'a' in block-device-size.d ended with exit code 7"
    ) as c:
        size_of(tmp_path, "a")
    assert "| no disk" in c.value.hint
    assert not (tmp_path / "later").exists()


def test_a_hook_without_an_interpreter(tmp_path: Path) -> None:
    write_flavour(tmp_path, "a", {"block-device-size.d/10-a": "#!/nowhere/sh\n"})
    with pytest.raises(HookFailed, match="10-a cannot be run: No such file") as caught:
        size_of(tmp_path, "a")
    assert "interpreter" in caught.value.hint


def test_what_a_hook_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("http_proxy", "http://proxy")
    path = sizes(tmp_path, "a", h10_a='echo "$IMAGE_SIZE,$DECLARED,$SECRET,$http_proxy,$LANG,$PWD"')
    said: list[str] = []
    size_of(tmp_path, "a", said=said)
    assert said == [f"2,yes,,http://proxy,C.UTF-8,{path}"]


def test_block_device_hooks_are_given_the_whole_disk_and_the_last_answer_wins(tmp_path: Path) -> None:
    for name, text in (
        ("a", "echo IMAGE_BLOCK_DEVICE=${IMAGE_BLOCK_DEVICE}p1"),
        ("b", "echo b was given $IMAGE_BLOCK_DEVICE; echo 'IMAGE_BLOCK_DEVICE=$(touch trap)'"),
        ("c", "exit 0"),
    ):
        write_flavour(tmp_path, name, {f"block-device.d/10-{name}": SH + text})
    said: list[str] = []
    times: list[int] = []
    answer = host_hooks.block_device(
        read_stack(tmp_path, "a", "b", "c"),
        device=Path("/the/disk"),
        host=HostRun(environment={}, on_output=said.append, policy="run"),
        after=lambda: times.append(1),
    )
    assert answer == host_hooks.HookAnswer(
        text="$(touch trap)", hook=tmp_path / "b" / "block-device.d" / "10-b"
    )
    assert said == ["b was given /the/disk"]
    assert len(times) == 3
    assert not list(tmp_path.rglob("trap"))


def extra(directory: Path, *asked: str, policy: str = "run", said: list[str] | None = None) -> ExtraFiles:
    place = directory / "extra"
    place.mkdir()
    output: list[str] = [] if said is None else said
    host = HostRun(environment={}, on_output=output.append, policy=policy)
    return host_hooks.extra_data(read_stack(directory / "flavours", *asked), directory=place, host=host)


def test_extra_data_is_what_a_hook_adds_or_changes(tmp_path: Path) -> None:
    text = (
        'cp /etc/hostname "$TMP_HOOKS_PATH/name"; mkdir -p "$TMP_HOOKS_PATH/files"\n'
        'echo new > "$TMP_HOOKS_PATH/files/data"; rm "$TMP_HOOKS_PATH/same"\n'
    )
    write_flavour(
        tmp_path / "flavours", "a", {"extra-data.d/10-a": SH + text, "files/data": "old", "same": ""}
    )
    write_flavour(
        tmp_path / "flavours", "b", {"extra-data.d/10-b": SH + 'ls "$TMP_HOOKS_PATH" > "$TMP_HOOKS_PATH/l"'}
    )
    made = extra(tmp_path, "a", "b")
    assert {name: [file.path for file in files] for name, files in made.values.items()} == {
        "a": ["files/data", "name"],
        "b": ["l"],
    }
    target = tmp_path / "target"
    target.mkdir()
    made.place("b", made.values["b"], target)
    assert (target / "l").read_text().split() == ["extra-data.d", "l"]
    assert (tmp_path / "flavours" / "a" / "files" / "data").read_text() == "old"


def test_extra_data_hooks_of_one_flavour_see_one_another_s(tmp_path: Path) -> None:
    hooks = {
        "extra-data.d/10-a": SH + 'echo 1 > "$TMP_HOOKS_PATH/x"',
        "extra-data.d/20-a": SH + 'echo 2 >> "$TMP_HOOKS_PATH/x"',
    }
    write_flavour(tmp_path / "flavours", "a", hooks)
    target = tmp_path / "target"
    target.mkdir()
    made = extra(tmp_path, "a")
    made.place("a", made.values["a"], target)
    assert (target / "x").read_text() == "1\n2\n"


def test_extra_data_is_not_a_hook(tmp_path: Path) -> None:
    text = SH + 'mkdir "$TMP_HOOKS_PATH/install.d"; echo > "$TMP_HOOKS_PATH/install.d/10-new"'
    write_flavour(tmp_path / "flavours", "a", {"extra-data.d/10-a": text})
    with pytest.raises(FlavourError, match=r"made the hook install\.d/10-new"):
        extra(tmp_path, "a")


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_extra_data_for_its_owner_alone_stays_so(tmp_path: Path, umask: int) -> None:
    text = (
        'echo s > "$TMP_HOOKS_PATH/key"; chmod 600 "$TMP_HOOKS_PATH/key"; echo p > "$TMP_HOOKS_PATH/key.pub"'
    )
    write_flavour(tmp_path / "flavours", "a", {"extra-data.d/10-a": SH + text})
    before = os.umask(umask)
    try:
        made = extra(tmp_path, "a")
        (tmp_path / "target").mkdir()
        made.place("a", made.values["a"], tmp_path / "target")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "target").iterdir()}
    assert modes == {"key": 0o600, "key.pub": 0o644}
    assert {file.path: file.private for file in made.values["a"]} == {"key": True, "key.pub": False}


def test_extra_data_that_leaves(tmp_path: Path) -> None:
    text = SH + 'ln -s ../../../secret "$TMP_HOOKS_PATH/x"'
    write_flavour(tmp_path / "flavours", "a", {"extra-data.d/10-a": text})
    with pytest.raises(FlavourError, match="leaves its flavour"):
        extra(tmp_path, "a")


def test_a_hook_in_the_sandbox_writes_to_its_place_alone_and_leaves_nothing_behind(tmp_path: Path) -> None:
    need("bwrap")
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    text = (
        f"echo changed > {outside} || echo home: read-only\n"
        'echo data > "$TMP_HOOKS_PATH/data"; echo x > /tmp/of-the-hook; cat "$TMP_HOOKS_PATH/beside"\n'
        "sleep 987656 & disown 2> /dev/null; true\n"
    )
    write_flavour(tmp_path / "flavours", "a", {"extra-data.d/10-a": SH + text, "beside": "seen\n"})
    made = extra(tmp_path, "a", policy="sandbox")
    assert [file.path for file in made.values["a"]] == ["data"]
    assert outside.read_text() == "as it was"
    assert not Path("/tmp/of-the-hook").exists()
    commands = [
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)
    ]
    assert not [command for command in commands if b"987656" in command]


CALLS = """
import ctypes, errno, sys
library = ctypes.CDLL(None, use_errno=True)
for name, arguments in (
    ("unshare", (0x10000000,)),
    ("setns", (-1, 0)),
    ("mount", (None, None, None, 0, None)),
    ("ioctl", (-1, 0x5412, None)),
    ("socket", (40, 1, 77)),
    ("dup", (-1,)),
):
    done = getattr(library, name)(*arguments)
    print(name, "done" if done >= 0 else errno.errorcode[ctypes.get_errno()], file=sys.stderr)
"""


@pytest.mark.parametrize("phase", ["block-device.d", "extra-data.d"])
def test_a_hook_in_the_sandbox_is_refused_the_system_calls_that_steps_are(tmp_path: Path, phase: str) -> None:
    """New users, another namespace, a mount, TIOCSTI, AF_VSOCK; without the filter most have another answer."""
    need("bwrap")
    if seccomp.program() is None:
        unmet("this machine has no table of system calls")
    write_flavour(tmp_path / "flavours", "a", {f"{phase}/10-a": f"#!{sys.executable}\n{CALLS}"})
    said: list[str] = []
    if phase == "extra-data.d":
        extra(tmp_path, "a", policy="sandbox", said=said)
    else:
        disk = tmp_path / "disk"
        disk.touch()
        host_hooks.block_device(
            read_stack(tmp_path / "flavours", "a"),
            device=disk,
            host=HostRun(environment={}, on_output=said.append, policy="sandbox"),
            after=lambda: None,
        )
    refused = ("unshare", "setns", "mount", "ioctl", "socket")
    assert said == [*(f"{name} EPERM" for name in refused), "dup EBADF"]


SYSTEM = """
import os, pathlib, sys
for place in ("/proc/sys", "/proc/irq", "/proc/sysrq-trigger", "/sys"):
    if os.path.exists(place) and not os.statvfs(place).f_flag & os.ST_RDONLY:
        print(place, "is writable", file=sys.stderr)
for place in ("/proc/keys", "/proc/interrupts", "/proc/timer_list"):
    try:
        if os.path.exists(place) and pathlib.Path(place).read_bytes():
            print(place, "has content", file=sys.stderr)
    except PermissionError:
        pass
for place in ("/sys/firmware", "/sys/kernel/debug", "/sys/kernel/security", "/sys/fs/bpf"):
    if os.path.exists(place) and os.listdir(place):
        print(place, "has content", file=sys.stderr)
try:
    with open("/proc/sys/kernel/core_pattern", "ab"):  # opened, and nothing is written
        print("core_pattern can be written", file=sys.stderr)
except OSError:
    pass
"""


def test_a_hook_in_the_sandbox_changes_no_setting_of_the_kernel(tmp_path: Path) -> None:
    """As root, by an own /proc: its files are those of the machine."""
    need("bwrap")
    write_flavour(tmp_path / "flavours", "a", {"extra-data.d/10-a": f"#!{sys.executable}\n{SYSTEM}"})
    said: list[str] = []
    extra(tmp_path, "a", policy="sandbox", said=said)
    assert said == []


def test_the_same_hook_without_the_sandbox_does_all_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    write_flavour(tmp_path / "flavours", "a", {"extra-data.d/10-a": SH + f"echo changed > {outside}\n"})
    extra(tmp_path, "a")
    assert outside.read_text() == "changed\n"


def test_none_refuses_a_stack_with_hooks_on_the_host(tmp_path: Path) -> None:
    write_flavour(tmp_path, "a", {"install.d/10-a": SH})
    write_flavour(tmp_path, "b", {"extra-data.d/10-b": SH, "block-device.d/10-b": SH})
    host_hooks.require_allowed(read_stack(tmp_path, "a"), "none")
    host_hooks.require_allowed(read_stack(tmp_path, "a", "b"), "sandbox")
    with pytest.raises(
        UsageError, match=r"'b' has hooks that run on this machine \(block-device.d, extra-data.d\)"
    ):
        host_hooks.require_allowed(read_stack(tmp_path, "a", "b"), "none")
