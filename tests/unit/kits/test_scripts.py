"""The scripts of a kit, by busybox, with programs that only note what they were called with.

busybox prefers its own `ip` and `mount` to those on PATH, and the scripts set a PATH of their own: so that no mistake
of a test reaches this machine, all of them run where there is no network but a loopback, and mounts are nobody else's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.system import resources
from tests.support.host.namespaces import NAMESPACES, apart
from tests.support.programs import fake

OWN = resources.shared("converters") / "kit"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5"


def shell(tmp_path: Path, text: str, program: str = "busybox sh") -> str:
    """Run `text` with the functions of the kit; what it prints. Fakes in `bin` come before real programs, but busybox
    prefers its own: those need another shell."""
    functions = "\n".join(path.read_text() for path in sorted((OWN / "functions").iterdir()))
    head = f"set -u\nkit={tmp_path}/kit service={tmp_path}/service run={tmp_path}/run stopping=\n"
    for name in ("run", "service", "bin", "kit"):
        (tmp_path / name).mkdir(exist_ok=True)
    script = tmp_path / "script"
    script.write_text(f"{head}{functions}\n{text}\n")
    return apart([*program.split(), str(script)], {"PATH": f"{tmp_path}/bin:/usr/bin:/bin:/usr/sbin:/sbin"})


def replaced(text: str, old: str, new: str) -> str:
    """`text` with its only `old` replaced."""
    assert text.count(old) == 1, f"the script has not one line {old}"
    return text.replace(old, new)


def test_scripts_run_apart_from_this_machine(tmp_path: Path) -> None:
    own = {str(Path(f"/proc/self/ns/{name}").readlink()) for name in NAMESPACES}
    text = "".join(f"readlink /proc/self/ns/{name}\n" for name in NAMESPACES)
    for seen in (shell(tmp_path, text), shell(tmp_path, text, "sh")):
        assert len(seen.split()) == len(NAMESPACES), seen
        assert not own & set(seen.split())
    assert [line.split(":")[1].strip() for line in shell(tmp_path, "ip -o link").splitlines()] == ["lo"]


def test_keys_are_found_in_yaml_and_json(tmp_path: Path) -> None:
    text = f'{{"keys": {{"mine": "{KEY} me@here\\n"}}}}\n- {KEY} $(reboot)\nssh-dss old\nssh-ed25519 $(id)\n'
    (tmp_path / "text").write_text(text)
    assert shell(tmp_path, f"ssh_keys <{tmp_path}/text").splitlines() == [KEY, KEY]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("local-hostname: web-1\n", "web-1"),
        ('instance-id: x\nlocal-hostname: "web.example"\n', "web.example"),
        ('{"uuid": "1", "local-hostname": "web-2", "x": 1}', "web-2"),
        ('{"local-hostname":"web-3"}', "web-3"),
        ("local-hostname: $(reboot)\n", ""),
        ("not-local-hostname: web\n", ""),
    ],
)
def test_a_name_in_metadata(tmp_path: Path, text: str, value: str) -> None:
    (tmp_path / "text").write_text(text)
    assert shell(tmp_path, f"value_of local-hostname <{tmp_path}/text").strip() == value


@pytest.mark.parametrize(
    ("name", "taken"), [("web-1", True), ("", False), ("a b", False), ("-x", False), ("a;b", False)]
)
def test_names_that_are_taken(tmp_path: Path, name: str, taken: bool) -> None:
    shell(tmp_path, f"take_name '{name}'")
    assert (tmp_path / "run/hostname").exists() is taken


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("web-1.example\n", "web-1.example"),
        ("-F.\n", "localhost"),
        (f"web.{'x' * 70}\n", "web"),
        (f"{'x' * 70}\n", "localhost"),
        ("$(reboot)\n", "localhost"),
    ],
)
def test_names_that_the_kernel_takes(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/hostname").write_text(text)
    assert shell(tmp_path, "set_names; hostname") == f"{name}\n"


def test_user_data_become_variables(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("# mine\n\nA=1\nB_2=two $(words) 'x'\n")
    shell(tmp_path, f"take_user_data {tmp_path}/data")
    assert (tmp_path / "run/environment").read_text() == "A=1\nB_2=two $(words) 'x'\n"


@pytest.mark.parametrize(
    "text", [f"#cloud-config\nssh_authorized_keys:\n  - {KEY} me\n", "A=1\n2B=3\n", "A =1\n"]
)
def test_other_user_data_are_left_to_the_application(tmp_path: Path, text: str) -> None:
    (tmp_path / "data").write_text(text)
    assert "are not lines NAME=value" in shell(tmp_path, f"take_user_data {tmp_path}/data")
    assert not (tmp_path / "run/environment").exists()
    assert (tmp_path / "run/user-data").read_text() == text
    assert (tmp_path / "run/authorized_keys").read_text() == (f"{KEY}\n" if "ssh" in text else "")


def test_metadata_of_openstack(tmp_path: Path) -> None:
    """Those of a ConfigDrive are files, those of a server become files."""
    document = f'{{"uuid": "1", "hostname": "web-4", "name": "x", "public_keys": {{"mine": "{KEY} me\\n"}}}}'
    (tmp_path / "meta").write_text(document)
    (tmp_path / "user").write_text("A=1\n")
    shell(tmp_path, f"read_openstack {tmp_path}/meta {tmp_path}/user")
    texts = {
        name: (tmp_path / "run" / name).read_text() for name in ("hostname", "authorized_keys", "environment")
    }
    assert texts == {"hostname": "web-4\n", "authorized_keys": f"{KEY}\n", "environment": "A=1\n"}


def test_metadata_of_openstack_without_user_data(tmp_path: Path) -> None:
    (tmp_path / "meta").write_text('{"name": "web-5"}')
    assert shell(tmp_path, f"read_openstack {tmp_path}/meta {tmp_path}/none") == ""
    assert (tmp_path / "run/hostname").read_text() == "web-5\n"


def test_a_new_volume_begins_with_what_the_image_has(tmp_path: Path) -> None:
    fake(tmp_path, "mount", f'echo "$@" >>{tmp_path}/mounts')
    (tmp_path / "data").mkdir(mode=0o750)
    (tmp_path / "data/file").write_text("of the image")
    state = tmp_path / "state"
    shell(tmp_path, f"bind_volume {tmp_path}/data {state}", "sh")
    kept = Path(f"{state}{tmp_path}/data")
    assert (kept / "file").read_text() == "of the image"
    assert kept.stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "mounts").read_text() == f"--bind {kept} {tmp_path}/data\n"
    (kept / "file").write_text("of the machine")
    shell(tmp_path, f"bind_volume {tmp_path}/data {state}", "sh")
    assert (kept / "file").read_text() == "of the machine"


def supervised(tmp_path: Path, program: str, conf: str = "", text: str = "supervise") -> str:
    """Run a program under the supervisor, which waits a hundredth of what it would."""
    fake(
        tmp_path,
        "sleep",
        'case $1 in 600 | 2147483647 | *.*) exec /bin/sleep "$1" ;; *) exec /bin/sleep 0.0$1 ;; esac',
    )
    (tmp_path / "service").mkdir(exist_ok=True)
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run/environment").write_text("GIVEN=a 'b'\n")
    (tmp_path / "service/run").write_text(program)
    values = f"restart=always\nstop_signal=TERM\nstop_seconds=600\nuser_id=0\n{conf}\n"
    (tmp_path / "kit/bin").mkdir(parents=True, exist_ok=True)
    (tmp_path / "kit/bin/sh").unlink(missing_ok=True)
    (tmp_path / "kit/bin/sh").symlink_to("/bin/sh")
    return shell(tmp_path, f"{values}\ntrap 'end poweroff' TERM\n{text}", "sh")


def test_blanks_of_variables_stay(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/environment").write_text("SPACED=  two  words \nTAB=\tx\t\nLAST= no newline ")
    text = (
        f"mkdir -p {tmp_path}/kit/bin\nln -s /bin/sh {tmp_path}/kit/bin/sh\n"
        f"echo 'for word; do echo \"[$word]\"; done' >{tmp_path}/service/run\n(become run)\n"
    )
    said = shell(tmp_path, text, "sh").splitlines()
    assert said[1:] == ["[SPACED=  two  words ]", "[TAB=\tx\t]", "[LAST= no newline ]"]


def test_a_program_that_ends_is_started_again(tmp_path: Path) -> None:
    third = "kill -TERM $PPID; exec /bin/sleep 50"
    program = f'echo "$@" >>{tmp_path}/log\n[ $(wc -l <{tmp_path}/log) -lt 3 ] || {{ {third}; }}\nexit 7\n'
    said = supervised(tmp_path, program)
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].endswith(" GIVEN=a 'b'")
    assert lines[0].startswith("HOSTNAME=")
    assert said.count("the application ended with 7") == 2


@pytest.mark.parametrize(
    ("restart", "code", "times"), [("never", 7, 1), ("never", 0, 1), ("on-failure", 0, 1)]
)
def test_a_program_that_may_end(tmp_path: Path, restart: str, code: int, times: int) -> None:
    said = supervised(tmp_path, f"echo x >>{tmp_path}/log\nexit {code}\n", f"restart={restart}")
    assert (tmp_path / "log").read_text() == "x\n" * times
    assert f"the application ended with {code}" in said


def test_a_program_is_stopped_by_its_signal(tmp_path: Path) -> None:
    program = f"trap 'echo stopped >{tmp_path}/log; exit 0' USR1\nkill -TERM $PPID\nwhile :; do /bin/sleep 0.05; done\n"
    supervised(tmp_path, program, "stop_signal=USR1")
    assert (tmp_path / "log").read_text() == "stopped\n"


def test_a_program_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    program = "trap '' TERM\nkill -TERM $PPID\nwhile :; do /bin/sleep 0.05; done\n"
    supervised(tmp_path, program, "stop_seconds=5")


def test_a_program_that_is_not_healthy_is_started_again(tmp_path: Path) -> None:
    program = f"echo x >>{tmp_path}/log\n[ $(wc -l <{tmp_path}/log) -lt 2 ] || kill -TERM $PPID\nexec /bin/sleep 50\n"
    (tmp_path / "service").mkdir()
    (tmp_path / "service/health").touch()
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit/start").write_text("exit 1\n")
    conf = "health_interval=1\nhealth_timeout=9\nhealth_start=0\nhealth_retries=2\nstop_seconds=5"
    said = supervised(tmp_path, program, conf)
    assert "the application is not healthy: 2 checks in a row failed" in said
    assert (tmp_path / "log").read_text() == "x\nx\n"


def event(tmp_path: Path, name: str, **variables: str) -> list[str]:
    """Run the script of the DHCP client; what it called `ip` with."""
    (tmp_path / "run").mkdir(exist_ok=True)
    fake(tmp_path, "ip", f'case "$*" in *"route del"*) exit 1 ;; esac; echo "$@" >>{tmp_path}/log')
    text = replaced((OWN / "udhcpc").read_text(), "run=/run/dibo\n", f"run={tmp_path}/run\n")
    text = replaced(text, "PATH=/usr/lib/dibo/kit/bin", f"PATH={tmp_path}/bin:/usr/bin:/bin")
    apart(["sh", "-c", text, "udhcpc", name], {"PATH": "/bin", "interface": "eth0", **variables})
    log = tmp_path / "log"
    return log.read_text().splitlines() if log.exists() else []


def test_an_address(tmp_path: Path) -> None:
    called = event(
        tmp_path, "bound", ip="192.0.2.7", mask="25", router="192.0.2.1", dns="192.0.2.3 x;y", domain="a.example $(id)",
        hostname="web-9", mtu="1450",
    )  # fmt: skip
    assert called == [
        "link set eth0 mtu 1450",
        "-4 address replace 192.0.2.7/25 dev eth0",
        "-4 route add default via 192.0.2.1 dev eth0",
    ]
    assert (tmp_path / "run/resolv.conf").read_text() == "search a.example\nnameserver 192.0.2.3\n"
    assert (tmp_path / "run/dhcp-hostname").read_text() == "web-9\n"


def test_what_is_no_address_or_name(tmp_path: Path) -> None:
    dns = "1.2.3.4.5 1..2.3 1.2.3 1234.1.1.1 .1.2.3 1.2.3. 1.2.3.x * 192.0.2.3"
    event(tmp_path, "bound", ip="192.0.2.7", dns=dns, search=f"-a b_c {'d' * 254} e.example")
    assert (tmp_path / "run/resolv.conf").read_text() == "search e.example\nnameserver 192.0.2.3\n"
    (tmp_path / "other").mkdir()
    assert event(tmp_path / "other", "bound", ip="192.0.2.7 192.0.2.8") == []


def test_an_address_that_is_lost(tmp_path: Path) -> None:
    """Before the first one, nothing has to be taken away."""
    assert event(tmp_path, "deconfig") == []
    event(tmp_path, "bound", ip="192.0.2.7")
    (tmp_path / "log").unlink()
    assert event(tmp_path, "deconfig") == ["-4 address flush dev eth0", "link set eth0 up"]


def test_routes_without_classes_come_before_the_router(tmp_path: Path) -> None:
    called = event(
        tmp_path, "renew", ip="192.0.2.7", router="192.0.2.1",
        staticroutes="169.254.169.254/32 192.0.2.9 0.0.0.0/0 192.0.2.2 10.0.0.0/8 0.0.0.0 $(id) *",
    )  # fmt: skip
    assert called[1:] == [
        "-4 route add 169.254.169.254/32 via 192.0.2.9 dev eth0 onlink",
        "-4 route add 0.0.0.0/0 via 192.0.2.2 dev eth0 onlink",
        "-4 route add 10.0.0.0/8 dev eth0",
    ]
