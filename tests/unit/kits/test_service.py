"""What an image says about its application, read and checked."""

from __future__ import annotations

from typing import Any

import pytest

from dibo.errors import ImageError
from dibo.kits.service import DEFAULT_PATH, HealthCheck, Service, has_own_init, service_of
from dibo.kits.users import User
from tests.support.node_trees import Program, tree

SECOND = 1_000_000_000
ROOT = tree(
    {
        "bin": "usr/bin",
        "usr/bin/sh": Program(b"sh"),
        "usr/bin/web": Program(b"web"),
        "usr/bin/text": b"no program",
        "srv/app/run": Program(b"run"),
        "data": None,
        "settings": "/etc",
        "var/run": "/run",
        "circle": "circle-2",
        "circle-2": "/circle",
        "current": "data/..",
        "db": "data",
        "cache": "srv/new/cache",
        "to-etc": "etc",
        "run": None,
        "usr/lib/dibo/kit/start": b"",
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n",
        "etc/app.conf": b"",
    }
)


def service(**run: Any) -> Service:
    return service_of({"config": {"Cmd": ["web"], **run}}, ROOT, name="web:1")


def refused(**run: Any) -> str:
    with pytest.raises(ImageError) as caught:
        service(**run)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    return caught.value.message


def test_what_is_not_said() -> None:
    assert service() == Service(
        command=("/usr/bin/web",),
        environment={"PATH": DEFAULT_PATH, "HOME": "/root"},
        directory="/",
        user=User(uid=0, gid=0, home="/root"),
    )


def test_everything() -> None:
    made = service(
        Entrypoint=["./run", "-x"],
        Cmd=["a b"],
        Env=["PATH=/srv/app", "HOME=/elsewhere", "A=1=2", "odd.name=", "A=3"],
        WorkingDir="//srv/./app/",
        User="web",
        Volumes={"/data": {}, "/srv/app/state": {}, "/data/inner": {}},
        ExposedPorts={"80/tcp": {}, "53/udp": {}, "8000-8010": {}},
        StopSignal="SIGQUIT",
        Healthcheck={"Test": ["CMD-SHELL", "wget -q localhost"], "Interval": 5 * SECOND, "Retries": 2},
    )
    assert made.command == ("/srv/app/./run", "-x", "a b")
    assert made.environment == {"PATH": "/srv/app", "HOME": "/elsewhere", "A": "3", "odd.name": ""}
    assert (made.directory, made.user.uid) == ("/srv/app", 33)
    assert made.volumes == ("/data", "/srv/app/state")
    assert made.ports == ("53/udp", "80/tcp", "8000-8010")
    assert made.stop_signal == "QUIT"
    assert made.health == HealthCheck(command=("/bin/sh", "-c", "wget -q localhost"), interval=5, retries=2)


@pytest.mark.parametrize(
    ("given", "signal"),
    [
        ("TERM", "TERM"),
        ("sigint", "INT"),
        ("15", "15"),
        ("SIGRTMIN+3", "37"),
        ("RTMAX-1", "63"),
        ("SIGRTMIN", "34"),
    ],
)
def test_stop_signals(given: str, signal: str) -> None:
    assert service(StopSignal=given).stop_signal == signal


@pytest.mark.parametrize("given", ["SIGNOTHING", "0", "65", "RTMIN+40", "-9", "TERM; reboot", "\u0661", 9])
def test_no_stop_signals(given: object) -> None:
    assert "StopSignal" in refused(StopSignal=given)


def test_the_health_check_of_docker() -> None:
    assert service(Healthcheck={"Test": ["NONE"]}).health is None
    assert service(Healthcheck={}).health is None
    health = service(
        Healthcheck={"Test": ["CMD", "/x", "y"], "Timeout": 1, "StartPeriod": 90 * SECOND}
    ).health
    assert health == HealthCheck(command=("/x", "y"), timeout=1, start=90)


@pytest.mark.parametrize(
    "check",
    [
        [],
        {"Test": "CMD"},
        {"Test": ["CMD"]},
        {"Test": ["RUN", "x"]},
        {"Test": ["CMD-SHELL", "a", "b"]},
        {"Test": ["CMD", 1]},
        {"Test": ["CMD", "x"], "Interval": -1},
        {"Test": ["CMD", "x"], "Interval": "30s"},
        {"Test": ["CMD", "x"], "Interval": 10**18},
        {"Test": ["CMD", "x"], "Retries": True},
        {"Test": ["CMD", "x"], "Retries": -1},
    ],
)
def test_no_health_checks(check: object) -> None:
    assert "Healthcheck" in refused(Healthcheck=check)


@pytest.mark.parametrize("path", ["../..", "/srv/../../etc", "srv", "/a\nb", "/a\0", 7])
def test_no_working_directories(path: object) -> None:
    assert "WorkingDir" in refused(WorkingDir=path)


@pytest.mark.parametrize("path", ["/", "//", "/.", "/etc", "/usr/", "/var/lib", "/proc/1", "/run/x", "/dev"])
def test_volumes_that_a_machine_needs(path: str) -> None:
    assert "needs as it is" in refused(Volumes={path: {}})


@pytest.mark.parametrize("path", ["data", "/data/..", "/da\nta", ""])
def test_volumes_that_are_no_paths(path: str) -> None:
    assert "Volumes" in refused(Volumes={path: {}})


def test_volumes_lie_where_links_lead() -> None:
    made = service(Volumes={"/current/db": {}, "/cache": {}, "/data/x": {}})
    assert made.volumes == ("/data", "/srv/new/cache")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/circle", "links lead in a circle"),
        ("/circle/below", "links lead in a circle"),
        ("/etc/app.conf/below", "below a file"),
        ("/to-etc", "a machine needs as it is"),
    ],
)
def test_volumes_of_links_that_lead_nowhere(path: str, message: str) -> None:
    assert message in refused(Volumes={path: {}})


def test_a_volume_that_is_a_file() -> None:
    assert "no directory" in refused(Volumes={"/etc/app.conf": {}})


@pytest.mark.parametrize("entry", ["NAME", "=x", "A B=c", "A\nB=c", "A=\0", 5, "A" * 200_000 + "=1"])
def test_no_variables(entry: object) -> None:
    assert "Env" in refused(Env=[entry])


@pytest.mark.parametrize("port", ["http", "0", "70000/tcp", "80/icmp", "80;reboot"])
def test_no_ports(port: str) -> None:
    assert "ExposedPorts" in refused(ExposedPorts={port: {}})


@pytest.mark.parametrize("value", [{"a": 1}, [1], 7])
def test_commands_that_are_no_lists_of_texts(value: object) -> None:
    assert "Cmd" in refused(Cmd=value)


@pytest.mark.parametrize("word", ["nothing", "/usr/bin/nothing", "/data", "../usr/bin/nothing"])
def test_programs_that_are_not_there(word: str) -> None:
    assert "no program in it" in refused(Cmd=[word])


@pytest.mark.parametrize("word", ["text", "/usr/bin/text", "bin/text"])
def test_a_program_that_nobody_may_run(word: str) -> None:
    assert "bin/text' is not executable" in refused(Cmd=[word])


def test_nothing_to_run() -> None:
    assert "nothing to run" in refused(Cmd=None)
    assert "the name of a program" in refused(Cmd=[""])


def test_a_program_in_a_volume_may_come_later() -> None:
    assert service(Cmd=["/data/bin/app"], Volumes={"/data": {}}).command == ("/data/bin/app",)


@pytest.mark.parametrize(
    ("run", "files", "own"),
    [
        ({"Cmd": ["/sbin/init"]}, {}, True),
        ({"Entrypoint": ["/lib/systemd/systemd"]}, {}, True),
        ({}, {"sbin/init": Program(b"")}, True),
        ({"Cmd": ["/bin/sh"]}, {"sbin/init": "../bin/busybox"}, False),
        ({}, {}, False),
    ],
)
def test_an_init_of_its_own(run: dict[str, Any], files: dict[str, Any], own: bool) -> None:
    assert has_own_init({"config": run}, tree(files)) is own
    assert has_own_init({"config": None}, tree({})) is False


@pytest.mark.parametrize(
    "run",
    [
        {"Cmd": ["web", "\ud800"]},
        {"Cmd": ["\ud800"]},
        {"Env": ["A=\ud800"]},
        {"Volumes": {"/\ud800": {}}},
        {"WorkingDir": "/\ud800"},
        {"User": "\ud800"},
        {"Env": ["A=" + "é" * (64 << 10)]},
    ],
)
def test_texts_that_no_program_can_get(run: dict[str, Any]) -> None:
    assert "expected a text" in refused(**run)


def test_more_than_a_program_can_get() -> None:
    assert "1.5 MiB" in refused(Cmd=["web", *(["x" * (100 << 10)] * 16)])
    assert "without `=`" in refused(Cmd=["/a=b"])
    assert "without `=`" in refused(Healthcheck={"Test": ["CMD", "a=b"]})


@pytest.mark.parametrize("path", ["/settings", "/var/run", "/usr/lib/dibo", "/usr/lib/dibo/kit"])
def test_volumes_that_would_hide_what_a_machine_needs(path: str) -> None:
    assert f"has the volume {path}, which a machine needs" in refused(Volumes={path: {}})


@pytest.mark.parametrize("entrypoint", [5, True, {"/sbin/init": 1}, [5], "web"])
def test_an_entrypoint_that_is_no_list_is_no_init(entrypoint: object) -> None:
    assert not has_own_init({"config": {"Entrypoint": entrypoint}}, ROOT)
