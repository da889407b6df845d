"""/init: its pieces, where each line is from, what its checks find; fragments that run in a shell of this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dibo.api.ramdisk import script_of
from dibo.errors import RamdiskError
from dibo.flavours.loader import Catalogue, load_wishes
from dibo.flavours.ramdisk_requests import Fragment
from dibo.ramdisk.init import Script, assemble, syntax_error
from dibo.ramdisk.lint import check
from dibo.system import resources
from tests.support.init_functions import init_functions
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

BEGIN = Fragment(flavour="", path="begin", text="#!/bin/sh\nbegin() { :; }\n")
END = Fragment(flavour="", path="end", text="echo end\n")


def fragment(text: str, flavour: str = "web") -> Fragment:
    return Fragment(flavour=flavour, path=f"/f/{flavour}/init", text=text)


def test_lines_are_known_by_their_file() -> None:
    script = assemble([BEGIN], [fragment("#!/bin/sh\nfirst\nsecond"), fragment("third\n", "b")], END)
    lines = script.text.splitlines()
    assert lines[:2] == ["#!/bin/sh", "begin() { :; }"] and lines[-1] == "echo end"
    assert script.location(lines.index("second") + 1) == "/f/web/init:3, of the flavour 'web'"
    assert script.location(lines.index("third") + 1) == "/f/b/init:1, of the flavour 'b'"
    assert script.location(2) == "begin:2" and script.location(len(lines)) == "end:1"
    assert script.location(lines.index("fragment_1() {") + 1).startswith("/init:")
    assert "#!/bin/sh" not in lines[2:]


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ('/t/init: 3: Syntax error: "}" unexpected', (3, 'Syntax error: "}" unexpected')),
        (
            "/t/init: line 7: syntax error near unexpected token `}'",
            (7, "syntax error near unexpected token `}'"),
        ),
        ('sh: line 12: syntax error: unexpected "}"', (12, 'syntax error: unexpected "}"')),
        ("killed", None),
    ],
)
def test_what_shells_say(message: str, found: tuple[int, str] | None) -> None:
    assert syntax_error(message) == found


@pytest.mark.parametrize(
    ("text", "line"),
    [("true\nif true; then\n", 3), ("true\n}\nx() {\ntrue\n", 2), ("echo 'a\n", 2), ("case x in\n", 2)],
)
def test_a_mistake_is_found_in_its_flavour(text: str, line: int, tmp_path: Path) -> None:
    pieces = [fragment("true\n", "a"), fragment(text)]
    with pytest.raises(RamdiskError, match=rf"^/f/web/init:{line}, of the flavour 'web': "):
        check(assemble([BEGIN], pieces, END), pieces, directory=tmp_path)


def run(*texts: str) -> list[str]:
    """What fragments say when the real beginning's run_fragment runs them, without the rest of it."""
    functions = init_functions()
    own = "LOG=/dev/null\npost_log() { :; }\ntroubleshoot() { :; }\nfinish() { exit 9; }\n"
    pieces = [fragment(text, f"f{number}") for number, text in enumerate(texts)]
    whole = assemble([Fragment(flavour="", path="b", text=functions + "\n" + own)], pieces, END).text
    return subprocess.run(
        ["sh", "-c", whole.replace("/run/dibo/", f"{Path.cwd()}/")], capture_output=True, text=True
    ).stdout.splitlines()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_is_exported_stays_and_nothing_else() -> None:
    message = run(
        "own=1\nexport shared='a b'\\''c'\ncd /\nhelper() { :; }\n",
        'echo "<${own-}> <$shared> $PWD"\ncommand -v helper || echo none\nexport shared=second',
        'echo "<$shared>"',
    )
    assert "<> <a b'c> " + str(Path.cwd()) in message
    assert "none" in message and "<second>" in message and message[-1] == "end"


@pytest.mark.parametrize("ending", ["exit 0", "return 0", "true", "export x=1; exit"])
def test_a_fragment_that_ends_well(ending: str) -> None:
    assert run(ending)[-1] == "end"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exit 3", "its fragment of /init ended with 3"),
        ("false", "its fragment of /init ended with 1"),
        ("die the disk is gone", "the disk is gone"),
        ("set -e\nfalse\ntrue", "its fragment of /init ended with 1"),
    ],
)
def test_a_fragment_that_fails_ends_it_all(text: str, reason: str) -> None:
    message = run("true", text, "echo not reached")
    assert message[-1] == f"dibo: FAILED: f1: {reason}"
    assert "not reached" not in message


def test_shellcheck_warns_and_refuses(tmp_path: Path) -> None:
    need_shellcheck()
    pieces = [fragment("true\n\ncd /x\n")]
    (warning,) = check(assemble([BEGIN], pieces, END), pieces, directory=tmp_path)
    assert warning.startswith("/f/web/init:3, of the flavour 'web': Use 'cd ... ||") and "SC2164" in warning
    pieces = [fragment("x=(1 2)\n")]
    with pytest.raises(RamdiskError, match=r"^/f/web/init:1, of the flavour 'web'"):
        check(assemble([BEGIN], pieces, END), pieces, directory=tmp_path)


def need_shellcheck() -> None:
    from tests.support.requirements import need

    need("shellcheck")


def test_our_own_is_right(tmp_path: Path) -> None:
    need_shellcheck()
    script, fragments = script_of(())
    assert isinstance(script, Script)
    assert check(script, fragments, directory=tmp_path) == ()


def test_fragments_that_come_with_dibo_are_right(tmp_path: Path) -> None:
    need_shellcheck()
    catalogue = Catalogue([resources.shared("flavours")])
    requests = tuple(load_wishes(catalogue.get(found.name)) for found in catalogue)
    script, fragments = script_of(requests)
    assert {each.flavour for each in fragments} >= {"deploy", "hwburnin", "hwdiscovery", "ramdisk-base"}
    assert check(script, fragments, directory=tmp_path) == ()


def test_a_console_that_is_slow_gets_everything() -> None:
    """It takes a line every fifth of a second, for longer than any fixed time to wait; a pipe holds the last 16."""
    script = (
        "mkdir dev; mkfifo dev/slow; mkdir run; CONSOLES=slow LOG=log\n"
        "( exec 9<dev/slow; while IFS= read -r line <&9; do sleep 0.2; echo . >>shown; done ) &\n"
        "exec 8>dev/slow; mkfifo run/lines; log_lines <run/lines & exec 3>&1 >run/lines\n"
        "for n in $(seq 40); do printf '%04080d\\n' $n; done; flush_log; exec 1>&3; grep -c . shown\n"
        "kill %1 %2 2>/dev/null; exit 0"
    )
    text = init_functions().replace("/dev/$console", "dev/$console").replace("/run/dibo/", "run/")
    done = subprocess.run(
        ["bash", "-c", f"{text}\n{script}"], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert int(done.stdout) >= 22, done.stderr


def functions(script: str, cmdline: str = "") -> list[str]:
    """What some shell says that has the functions of the real beginning."""
    text = init_functions().replace("/proc/cmdline", "./cmdline")
    Path("cmdline").write_text(cmdline + "\n")
    done = subprocess.run(["sh", "-c", f"{text}\n{script}"], capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_kernel_parameters() -> None:
    line = (
        "quiet ip=10.0.0.2:10.0.0.1:10.0.0.254:255.255.255.0::eth0:off disk=sda,vda troubleshoot a=1 a=2 x="
    )
    script = (
        'for p in disk troubleshoot a x gone isk; do v=$(get_kernel_parameter $p); echo "$p $? <$v>"; done'
    )
    assert functions(script, line) == [
        "disk 0 <sda,vda>",
        "troubleshoot 0 <>",
        "a 0 <1>",
        "x 0 <>",
        "gone 1 <>",
        "isk 1 <>",
    ]
    assert functions("set_variables; echo $BOOT_MAC", "BOOTIF=01-52-54-00-AB-cd-ef") == ["52:54:00:ab:cd:ef"]


NAMES = ("client", "server", "gateway", "netmask", "interface", "method", "dns1", "dns2")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (
            "ip=10.0.0.2:10.0.0.1:10.0.0.254:255.255.255.0::eth0:off",
            ["10.0.0.2", "10.0.0.1", "10.0.0.254", "255.255.255.0", "eth0", "off", "", ""],
        ),
        (
            "ip=[fd00::2]:[fd00::1]::64:::none:[fd00::53]",
            ["fd00::2", "fd00::1", "", "64", "", "none", "fd00::53", ""],
        ),
        ("ip=dhcp", ["", "", "", "", "", "dhcp", "", ""]),
        ("ip=ens3:dhcp", ["", "", "", "", "ens3", "dhcp", "", ""]),
        ("ip=eth0.5:auto6:9000", ["", "", "", "", "eth0.5", "auto6", "", ""]),
        ("ip=::::host:ens4:dhcp", ["", "", "", "", "ens4", "dhcp", "", ""]),
        ("quiet", [""] * 8),
    ],
)
def test_forms_of_ip(line: str, values: list[str]) -> None:
    """Those of the kernel and of dracut. The name of an interface is no address."""
    said = functions(f'for n in {" ".join(NAMES)}; do echo "$n $(ip_parameter $n)"; done', line)
    assert said == [f"{name} {value}" for name, value in zip(NAMES, values, strict=True)]


def test_an_interface_that_is_not_there_is_named() -> None:
    (said,) = functions("network_interfaces() { echo ens3; }; no_link", "ip=10.0.0.2::::host:eth99:off")
    assert said == "ip= names the interface eth99, which is not there; there are: ens3 "


def test_a_switch_that_forwards_nothing_for_a_while_is_waited_for() -> None:
    """Spanning tree: each round takes half a minute and fails until the port forwards."""
    script = (
        "sleep() { :; }; clock=0; uptime_seconds() { cat clock; }; echo 0 >clock\n"
        "try_network() { echo $(($(cat clock) + 27)) >clock; [ $(cat clock) -gt 60 ]; }\n"
        "wait_for_address && cat clock"
    )
    assert functions(script)[-1] == "81"
    assert functions(script, "network_seconds=20") == []


@pytest.mark.parametrize(
    ("device", "disk"),
    [
        ("/dev/sda1", "/dev/sda"),
        ("vdb", "/dev/vdb"),
        ("nvme0n1p3", "/dev/nvme0n1"),
        ("/dev/nvme0n1", "/dev/nvme0n1"),
        ("mmcblk0p2", "/dev/mmcblk0"),
        ("mmcblk0", "/dev/mmcblk0"),
        ("cciss/c0d0p1", "/dev/cciss/c0d0"),
        ("cciss/c0d0", "/dev/cciss/c0d0"),
    ],
)
def test_names_of_disks(device: str, disk: str) -> None:
    assert functions(f"whole_disk_name {device}") == [disk]


def test_names_of_partitions() -> None:
    script = "for d in sda nvme0n1 mmcblk0 cciss/c0d0 vdb; do partition_name $d 2; done"
    assert functions(script) == ["sda2", "nvme0n1p2", "mmcblk0p2", "cciss/c0d0p2", "vdb2"]
