"""The parts of a page below the overview: tables of layers, packages, units, ports, files with rights, users, disk."""

from __future__ import annotations

import stat
from collections.abc import Sequence

from dibo.contents.inventory import PartitionRecord, UserRecord
from dibo.reports.markup import Child, Markup, joined, tag
from dibo.reports.model import (
    ListeningPort,
    PrivilegedFile,
    ReportedFlavour,
    ReportedImage,
    ReportedLayer,
    ReportedPackage,
    StartedUnit,
)
from dibo.reports.page_tables import Cell, Column, PageTable, bar, code, count_cell, size_cell, time_cell
from dibo.reports.visible import visible, visible_path
from dibo.units import human_size, human_time

MOST_TEXT = 160
_PASSWORDS = {"none": "locked", "set": "is set", "empty": "none is asked for"}
_ORIGINS = {"built": "built", "cached": "cached", "pulled": "pulled", "shared": "from another build"}


def section(name: str, title: str, *children: Child) -> Markup:
    return tag("section", tag("h2", title, id=name), *children, aria_labelledby=name)


def layer_section(report: ReportedImage, most: int) -> Markup | None:
    """How the image came about: flavours, layers, and the time that they took."""
    if not report.layers and not report.flavours:
        return None
    children: list[Child] = [_build_text(report)]
    if report.flavours:
        children.append(_flavour_table(report, most).markup())
    if report.layers:
        children.append(_layer_table(report, most).markup())
    if report.layers and not report.layers_of_files:
        children.append(tag("p", "Which layer brought a file is not known of a disk alone.", class_="note"))
    if report.build is not None and report.build.steps:
        steps = [tag("li", title, " ", tag("b", human_time(took))) for title, took in report.build.steps]
        children.append(tag("details", tag("summary", "Other steps of the last build"), tag("ul", *steps)))
    return section("layers", "How it was built", *children)


def _build_text(report: ReportedImage) -> Markup:
    build = report.build
    if build is None:
        known = any(layer.seconds is not None for layer in report.layers)
        reason = "No build of this image is recorded on this machine."
        return tag("p", f"{reason} Times are those of the builds that made the layers." if known else reason)
    counts: dict[str, int] = {}
    for layer in report.layers:
        if layer.origin:
            counts[layer.origin] = counts.get(layer.origin, 0) + 1
    origins = ", ".join(f"{count} {_ORIGINS[origin]}" for origin, count in counts.items())
    sentences = f"The last build here took {human_time(build.seconds)}" + (
        f": {origins}. " if origins else ". "
    )
    if build.saved:
        sentences += f"Layers that were not built again saved {human_time(build.saved)}."
    return tag("p", sentences)


def _flavour_table(report: ReportedImage, most: int) -> PageTable[ReportedFlavour]:
    largest = max((flavour.size or 0 for flavour in report.flavours), default=0)
    columns: list[Column[ReportedFlavour]] = [
        Column(title="Flavour", cell=lambda flavour: flavour.name),
    ]
    if any(flavour.requested is not None for flavour in report.flavours):
        columns += [
            Column(
                title="Why", cell=lambda flavour: "requested" if flavour.requested else "needed by another"
            ),
            Column(
                title="From", cell=lambda flavour: "dibo" if flavour.built_in else "elsewhere", minor=True
            ),
        ]
    if any(flavour.seconds is not None for flavour in report.flavours):
        columns.append(Column(title="Time", cell=lambda flavour: time_cell(flavour.seconds), numeric=True))
    if report.layers_of_files:
        columns += [
            Column(title="Size", cell=lambda flavour: size_cell(flavour.size), numeric=True),
            Column(
                title="",
                cell=lambda flavour: bar((flavour.size or 0) / largest if largest else 0),
                minor=True,
            ),
            Column(title="Files", cell=lambda flavour: count_cell(flavour.files), numeric=True, minor=True),
            Column(title="Packages", cell=lambda flavour: count_cell(flavour.packages), numeric=True),
        ]
    return PageTable(
        name="flavours",
        caption="Flavours, in the order of the stack",
        noun="flavour",
        columns=columns,
        rows=report.flavours,
        most=most,
    )


def _layer_table(report: ReportedImage, most: int) -> PageTable[ReportedLayer]:
    longest = max((layer.seconds or 0.0 for layer in report.layers), default=0.0)
    columns: list[Column[ReportedLayer]] = [
        Column(title="Layer", cell=_layer_title),
    ]
    if report.build is not None:
        columns.append(Column(title="Last build", cell=_origin))
    if longest:
        columns += [
            Column(title="Time to build", cell=lambda layer: time_cell(layer.seconds), numeric=True),
            Column(
                title="",
                cell=lambda layer: (
                    bar(layer.seconds / longest, kind=layer.origin) if layer.seconds is not None else None
                ),
                minor=True,
            ),
        ]
    if report.layers_of_files:
        columns += [
            Column(title="Size", cell=lambda layer: size_cell(layer.size), numeric=True),
            Column(title="Files", cell=lambda layer: count_cell(layer.files), numeric=True, minor=True),
            Column(title="Packages", cell=lambda layer: count_cell(layer.packages), numeric=True),
        ]
    if any(layer.stored for layer in report.layers):
        columns.append(
            Column(
                title="Stored", cell=lambda layer: size_cell(layer.stored or None), numeric=True, minor=True
            )
        )
    if any(layer.key for layer in report.layers):
        columns.append(Column(title="Key", cell=lambda layer: code(layer.key[:12]), minor=True))
    columns.append(
        Column(
            title="Number",
            cell=lambda layer: Cell(shown=str(layer.number), order=layer.number),
            numeric=True,
            minor=True,
        )
    )
    return PageTable(
        name="layers",
        caption="Layers, the lowest first, with what they brought that is still there",
        noun="layer",
        columns=columns,
        rows=report.layers,
        most=most,
    )


def _layer_title(layer: ReportedLayer) -> Child:
    title = visible(layer.title or "?", most=MOST_TEXT)
    local = tag("small", " local") if layer.local else None
    if not layer.hooks:
        return joined([title, local])
    hooks = [tag("li", hook, " ", tag("b", human_time(took))) for hook, took in layer.hooks[:200]]
    return joined([tag("details", tag("summary", title), tag("ul", *hooks)), local])


def _origin(layer: ReportedLayer) -> Child:
    if not layer.origin:
        return ""
    source = f" from {layer.registry}" if layer.registry else ""
    return tag("span", f"{_ORIGINS[layer.origin]}{source}", class_=f"origin {layer.origin}")


def package_section(report: ReportedImage, most: int) -> Markup | None:
    if report.packages is None:
        return None
    packages = sorted(report.packages, key=lambda package: (-package.size, package.name))
    largest = packages[0].size if packages else 0
    columns: list[Column[ReportedPackage]] = [
        Column(title="Package", cell=_package_name),
        Column(title="Version", cell=lambda package: visible(package.version, most=MOST_TEXT)),
        Column(title="Arch", cell=lambda package: package.architecture, minor=True),
        Column(title="Size", cell=lambda package: size_cell(package.size), numeric=True),
        Column(title="", cell=lambda package: bar(package.size / largest if largest else 0), minor=True),
        Column(title="Files", cell=lambda package: count_cell(package.files), numeric=True, minor=True),
    ]
    if report.layers_of_files:
        titles = _layer_titles(report)
        columns.append(Column(title="Brought by", cell=lambda package: _title(titles, package.layer)))
    table = PageTable(
        name="packages",
        caption=f"{len(packages):,} packages with versions, the largest first",
        noun="package",
        columns=columns,
        rows=packages,
        most=most,
        sorted_by="Size",
        descending=True,
    )
    return section("packages", "Packages", table.markup())


def _package_name(package: ReportedPackage) -> Child:
    return tag("span", package.name, title=visible(package.summary, most=MOST_TEXT) or None)


def startup_section(report: ReportedImage, most: int) -> Markup | None:
    """What starts at boot, at the first boot, and the kernel."""
    children: list[Child] = []
    if report.command:
        children.append(
            tag("p", "A container of it runs ", code(visible(" ".join(report.command), most=400)), ".")
        )
    if report.kernels:
        children.append(_kernels(report))
    if report.first_boot:
        items = [
            tag(
                "li",
                hook.name,
                tag("small", f" of {hook.flavour}" if hook.flavour else ""),
                " ",
                code(visible_path(hook.path)),
            )
            for hook in report.first_boot[:most]
        ]
        children.append(tag("div", tag("h3", "At the first boot alone"), tag("ol", *items)))
    if report.units:
        children.append(_unit_table(report, most).markup())
    return section("startup", "What starts", *children) if children else None


def _kernels(report: ReportedImage) -> Markup:
    items = [
        tag("li", code(kernel.version), " ", tag("small", kernel.path)) for kernel in report.kernels[:50]
    ]
    arguments = (
        tag("p", tag("b", "Kernel arguments: "), code(visible(" ".join(report.cmdline), most=2000)))
        if report.cmdline is not None
        else tag("p", "The image does not say its kernel arguments.")
    )
    return tag("div", tag("h3", "Kernels, the newest last"), tag("ul", *items), arguments)


def _unit_table(report: ReportedImage, most: int) -> PageTable[StartedUnit]:
    columns: list[Column[StartedUnit]] = [
        Column(
            title="Unit",
            cell=lambda unit: tag("span", unit.name, title=visible(unit.command, most=MOST_TEXT) or None),
        ),
        Column(title="Description", cell=lambda unit: visible(unit.description, most=MOST_TEXT), minor=True),
        Column(
            title="Started by",
            cell=lambda unit: unit.on_demand or visible(", ".join(unit.wanted_by[:4]), most=MOST_TEXT),
        ),
        Column(title="State", cell=lambda unit: "on demand" if unit.on_demand else unit.state),
        Column(title="Package", cell=lambda unit: unit.package),
    ]
    if report.layers_of_files:
        titles = _layer_titles(report)
        columns.append(Column(title="Brought by", cell=lambda unit: _title(titles, unit.layer), minor=True))
    units = sorted(report.units, key=lambda unit: (unit.state != "enabled", bool(unit.on_demand), unit.name))
    return PageTable(
        name="units",
        caption="Units that start by themselves, those that were enabled first",
        noun="unit",
        columns=columns,
        rows=units,
        most=most,
    )


def port_section(report: ReportedImage, most: int) -> Markup | None:
    if not report.units and not report.ports:
        return None
    intro = tag(
        "p",
        "By unit: sockets, commands and well-known configuration say so. Nothing was run; a service that listens on a "
        "port that no file names is not listed, and no firewall is taken into account.",
    )
    if not report.ports:
        return section("ports", "Open ports, by unit", intro, tag("p", "None was found."))
    columns: list[Column[ListeningPort]] = [
        Column(title="Port", cell=lambda port: Cell(shown=f"{port.port}/{port.protocol}", order=port.port)),
        Column(title="Address", cell=lambda port: visible(port.address, most=MOST_TEXT) or "all"),
        Column(title="Unit", cell=lambda port: port.unit),
        Column(title="At boot", cell=lambda port: "yes" if port.starts else "no"),
        Column(
            title="Said by",
            cell=lambda port: visible(
                f"{port.said_by}, {port.condition}" if port.condition else port.said_by, most=MOST_TEXT
            ),
        ),
    ]
    table = PageTable(
        name="ports",
        caption="Ports, those of units that start at boot first",
        noun="port",
        columns=columns,
        rows=report.ports,
        most=most,
    )
    return section("ports", "Open ports, by unit", intro, table.markup())


def privileged_section(report: ReportedImage, most: int) -> Markup:
    if not report.privileged:
        text = tag("p", "No file is set-user-id or set-group-id or has capabilities.")
        return section("privileged", "Files that give rights", text)
    titles = _layer_titles(report)
    columns: list[Column[PrivilegedFile]] = [
        Column(title="File", cell=lambda file: code(visible(visible_path(file.path), most=300))),
        Column(title="Mode", cell=lambda file: code(stat.filemode(stat.S_IFREG | file.mode))),
        Column(title="Owner", cell=lambda file: f"{file.owner}:{file.group}"),
        Column(title="Gives", cell=_rights),
        Column(title="Package", cell=lambda file: file.package or "none"),
    ]
    if report.layers_of_files:
        columns.append(Column(title="Brought by", cell=lambda file: _title(titles, file.layer), minor=True))
    table = PageTable(
        name="privileged",
        caption="Set-user-id and set-group-id files, and files with capabilities",
        noun="file",
        columns=columns,
        rows=sorted(report.privileged, key=lambda file: (bool(file.package), file.path)),
        most=most,
    )
    return section("privileged", "Files that give rights", table.markup())


def _rights(file: PrivilegedFile) -> str:
    rights = [f"user {file.owner}"] if file.mode & stat.S_ISUID else []
    rights += [f"group {file.group}"] if file.mode & stat.S_ISGID else []
    return ", ".join([*rights, *file.capabilities])


def user_section(report: ReportedImage, most: int) -> Markup | None:
    """Users that can log in first."""
    if not report.users:
        return None
    columns: list[Column[UserRecord]] = [
        Column(title="User", cell=lambda user: user.name),
        Column(title="Id", cell=lambda user: Cell(shown=str(user.uid), order=user.uid), numeric=True),
        Column(title="Shell", cell=lambda user: code(visible(user.shell, most=MOST_TEXT))),
        Column(title="Password", cell=lambda user: _PASSWORDS.get(user.password, user.password)),
        Column(title="Home", cell=lambda user: code(visible(user.home, most=MOST_TEXT)), minor=True),
    ]
    table = PageTable(
        name="users",
        caption="Users, those with a shell first; of passwords only whether one is set",
        noun="user",
        columns=columns,
        rows=sorted(report.users, key=lambda user: (_has_no_shell(user), user.uid)),
        most=most,
    )
    return section("users", "Users", table.markup())


def _has_no_shell(user: UserRecord) -> bool:
    return user.shell.rpartition("/")[2] in ("nologin", "false", "sync", "")


def partition_section(report: ReportedImage, most: int) -> Markup | None:
    if not report.partitions:
        return None
    end = max(partition.start + partition.size for partition in report.partitions) or 1
    columns: list[Column[PartitionRecord]] = [
        Column(title="#", cell=lambda item: Cell(shown=str(item.number), order=item.number), numeric=True),
        Column(title="File system", cell=lambda item: item.filesystem or "none that is known"),
        Column(title="Mounted at", cell=lambda item: item.mounted or item.trouble),
        Column(title="Label", cell=lambda item: item.label, minor=True),
        Column(title="Size", cell=lambda item: size_cell(item.size), numeric=True),
        Column(title="", cell=lambda item: bar(item.size / end), minor=True),
        Column(title="UUID", cell=lambda item: code(item.uuid), minor=True),
    ]
    table = PageTable(
        name="partitions",
        caption=f"Partitions of a disk of {human_size(end)} up to the end of the last",
        noun="partition",
        columns=columns,
        rows=report.partitions,
        most=most,
    )
    return section("disk", "Disk", table.markup())


def _layer_titles(report: ReportedImage) -> Sequence[str]:
    return [visible(layer.title or f"layer {layer.number}", most=MOST_TEXT) for layer in report.layers]


def _title(titles: Sequence[str], layer: int) -> str:
    return titles[layer] if 0 <= layer < len(titles) else ""
