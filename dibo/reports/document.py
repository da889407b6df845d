"""A report as a JSON document: `dibo report --json` (schema: dibo.api.json_schema)."""

from __future__ import annotations

from typing import Any

from dibo.contents.inventory import shown
from dibo.reports.model import ReportedFile, ReportedImage, ReportedLayer, SizeNode

Document = dict[str, Any]


def report_fields(report: ReportedImage) -> Document:
    """All but what says which document it is. Paths have their first slash; bytes in them that are no UTF-8 are
    `\\xNN`."""
    return {
        "name": report.name,
        "form": report.form,
        "format": report.format,
        "architecture": report.architecture,
        "system": report.system,
        "digest": report.digest or None,
        "size": report.totals.bytes,
        "stored": report.totals.stored or None,
        "entries": report.totals.entries,
        "flavours": [
            {
                "name": flavour.name,
                "requested": flavour.requested,
                "built_in": flavour.built_in,
                "size": flavour.size,
                "files": flavour.files,
                "packages": flavour.packages,
                "took": flavour.seconds,
            }
            for flavour in report.flavours
        ],
        "layers": [_layer(layer) for layer in report.layers],
        "build": _build(report),
        "space": {
            "directories": _node(report.views.directories),
            "packages": _maybe_node(report.views.packages),
            "flavours": _maybe_node(report.views.flavours),
            "layers": _maybe_node(report.views.layers),
        },
        "packages": _packages(report),
        **_running(report),
        "privileged": [
            {
                "path": shown(file.path),
                "mode": f"{file.mode:04o}",
                "owner": file.owner,
                "group": file.group,
                "capabilities": list(file.capabilities),
                "package": file.package or None,
                "layer": _place(file.layer),
            }
            for file in report.privileged
        ],
        "files": [_file(file) for file in report.files],
        "notes": list(report.notes),
    }


def _layer(layer: ReportedLayer) -> Document:
    return {
        "title": layer.title,
        "key": layer.key or None,
        "flavour": layer.flavour or None,
        "local": layer.local,
        "size": layer.size,
        "files": layer.files,
        "packages": layer.packages,
        "stored": layer.stored or None,
        "took": layer.seconds,
        "hooks": [{"name": name, "took": took} for name, took in layer.hooks],
        "origin": layer.origin or None,
        "registry": layer.registry or None,
    }


def _build(report: ReportedImage) -> Document | None:
    build = report.build
    if build is None:
        return None
    return {
        "took": build.seconds,
        "saved": build.saved,
        "unknown": build.unknown,
        "steps": [{"title": title, "took": took} for title, took in build.steps],
    }


def _packages(report: ReportedImage) -> list[Document] | None:
    if report.packages is None:
        return None
    return [
        {
            "name": package.name,
            "version": package.version,
            "architecture": package.architecture,
            "manager": package.manager,
            "size": package.size,
            "files": package.files,
            "layer": _place(package.layer),
            "flavour": package.flavour or None,
        }
        for package in report.packages
    ]


def _running(report: ReportedImage) -> Document:
    """What starts and listens."""
    return {
        "kernels": [kernel.version for kernel in report.kernels],
        "cmdline": None if report.cmdline is None else list(report.cmdline),
        "command": list(report.command),
        "first_boot": [
            {"name": hook.name, "path": shown(hook.path), "flavour": hook.flavour or None}
            for hook in report.first_boot
        ],
        "units": [
            {
                "name": unit.name,
                "state": unit.state,
                "description": unit.description,
                "wanted_by": list(unit.wanted_by),
                "on_demand": unit.on_demand or None,
                "package": unit.package or None,
                "layer": _place(unit.layer),
            }
            for unit in report.units
        ],
        "ports": [
            {
                "unit": port.unit,
                "address": port.address or None,
                "port": port.port,
                "protocol": port.protocol,
                "said_by": port.said_by,
                "condition": port.condition or None,
                "starts": port.starts,
            }
            for port in report.ports
        ],
    }


def _file(file: ReportedFile) -> Document:
    return {
        "path": shown(file.path),
        "kind": file.kind,
        "size": file.size,
        "layer": _place(file.layer),
        "package": file.package or None,
    }


def _place(layer: int) -> int | None:
    return layer if layer >= 0 else None


def _maybe_node(node: SizeNode | None) -> Document | None:
    return None if node is None else _node(node)


def _node(node: SizeNode) -> Document:
    return {
        "name": node.name,
        "size": node.size,
        "files": node.files,
        "parts": [_node(part) for part in node.parts],
    }
