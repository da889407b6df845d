"""From the names of two images to what differs between them: text, a JSON document, a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dibo.api.contents.changes import comparison_fields
from dibo.api.contents.read import read_request
from dibo.api.documents import CommandAnswer, new_document
from dibo.artefacts.outputs import check_output_file
from dibo.contents.compare import CompareOptions, compare
from dibo.contents.comparison import SECTIONS, Comparison
from dibo.contents.inventory import shown
from dibo.contents.read import open_pair
from dibo.contents.text import comparison_text
from dibo.errors import Differs, ImageError, UsageError
from dibo.reports.diff_page import diff_page
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.units import counted

SAME: str = "the images have the same contents"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRequest:
    """The options of `dibo diff`."""

    before: str
    after: str
    options: CompareOptions = field(default_factory=CompareOptions)
    summary: bool = False
    files: bool = False
    complete: bool = False
    """Whether no row of a long list is left out."""
    page: Path | None = None
    """A file that the page is written to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffAnswer:
    """`exit_code` is 0 for the same contents, else that of Differs."""

    answer: CommandAnswer
    exit_code: int


def parse_sections(words: Sequence[str]) -> tuple[str, ...]:
    """Of `--only`, given once or several times, each with words between commas. Raises UsageError."""
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    for name in names:
        if name not in SECTIONS:
            raise UsageError(
                f"there is no section {name!r} to compare", hint=f"use some of {', '.join(SECTIONS)}"
            )
    if words and not names:
        raise UsageError("--only names no section", hint=f"use some of {', '.join(SECTIONS)}")
    return tuple(section for section in SECTIONS if section in names) if names else tuple(SECTIONS)


def diff(settings: Settings, report: Report, request: DiffRequest) -> DiffAnswer:
    """Raises UsageError, OutputError, and what dibo.contents.read.open_contents raises."""
    if request.page is not None:
        check_output_file(request.page, option="--html")
    comparison = compared(settings, report, request)
    if comparison.unread:
        unread = (
            f"{counted(len(comparison.unread), 'file')} cannot be read, so their bytes are not compared,"
            f" such as {shown(comparison.unread[0])}"
        )
        if not comparison.differs:
            raise ImageError(
                unread, hint="run dibo as a user who may read them, or leave them out with --exclude"
            )
        report.warn(unread)
    text = comparison_text(
        comparison, summary=request.summary, files=request.files, complete=request.complete
    )
    if not comparison.differs:
        text = f"{SAME}\n{text}".rstrip()
    document = new_document("diff", **comparison_fields(comparison))
    return DiffAnswer(
        answer=CommandAnswer(text=text, document=document),
        exit_code=Differs.exit_code if comparison.differs else 0,
    )


def compared(settings: Settings, report: Report, request: DiffRequest) -> Comparison:
    """What differs between the two images. Writes the page."""
    names = (request.before, request.after)
    with (
        read_request(settings, report, hashes="files" in request.options.sections) as reading,
        open_pair(names, reading) as (before, after),
        report.task("compare"),
    ):
        comparison = compare(before, after, request.options)
        if request.page is not None:
            with reading.run.output(request.page) as part:
                part.write_bytes(diff_page(comparison))
        return comparison
