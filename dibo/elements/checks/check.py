"""Whole elements, with the elements that they depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from dibo.elements.checks.files import ELEMENT_NAME, PHASES, file_findings
from dibo.elements.checks.findings import ElementFinding, Severity, without_repeats
from dibo.errors import UnknownFlavour


def own_elements(directory: Path) -> dict[str, str]:
    """The elements that come with dibo, by name, each with what it does in the place of diskimage-builder's: the text
    of its README behind the title."""
    reasons = {}
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        readme = path / "README.md"
        if readme.is_file():
            _, _, text = readme.read_text().partition("\n")
            reasons[path.name] = " ".join(text.split())
    return reasons


class Verdict(StrEnum):
    RUNS = "runs"
    REPLACED = "replaced"
    """dibo does its work in another way."""
    REFUSED = "refused"
    """It has obstacles, or needs an element that has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementVerdict:
    name: str
    path: Path
    verdict: Verdict
    reason: str
    """Why it is replaced; else empty."""
    findings: tuple[ElementFinding, ...]

    @property
    def obstacles(self) -> tuple[ElementFinding, ...]:
        return tuple(finding for finding in self.findings if finding.severity is Severity.OBSTACLE)

    @property
    def warnings(self) -> tuple[ElementFinding, ...]:
        return tuple(finding for finding in self.findings if finding.severity is Severity.WARNING)

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "path": str(self.path),
            "verdict": self.verdict.value,
            "reason": self.reason,
            "findings": [
                {
                    "severity": finding.severity.value,
                    "code": finding.code,
                    "path": finding.path,
                    "line": finding.line,
                    "more": finding.more,
                    "message": finding.message,
                    "advice": finding.advice,
                }
                for finding in self.findings
            ],
        }


def elements_at(paths: Iterable[Path]) -> dict[str, Path]:
    """The elements that `paths` name, each an element or a directory of elements; the first of a name counts. Raises
    UnknownFlavour for what is neither."""
    elements: dict[str, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UnknownFlavour(
                f"{path} is not a directory", hint="pass an element, or a directory of elements"
            )
        directories = (
            [path] if _has_files_of_element(path) else sorted(one for one in path.iterdir() if one.is_dir())
        )
        for directory in directories:
            if not directory.name.startswith((".", "__")):
                elements.setdefault(directory.absolute().name, directory)
    if not elements:
        raise UnknownFlavour("there are no elements", hint="pass an element, or a directory of elements")
    return elements


def _has_files_of_element(path: Path) -> bool:
    """Elements are called pkg-map and block-device-efi, too: what is a file in an element is a directory beside it."""
    files = ("element-deps", "element-provides", "pkg-map", "svc-map")
    starts = ("package-installs.", "source-repository-", "block-device-")
    for entry in path.iterdir():
        if entry.is_file() and (entry.name in files or entry.name.startswith(starts)):
            return True
        if entry.is_dir() and entry.name in (*PHASES, "environment.d", "static", "init-scripts"):
            return True
    return False


def check_elements(
    elements: Mapping[str, Path], *, known: Mapping[str, Path], replaced: Mapping[str, str]
) -> tuple[ElementVerdict, ...]:
    """A verdict on each of `elements`. `known` are those of the search path, which they may depend on; `replaced` those
    in whose place dibo has its own, with the reasons."""
    checker = _Checker({**known, **elements}, replaced)
    return tuple(checker.verdict(name) for name in sorted(elements))


class _Checker:
    def __init__(self, elements: Mapping[str, Path], replaced: Mapping[str, str]) -> None:
        self._elements = elements
        self._replaced = replaced
        self._alone: dict[str, ElementVerdict] = {}
        self._providers = {
            provided: name
            for name, path in elements.items()
            for provided in read_names(path / "element-provides")
        }

    def verdict(self, name: str) -> ElementVerdict:
        """With the obstacles of what it needs."""
        own = self._without_needs(name)
        if own.verdict is Verdict.REPLACED:
            return own
        findings = list(own.findings)
        for need in self._all_needs(name):
            if need not in self._elements and need not in self._replaced:
                if need not in self._providers:
                    findings.append(
                        ElementFinding(
                            severity=Severity.WARNING,
                            code="unknown-element",
                            message=f"the element {need}, which it needs, is not on the search path",
                            advice="add its directory to ELEMENTS_PATH",
                            path="element-deps",
                        )
                    )
                continue
            if need in self._elements and self._without_needs(need).verdict is Verdict.REFUSED:
                findings.append(
                    ElementFinding(
                        severity=Severity.OBSTACLE,
                        code="dependency",
                        message=f"the element {need}, which it needs, does not run",
                        advice=f"`dibo elements check {self._elements[need]}` says why",
                        path="element-deps",
                    )
                )
        refused = any(finding.severity is Severity.OBSTACLE for finding in findings)
        verdict = Verdict.REFUSED if refused else own.verdict
        return replace(own, findings=tuple(findings), verdict=verdict)

    def _without_needs(self, name: str) -> ElementVerdict:
        if name not in self._alone:
            path = self._elements[name]
            findings = () if name in self._replaced else without_repeats(file_findings(path))
            refused = any(finding.severity is Severity.OBSTACLE for finding in findings)
            self._alone[name] = ElementVerdict(
                name=name,
                path=path,
                verdict=Verdict.REPLACED
                if name in self._replaced
                else Verdict.REFUSED
                if refused
                else Verdict.RUNS,
                reason=self._replaced.get(name, ""),
                findings=findings,
            )
        return self._alone[name]

    def _all_needs(self, name: str) -> list[str]:
        """Also those of what it needs, but not of what is replaced."""
        seen: dict[str, None] = {}
        pending = [name]
        while pending:
            path = self._elements.get(pending.pop())
            for need in read_names(path / "element-deps") if path is not None else ():
                if need not in seen and need != name:
                    seen[need] = None
                    if need not in self._replaced:
                        pending.append(need)
        return sorted(seen)


def read_names(path: Path) -> tuple[str, ...]:
    """The names in a file, one a line; none where there is no file."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(name for line in lines if ELEMENT_NAME.fullmatch(name := line.strip()))
