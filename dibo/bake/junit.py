"""A report as JUnit XML, as CI systems show it: a suite for layers, and one for each image.

A layer that failed is a failed case, once; the images that need it are skipped, so that a failure is not counted for
each of them. The dialect is the common subset of https://github.com/testmoapp/junitxml and of the schema that Jenkins
publishes (junit-10.xsd): testsuites, testsuite, testcase, failure, skipped, system-out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from dibo.bake.report import PLANNING, BakeReport, ImageReport, LayerReport
from dibo.bake.schedule import TaskState
from dibo.errors import DiboError

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document has (XML 1.0, 2.2)."""


def junit(report: BakeReport) -> str:
    """The whole document."""
    root = ElementTree.Element("testsuites", name="bake", time=f"{report.seconds:.3f}")
    made = [layer for layer in report.layers if layer.origin or layer.error]
    if made:
        _suite(root, "layers", [_layer_case(layer) for layer in made])
    for image in report.images:
        _suite(root, image.name, _image_cases(image))
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _suite(root: ElementTree.Element, name: str, cases: Sequence[ElementTree.Element]) -> None:
    seconds = sum(float(case.get("time", "0")) for case in cases)
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=_clean(name),
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors="0",
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        time=f"{seconds:.3f}",
    )
    suite.extend(cases)


def _layer_case(layer: LayerReport) -> ElementTree.Element:
    case = _case("layers", layer.layer.title, layer.seconds or 0.0)
    if layer.error is not None:
        _fail(case, layer.error)
    else:
        output = ElementTree.SubElement(case, "system-out")
        output.text = _clean(f"{layer.origin}\nkey {layer.layer.key}\nof {', '.join(layer.layer.images)}")
    return case


def _image_cases(image: ImageReport) -> list[ElementTree.Element]:
    if image.failed == PLANNING and image.error is not None:
        case = _case(image.name, PLANNING, 0.0)
        _fail(case, image.error)
        return [case]
    broken = next((layer for layer in image.layers if layer.error is not None), None)
    case = _case(image.name, "artefacts", image.seconds)
    if broken is not None:
        _skip(case, f"the layer {broken.layer.title} failed")
    elif image.failed == "artefacts" and image.error is not None:
        _fail(case, image.error)
    elif image.state is TaskState.CANCELLED:
        _skip(case, "cancelled")
    elif image.artefacts:
        ElementTree.SubElement(case, "system-out").text = _clean("\n".join(map(str, image.artefacts)))
    cases = [case]
    for test in image.tests:
        case = _case(image.name, f"test {test.name}", test.seconds)
        if test.error is not None:
            _fail(case, test.error)
        elif test.state is not TaskState.DONE:
            _skip(case, "the image was not made")
        cases.append(case)
    return cases


def _case(suite: str, name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.Element("testcase", classname=_clean(suite), name=_clean(name), time=f"{seconds:.3f}")


def _fail(case: ElementTree.Element, error: DiboError) -> None:
    failure = ElementTree.SubElement(
        case, "failure", message=_clean(error.message), type=type(error).__name__
    )
    failure.text = _clean("\n".join((error.message, *error.hint.splitlines())))


def _skip(case: ElementTree.Element, reason: str) -> None:
    ElementTree.SubElement(case, "skipped", message=_clean(reason))


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
