"""From the name of an image to a report on it: a page, and a JSON document."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dibo.api.contents.read import read_request
from dibo.api.documents import CommandAnswer, new_document
from dibo.artefacts.outputs import check_output_file
from dibo.build.engines.image_names import layer as layer_image
from dibo.build.step_times import StepTimes
from dibo.cache.entry import tag_of
from dibo.contents.inventory import Inventory
from dibo.contents.read import OpenedContents, ReadRequest, open_contents, read_inventory
from dibo.errors import DiboError
from dibo.reports.document import report_fields
from dibo.reports.make_report import build_notes, keys_of, make_report
from dibo.reports.page import report_page
from dibo.reports.unit_files import ReadText
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from dibo.tree.query import find

if TYPE_CHECKING:
    from dibo.reports.model import ReportedImage

SUFFIX: Final = ".report.html"
_ENDINGS: Final = re.compile(
    r"(?:\.manifest\.json|\.oci|\.tar|\.tgz|\.qcow2|\.raw|\.img|\.vmdk|\.vhdx?|\.vdi|\.iso|\.ramdisk|\.initramfs"
    r"|\.erofs|\.squashfs|\.gz|\.xz|\.zst)+$"
)
_REST: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MOST_TEXT: Final = 1 << 20
_STORES: Final = ("containers-storage", "docker-daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """`page` is the file for the page. Without one, it is NAME.report.html in this directory; with `as_document`, the
    answer has all that is known, and without `page` no page is written."""

    image: str
    page: Path | None = None
    as_document: bool = False


def report_image(settings: Settings, report: Report, request: ReportRequest) -> CommandAnswer:
    """Write the page; the path of the page, or the document. Raises UsageError, OutputError, and what
    dibo.contents.read.open_contents raises."""
    page = request.page
    if page is None and not request.as_document:
        page = Path(page_name(request.image))
    if page is not None:
        check_output_file(page)
    with read_request(settings, report) as reading:
        image = image_report(settings, reading, request.image)
        if page is not None:
            with report.task(f"write {page}"), reading.run.output(page) as part:
                part.write_bytes(report_page(image))
    path = None if page is None else str(page)
    fields = report_fields(image) if request.as_document else {}
    return CommandAnswer(text=path or "", document=new_document("report", page=path, **fields))


def image_report(settings: Settings, request: ReadRequest, name: str) -> ReportedImage:
    """What is in the image `name`, and what this machine knows of its build. Raises as open_contents does."""
    times = StepTimes(Workspace(settings.cache).keys)
    with open_contents(name, request) as contents:
        inventory = contents.inventory
        keys = keys_of(inventory)
        origin = None
        if keys and not inventory.layers:
            origin = _origin(settings, request, keys[-1])
        return make_report(
            inventory if origin is not None or inventory.layers or not keys else _with_note(inventory),
            read_text=_reader(contents),
            notes=build_notes(times, keys),
            origin=origin,
        )


def page_name(image: str) -> str:
    """NAME.report.html of an image: its last name, without tag, digest and ending."""
    name = image.rstrip("/").rpartition("/")[2].partition("@")[0]
    if not Path(image).exists():
        name = name.partition(":")[2] if name.startswith(("oci:", "dir:")) else name
        name = name.partition(":")[0]
    name = _REST.sub("-", _ENDINGS.sub("", name)).strip("-.")
    return f"{name or 'image'}{SUFFIX}"


def _origin(settings: Settings, request: ReadRequest, key: str) -> Inventory | None:
    """The image that a disk was made from, out of the store of an engine or a cache; None where none has it."""
    names = [f"{store}:{layer_image(key)}" for store in _STORES]
    names += [f"{cache}:{tag_of(key)}" for cache in settings.caches_from]
    for name in names:
        try:
            return read_inventory(name, request)
        except DiboError:
            continue
    return None


def _with_note(inventory: Inventory) -> Inventory:
    note = (
        "which layer brought a file is not known: no engine here has the image that this was made from; with --cache, "
        "it is looked for in a registry"
    )
    return replace(inventory, notes=(*inventory.notes, note))


def _reader(contents: OpenedContents) -> ReadText:
    """Texts of the files that reading kept in memory, links followed."""

    def read_text(path: bytes) -> str:
        node = find(contents.source.root, path)
        data = node.data if node is not None else None
        return (data or b"")[:_MOST_TEXT].decode(errors="replace")

    return read_text
