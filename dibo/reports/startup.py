"""What a machine starts by itself: units that the default target leads to, services of OpenRC, scripts of System V.

    default.target ── lines of units, links in their directories ──► … ──► services, sockets, timers, paths, mounts

As `bootup(7)` has it. Conditions are not looked at, and nothing is run: a unit that is listed may not start. Services
that a socket, a timer or a path starts are listed as started on demand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from dibo.contents.inventory import Inventory, Unit
from dibo.reports.model import FirstBootHook, StartedUnit
from dibo.reports.unit_files import UnitFile

LayerOf = Callable[[bytes], int]
"""The layer that brought the file at a path; NO_LAYER where that is not known."""
_DEFAULT: Final = "graphical.target"
_BUILT_IN: Final = {
    "graphical.target": ("multi-user.target",),
    "multi-user.target": ("basic.target",),
    "basic.target": ("sysinit.target", "sockets.target", "timers.target", "paths.target", "slices.target"),
    "sysinit.target": ("local-fs.target", "swap.target"),
}
"""As systemd's own units have it, should these not be readable."""
_SHOWN: Final = (".service", ".socket", ".timer", ".path", ".mount", ".automount", ".swap")
_TRIGGERS: Final = (".socket", ".timer", ".path")
_OPENRC: Final = re.compile(rb"etc/runlevels/(?:sysinit|boot|default|nonetwork)/([^/]+)")
_SYSV: Final = re.compile(rb"etc/(?:rc\.d/)?rc([S2345])\.d/S[0-9]{2}([^/]+)")
_HOOK: Final = re.compile(rb"etc/first-boot\.d/(?:[0-9]+-)?([^/]+)/([0-9]+-[A-Za-z0-9_-]+)")
_SYSTEMD_UNIT: Final = "systemd.unit="


def started_units(
    inventory: Inventory, unit_files: Mapping[str, UnitFile], layer_of: LayerOf
) -> tuple[StartedUnit, ...]:
    """By name; those that are started on demand, too."""
    units = {unit.name: unit for unit in inventory.units}
    reasons = _reached(inventory, units, unit_files)
    started = [
        _started(units[name], sorted(by), "", layer_of)
        for name, by in reasons.items()
        if name in units and name.endswith(_SHOWN)
    ]
    names = {unit.name for unit in started}
    for trigger in sorted(name for name in names if name.endswith(_TRIGGERS)):
        service = _real(unit_files.get(trigger, UnitFile()).service, units, inventory)
        if service in units and service not in names and units[service].state != "masked":
            names.add(service)
            started.append(_started(units[service], [], trigger, layer_of))
    return tuple(sorted([*started, *_others(inventory, units, layer_of)], key=lambda unit: unit.name))


def _reached(
    inventory: Inventory, units: Mapping[str, Unit], unit_files: Mapping[str, UnitFile]
) -> dict[str, set[str]]:
    """Units that the default target leads to, each with those that pull it in."""
    pulled: dict[str, set[str]] = {}
    for unit in units.values():
        for by in unit.wanted_by:
            pulled.setdefault(by, set()).add(unit.name)
    first = _default_target(inventory, units)
    reasons: dict[str, set[str]] = {first: set()}
    todo = [first]
    while todo:
        name = todo.pop()
        wants = {*pulled.get(name, ()), *unit_files.get(name, UnitFile()).starts, *_BUILT_IN.get(name, ())}
        for dependency in sorted(_real(wish, units, inventory) for wish in wants):
            if dependency in units and units[dependency].state == "masked":
                continue
            if dependency not in reasons:
                reasons[dependency] = set()
                todo.append(dependency)
            reasons[dependency].add(name)
    return reasons


def _default_target(inventory: Inventory, units: Mapping[str, Unit]) -> str:
    for argument in inventory.cmdline or ():
        if argument.startswith(_SYSTEMD_UNIT):
            return argument.removeprefix(_SYSTEMD_UNIT)
    return _real("default.target", units, inventory) if "default.target" in units else _DEFAULT


def _real(name: str, units: Mapping[str, Unit], inventory: Inventory) -> str:
    """The unit that an alias stands for; of an instance that has no file, the template."""
    for _ in range(8):
        unit = units.get(name)
        if unit is None:
            base, at, instance = name.rpartition(".")[0].partition("@")
            template = f"{base}@.{name.rpartition('.')[2]}"
            return template if at and instance and template in units else name
        record = inventory.files.get(unit.path)
        target = record.target.rpartition(b"/")[2].decode(errors="replace") if record is not None else ""
        if not target or target == name or unit.state == "masked":
            return name
        name = target
    return name


def _started(unit: Unit, wanted_by: list[str], on_demand: str, layer_of: LayerOf) -> StartedUnit:
    return StartedUnit(
        name=unit.name,
        state=unit.state,
        description=unit.description,
        command=unit.start,
        wanted_by=tuple(wanted_by),
        on_demand=on_demand,
        package=unit.package,
        layer=layer_of(unit.path),
    )


def _others(inventory: Inventory, units: Mapping[str, Unit], layer_of: LayerOf) -> Iterator[StartedUnit]:
    """Services of OpenRC, and scripts of System V that no unit of systemd stands for."""
    seen: set[str] = set()
    for path, record in inventory.files.items():
        openrc, script = _OPENRC.fullmatch(path), _SYSV.fullmatch(path)
        match = openrc or script
        if match is None:
            continue
        name = match[match.lastindex or 0].decode(errors="replace")
        if name in seen or f"{name}.service" in units:
            continue
        seen.add(name)
        level = path.split(b"/")[2 if openrc else -2].decode(errors="replace")
        yield StartedUnit(
            name=name,
            state="enabled",
            description="service of OpenRC" if openrc else "script of System V init",
            command=record.target.decode(errors="replace"),
            wanted_by=(level,),
            on_demand="",
            package=record.package,
            layer=layer_of(path),
        )


def first_boot_hooks(inventory: Inventory, unit_files: Mapping[str, UnitFile]) -> tuple[FirstBootHook, ...]:
    """Hooks of flavours, in the order in which they run, and units that run at the first boot alone."""
    hooks = []
    for path, record in inventory.files.items():
        match = _HOOK.fullmatch(path)
        if match is not None and record.kind == "file" and record.mode & 0o111:
            flavour = match[1].decode(errors="replace")
            hooks.append(FirstBootHook(name=match[2].decode(errors="replace"), path=path, flavour=flavour))
    hooks.sort(key=lambda hook: (hook.name, hook.path))
    for unit in inventory.units:
        if unit.name.endswith(".service") and unit_files[unit.name].first_boot and unit.state != "masked":
            hooks.append(FirstBootHook(name=unit.name, path=unit.path, flavour=""))
    return tuple(hooks)
