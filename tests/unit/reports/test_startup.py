"""What a machine starts by itself, by links and by lines of units."""

from __future__ import annotations

from typing import Any

from dibo.contents.inventory import FileRecord, Unit
from dibo.reports.startup import first_boot_hooks, started_units
from dibo.reports.unit_files import unit_files
from tests.support.report_samples import inventory, record

SYSTEM = "usr/lib/systemd/system"


def unit(name: str, state: str = "static", *wanted_by: str, path: str = "") -> Unit:
    return Unit(name=name, path=(path or f"{SYSTEM}/{name}").encode(), state=state, wanted_by=wanted_by)


def started(
    units: list[Unit], texts: dict[str, str] | None = None, **fields: Any
) -> dict[str, tuple[str, ...]]:
    """What starts, by what."""
    texts = texts or {}
    files: dict[bytes, FileRecord] = {item.path: record() for item in units}
    files |= {path.encode(): record() for path in texts}
    files |= fields.pop("files", {})
    image = inventory(files, units=tuple(units), **fields)
    found = unit_files(image.units, image.files, lambda path: texts.get(path.decode(), ""))
    return {
        item.name: (item.on_demand,) if item.on_demand else item.wanted_by
        for item in started_units(image, found, lambda _: 0)
    }


def test_links_lead_from_the_default_target() -> None:
    units = [
        unit("web.service", "enabled", "multi-user.target"),
        unit("early.service", "static", "sysinit.target"),
        unit("off.service", "disabled"),
        unit("orphan.service", "enabled", "other.target"),
        unit("masked.service", "masked", "multi-user.target"),
    ]
    assert started(units) == {"web.service": ("multi-user.target",), "early.service": ("sysinit.target",)}


def test_lines_lead_on() -> None:
    units = [
        unit("web.service", "enabled", "multi-user.target"),
        unit("net.target"),
        unit("net.service", "enabled", "net.target"),
    ]
    texts = {
        f"{SYSTEM}/web.service": "[Unit]\nWants=net.target\\\n other.service\n",
        "etc/systemd/system/web.service.d/10-x.conf": "[Unit]\nRequires=late.service\n",
    }
    units.append(unit("late.service"))
    assert started(units, texts) == {
        "web.service": ("multi-user.target",),
        "net.service": ("net.target",),
        "late.service": ("web.service",),
    }


def test_an_empty_value_takes_back_those_before() -> None:
    units = [unit("web.service", "enabled", "multi-user.target"), unit("net.service")]
    texts = {f"{SYSTEM}/web.service": "[Unit]\nWants=net.service\nWants=\n"}
    assert list(started(units, texts)) == ["web.service"]


def test_aliases_and_instances() -> None:
    units = [
        unit("default.target", "alias"),
        unit("rescue.target"),
        unit("getty@.service", "enabled", "rescue.target"),
        unit("dbus.service", "alias"),
        unit("dbus-broker.service"),
    ]
    files = {
        f"{SYSTEM}/default.target".encode(): record(kind="symlink", target=b"rescue.target"),
        f"{SYSTEM}/dbus.service".encode(): record(kind="symlink", target=b"dbus-broker.service"),
    }
    texts = {f"{SYSTEM}/rescue.target": "[Unit]\nRequires=dbus.service shell@tty1.service\n"}
    units.append(unit("shell@.service"))
    assert started(units, texts, files=files) == {
        "getty@.service": ("rescue.target",),
        "dbus-broker.service": ("rescue.target",),
        "shell@.service": ("rescue.target",),
    }


def test_the_kernel_names_a_target() -> None:
    units = [
        unit("one.service", "enabled", "one.target"),
        unit("two.service", "enabled", "multi-user.target"),
    ]
    assert list(started(units, cmdline=("quiet", "systemd.unit=one.target"))) == ["one.service"]


def test_on_demand() -> None:
    units = [
        unit("web.socket", "enabled", "sockets.target"),
        unit("web.service", "disabled"),
        unit("each.socket", "enabled", "sockets.target"),
        unit("each@.service"),
        unit("clean.timer", "enabled", "timers.target"),
        unit("other.service"),
    ]
    texts = {
        f"{SYSTEM}/each.socket": "[Socket]\nAccept=yes\n",
        f"{SYSTEM}/clean.timer": "[Timer]\nUnit=other.service\n",
    }
    found = started(units, texts)
    assert found["web.service"] == ("web.socket",)
    assert found["each@.service"] == ("each.socket",)
    assert found["other.service"] == ("clean.timer",)


def test_units_in_a_circle_end() -> None:
    units = [unit("a.service", "alias"), unit("b.service", "alias")]
    files = {
        f"{SYSTEM}/a.service".encode(): record(kind="symlink", target=b"b.service"),
        f"{SYSTEM}/b.service".encode(): record(kind="symlink", target=b"a.service"),
    }
    texts = {f"{SYSTEM}/a.service": "[Unit]\nWants=b.service\n"}
    assert isinstance(started([*units, unit("x.service", "enabled", "a.service")], texts, files=files), dict)


def test_other_inits() -> None:
    files = {
        b"etc/runlevels/default/sshd": record(kind="symlink", target=b"/etc/init.d/sshd"),
        b"etc/runlevels/boot/networking": record(kind="symlink", target=b"/etc/init.d/networking"),
        b"etc/rc2.d/S01cron": record(kind="symlink", target=b"../init.d/cron"),
        b"etc/rc3.d/S01cron": record(kind="symlink", target=b"../init.d/cron"),
        b"etc/rc2.d/S02web": record(kind="symlink", target=b"../init.d/web"),
        b"etc/rc2.d/K01off": record(kind="symlink", target=b"../init.d/off"),
    }
    assert started([unit("web.service", "disabled")], files=files) == {
        "cron": ("rc2.d",),
        "networking": ("boot",),
        "sshd": ("default",),
    }


def test_first_boot() -> None:
    files = {
        b"etc/first-boot.d/01-web/50-name": record(mode=0o755),
        b"etc/first-boot.d/00-base/90-last": record(mode=0o755),
        b"etc/first-boot.d/01-web/data": record(mode=0o755),
        b"etc/first-boot.d/01-web/60-off": record(mode=0o644),
    }
    image = inventory(files, units=(unit("setup.service"), unit("other.service")))
    texts = {f"{SYSTEM}/setup.service": "[Unit]\nConditionFirstBoot=yes\n"}
    found = unit_files(image.units, image.files, lambda path: texts.get(path.decode(), ""))
    hooks = first_boot_hooks(image, found)
    assert [(hook.name, hook.flavour) for hook in hooks] == [
        ("50-name", "web"),
        ("90-last", "base"),
        ("setup.service", ""),
    ]
