"""What a reader of a page sees at once: the size, what is largest, what starts, what listens, what the cache saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dibo.reports.markup import Child, Markup, joined, tag
from dibo.reports.model import BuildSummary, ListeningPort, ReportedImage, SizeNode, StartedUnit
from dibo.reports.page_tables import bar, code, percent
from dibo.units import counted, human_size, human_time

_FORMS = {
    "image": "container image",
    "disk": "disk image",
    "tar": "tar",
    "directory": "directory",
    "ramdisk": "ramdisk",
}
_SHOWN = 6
_DEEPEST = 3
_LONG = 40
"""Characters of a name that gets a smaller heading."""
_OWN_UNITS = (
    "systemd",
    "udev",
    "dbus",
    "util-linux",
    "cron",
    "e2fsprogs",
    "logrotate",
    "man-db",
    "dpkg",
    "apt",
)
"""Packages whose units nearly every machine starts: they are in the table, and not at a glance."""


def header(report: ReportedImage) -> Markup:
    """The name of the image, and in a line what it is."""
    manifest = report.manifest
    made_by = manifest.get("made-by")
    form = _FORMS.get(report.form, report.form)
    if report.format not in ("", report.form):
        form = f"{form}, {report.format}"
    facts = [
        report.system,
        report.architecture,
        form,
        f"built by dibo {made_by.get('dibo')}" if isinstance(made_by, dict) else "",
        f"epoch {manifest['epoch']}" if manifest.get("epoch") else "",
    ]
    base = manifest.get("base")
    if isinstance(base, dict) and base.get("name"):
        facts.insert(3, f"on {base['name']}")
    items = [tag("li", fact) for fact in facts if fact]
    digest = tag("p", "digest ", code(report.digest), class_="digest") if report.digest else None
    name = tag("h1", report.name, class_="long" if len(report.name) > _LONG else None)
    return tag("header", name, tag("ul", *items, class_="facts"), digest)


def overview(report: ReportedImage) -> Markup:
    tiles = tag("dl", *(_tile(*tile) for tile in _tiles(report)), class_="tiles")
    cards = tag("div", *_cards(report), class_="cards")
    notes = [tag("li", note) for note in report.notes]
    notes_list = tag("div", tag("h3", "Notes"), tag("ul", *notes), class_="notes") if notes else None
    return tag(
        "section", tag("h2", "At a glance", id="glance"), tiles, cards, notes_list, aria_labelledby="glance"
    )


def _tile(name: str, value: str, detail: str, target: str) -> Markup:
    link = tag("a", value, href=f"#{target}")
    return tag("div", tag("dt", name), tag("dd", link, tag("small", detail)))


def _tiles(report: ReportedImage) -> Iterator[tuple[str, str, str, str]]:
    """Name, value, detail, and the part of the page that says more."""
    totals = report.totals
    yield "Size", human_size(totals.bytes), f"in {totals.files:,} files", "space"
    if totals.stored:
        place = counted(len(report.layers), "layer") if report.form == "image" else "its file"
        yield "Stored", human_size(totals.stored), f"in {place}", "space"
    if report.packages is not None:
        managers = ", ".join(sorted({package.manager for package in report.packages}))
        yield "Packages", f"{len(report.packages):,}", f"of {managers}" if managers else "", "packages"
    if report.units:
        services = sum(map(is_enabled_service, report.units))
        yield "Services at boot", str(services), f"of {len(report.units)} units", "startup"
    if report.units or report.ports:
        started = [port for port in report.ports if port.starts]
        outside = {(port.port, port.protocol) for port in started if not is_local(port.address)}
        count = len({(port.port, port.protocol) for port in started})
        yield "Ports", str(count), f"{len(outside)} open to others", "ports"
    yield "Privileged files", str(len(report.privileged)), "set-id, capabilities", "privileged"
    if report.build is not None:
        yield from _build_tiles(report, report.build)


def _build_tiles(report: ReportedImage, build: BuildSummary) -> Iterator[tuple[str, str, str, str]]:
    origins = [layer.origin for layer in report.layers if layer.origin]
    built = origins.count("built")
    layers = counted(len(origins), "layer")
    yield "Last build", human_time(build.seconds), f"{built} of {layers} built", "layers"
    if built < len(origins):
        saved = human_time(build.saved) if build.saved or not build.unknown else "unknown"
        yield "Cache saved", saved, _unknown(build.unknown), "layers"


def _unknown(count: int) -> str:
    return f"{counted(count, 'layer')} without a time" if count else "in the last build"


def is_enabled_service(unit: StartedUnit) -> bool:
    """A service that was enabled, by a link in /etc, not one that systemd itself brings along."""
    is_service = unit.name.endswith(".service") or "." not in unit.name
    return is_service and unit.state == "enabled" and not unit.on_demand


def is_local(address: str) -> bool:
    """Whether only the machine itself reaches it."""
    return address.startswith(("127.", "localhost", "[::1]", "::1"))


def _cards(report: ReportedImage) -> Iterator[Markup]:
    total = report.totals.bytes
    directories = largest_directories(report.views.directories)
    yield _size_card("Largest directories", directories, total, "space")
    if report.packages:
        largest = sorted(report.packages, key=lambda package: -package.size)[:_SHOWN]
        yield _size_card("Largest packages", [(item.name, item.size) for item in largest], total, "packages")
    if report.views.flavours is not None:
        flavours = [(node.name, node.size) for node in report.views.flavours.parts][:_SHOWN]
        yield _size_card("Largest flavours and base", flavours, total, "space")
    elif report.views.layers is not None:
        layers = [(node.name, node.size) for node in report.views.layers.parts][:_SHOWN]
        yield _size_card("Largest layers", layers, total, "space")
    if report.ports:
        yield _card("Listens", tag("ul", *_port_items(report.ports), class_="plain"), "ports")
    services = [unit for unit in report.units if is_enabled_service(unit)]
    if services:
        yield _card("Starts at boot", _service_chips(services), "startup", wide=True)
    if report.command:
        yield _card("Runs", tag("p", code(" ".join(report.command))), "startup")


def _card(title: str, content: Child, target: str, *, wide: bool = False) -> Markup:
    heading = tag("h3", tag("a", title, href=f"#{target}"))
    return tag("section", heading, content, class_="card wide" if wide else "card")


def _size_card(title: str, sizes: Sequence[tuple[str, int]], total: int, target: str) -> Markup:
    largest = max((size for _, size in sizes), default=0)
    rows = [
        tag(
            "li",
            tag("span", name, class_="name"),
            tag("span", human_size(size), class_="value"),
            bar(size / largest if largest else 0.0),
            title=f"{name}: {percent(size, total)}",
        )
        for name, size in sizes
    ]
    return _card(title, tag("ol", *rows, class_="sizes"), target)


def largest_directories(root: SizeNode) -> list[tuple[str, int]]:
    """Directories of up to three levels, none within another; those of one level that say little are opened."""
    directories: list[tuple[str, int]] = []

    def visit(node: SizeNode, path: str, depth: int) -> None:
        inner = [part for part in node.parts if part.parts]
        if depth and (depth == _DEEPEST or not inner or inner[0].size < node.size / 8):
            directories.append((path or "/", node.size))
            return
        for part in inner:
            visit(part, f"{path}/{part.name}", depth + 1)

    visit(root, "", 0)
    return sorted(directories, key=lambda item: (-item[1], item[0]))[:_SHOWN]


def _port_items(ports: Sequence[ListeningPort]) -> Iterator[Markup]:
    """Those that start, each port once."""
    grouped: dict[tuple[int, str, str], set[str]] = {}
    for port in ports:
        if port.starts:
            grouped.setdefault((port.port, port.protocol, port.unit), set()).add(port.address)
    for (number, protocol, unit), addresses in list(grouped.items())[: 2 * _SHOWN]:
        local = all(is_local(address) for address in addresses)
        scope = tag("small", "local only") if local else None
        yield tag("li", tag("b", f"{number}/{protocol}"), " ", unit, " ", scope)


def _service_chips(services: Sequence[StartedUnit]) -> Markup:
    """Services by name, those that nearly every machine has last."""
    ordered = sorted(services, key=lambda unit: (unit.package in _OWN_UNITS, unit.name))
    chips = [
        tag("li", unit.name.removesuffix(".service"), title=unit.description or None) for unit in ordered[:18]
    ]
    more = tag("li", f"and {len(ordered) - 18} more", class_="more") if len(ordered) > 18 else None
    return tag("ul", joined(chips), more, class_="chips")
