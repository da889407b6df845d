"""States of units by links alone: those that systemctl list-unit-files has."""

from __future__ import annotations

import pytest

from dibo.contents.units import units
from tests.support.node_trees import Content, tree

LIB = "usr/lib/systemd/system"
ETC = "etc/systemd/system"
INSTALL = b"[Install]\nWantedBy=multi-user.target\n"


@pytest.mark.parametrize(
    ("entries", "name", "state"),
    [
        ({f"{LIB}/a.service": INSTALL}, "a.service", "disabled"),
        (
            {f"{LIB}/a.service": INSTALL, f"{ETC}/b.target.wants/a.service": f"/{LIB}/a.service"},
            "a.service",
            "enabled",
        ),
        ({f"{LIB}/a.service": b"", f"{LIB}/b.service": b"[Unit]\n"}, "b.service", "static"),
        (
            {f"{LIB}/a.service": b"[Unit]\n", f"{LIB}/x.target.wants/a.service": "../a.service"},
            "a.service",
            "static",
        ),
        ({f"{LIB}/a.service": b""}, "a.service", "masked"),
        ({f"{LIB}/a.service": INSTALL, f"{ETC}/a.service": "/dev/null"}, "a.service", "masked"),
        ({f"{LIB}/a.service": INSTALL, f"{LIB}/b.service": "a.service"}, "b.service", "alias"),
        ({f"{LIB}/a.service": INSTALL, f"{ETC}/dbus-a.service": f"/{LIB}/a.service"}, "a.service", "enabled"),
        ({f"{LIB}/a.service": b"[Install]\nAlso=b.socket\n"}, "a.service", "indirect"),
        ({f"{LIB}/a.service": b"[Install]\nWantedBy=\n#WantedBy=x\n"}, "a.service", "disabled"),
        ({f"{LIB}/a@.service": INSTALL, f"{ETC}/m.target.wants/a@1.service": "x"}, "a@.service", "enabled"),
        ({f"lib/{LIB[8:]}/a.service": INSTALL}, "a.service", "disabled"),
        ({LIB: None, f"{ETC}/a.service": INSTALL}, "a.service", "disabled"),
    ],
)
def test_states(entries: dict[str, Content], name: str, state: str) -> None:
    assert {unit.name: unit.state for unit in units(tree(entries), {})}[name] == state


def test_merged_usr_is_one_directory() -> None:
    (unit,) = units(
        tree({f"{LIB}/a.service": INSTALL, "lib": "usr/lib"}), {b"lib/systemd/system/a.service": "pkg"}
    )
    assert (unit.path, unit.package) == (f"{LIB}/a.service".encode(), "pkg")


def test_presets_and_what_a_unit_says() -> None:
    text = b"[Unit]\nDescription=A \\\n  long one\n[Service]\nExecStart=\nExecStart=/bin/a -x\nExecStart=/bin/b\n"
    root = tree(
        {
            f"{LIB}/a.service": text + INSTALL,
            f"{LIB}/b.socket": b"[Socket]\nListenStream=80\nListenDatagram=[::1]:53\n[Install]\nWantedBy=s.target\n",
            "usr/lib/systemd/system-preset/90-x.preset": b"# all\ndisable *\n",
            "etc/systemd/system-preset/50-y.preset": b"enable a.*\nenable\nnonsense x\n",
        }
    )
    a, b = units(root, {})
    assert (a.description, a.start, a.preset) == ("A    long one", "/bin/a -x", "enabled")
    assert (b.listen, b.preset) == (("80", "[::1]:53"), "disabled")


def test_hostile_units() -> None:
    root = tree(
        {
            f"{LIB}/a.service": b"\xff=\n[=\n]\n[\n====\n" + b"x" * (1 << 20),
            f"{LIB}/loop.service": "loop.service",
        }
    )
    assert [unit.name for unit in units(root, {})] == ["a.service", "loop.service"]
