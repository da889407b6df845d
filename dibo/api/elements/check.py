"""`dibo elements check`: whether elements run unchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.elements.search import elements_path, replaced_elements
from dibo.elements.checks.check import ElementVerdict, Verdict, check_elements, elements_at
from dibo.elements.checks.findings import ElementFinding, Severity
from dibo.errors import ElementError
from dibo.units import counted

_TITLES = {
    Verdict.RUNS: "runs",
    Verdict.REPLACED: "replaced by dibo's own",
    Verdict.REFUSED: "does not run",
}


def check(paths: Sequence[Path], environment: Mapping[str, str]) -> tuple[CommandAnswer, ElementError | None]:
    """The verdict on each element at `paths`, and an error if some do not run. Elements of ELEMENTS_PATH count as what
    they may need. Raises UnknownFlavour."""
    elements = elements_at(paths)
    known: dict[str, Path] = {}
    for directory in elements_path(environment):
        known = {**elements_at([directory]), **known}
    verdicts = check_elements(elements, known=known, replaced=replaced_elements())
    answer = CommandAnswer(
        text="\n".join(_lines(verdicts)),
        document=new_document("elements-check", elements=[verdict.document() for verdict in verdicts]),
    )
    refused = [verdict.name for verdict in verdicts if verdict.verdict is Verdict.REFUSED]
    if not refused:
        return answer, None
    return answer, ElementError(
        f"{counted(len(refused), 'element')} of {len(verdicts)} cannot run unchanged: {', '.join(refused)}",
        hint="the lines above say why, and what to do",
    )


def _lines(verdicts: Sequence[ElementVerdict]) -> Iterator[str]:
    for verdict in verdicts:
        suffix = f": {verdict.reason}" if verdict.reason else ""
        yield f"{verdict.name}  {_TITLES[verdict.verdict]}{suffix}"
        for finding in (*verdict.obstacles, *verdict.warnings):
            yield from _finding_lines(finding)
    counts = Counter(verdict.verdict for verdict in verdicts)
    summary = ", ".join(f"{counts[verdict]} {_SUMMARY[verdict]}" for verdict in Verdict if counts[verdict])
    yield f"{counted(len(verdicts), 'element')}: {summary}"


_SUMMARY = {
    Verdict.RUNS: "run unchanged",
    Verdict.REPLACED: "replaced by dibo's own",
    Verdict.REFUSED: "do not run",
}


def _finding_lines(finding: ElementFinding) -> Iterator[str]:
    mark = "NO" if finding.severity is Severity.OBSTACLE else "--"
    more = f" (and {finding.more} more in this file)" if finding.more else ""
    yield f"  {mark}  {finding.place}: {finding.message}{more}"
    if finding.advice:
        yield f"      {finding.advice}"
