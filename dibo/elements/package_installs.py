"""The packages that elements list: `package-installs.yaml` or `.json`, and the older text files of a phase.

    vim:
    gcc: {phase: pre-install.d, build-only: true}
    nano: {uninstall: true}
    linux-image-generic:
      - {not-arch: arm64, when: DIB_RELEASE != xenial}
      - {arch: arm64, when: [DIB_RELEASE = noble, DIB_KERNEL = generic]}

As the README of the element package-installs describes them. Where its programs of release 3.43 do something else, this
does what is written: architectures in a list may have spaces around them, a package counts only after its filters, and
the order is that of the elements, never that of a set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dibo.elements.documents import load_document
from dibo.errors import FlavourError
from dibo.flavours.schema import nearest

FILE_NAMES: Final = ("package-installs.json", "package-installs.yaml")
"""In an element, read in this order; an element may have both."""
LEGACY_PREFIX: Final = "package-installs-"
"""Of a text file in the directory of a phase; the rest of the name is the element whose pkg-map counts."""
PHASES: Final = ("pre-install.d", "install.d", "post-install.d")
"""In which packages are installed, in their order."""
_DEFAULT_PHASE: Final = "install.d"
_DEFAULT_INSTALL_TYPE: Final = "source"
_INSTALL_TYPES: Final = ("source", "package")
_KEYS: Final = ("phase", "uninstall", "build-only", "installtype", "arch", "not-arch")
_ALL_KEYS: Final = (*_KEYS, "dib_python_version", "when")
_NAME: Final = re.compile(r"[^\s#;&|<>$`\"'\\(){}\[\]*?!-][^\s;&|<>$`\"'\\(){}\[\]*?!]*")
"""No option of a package manager, nothing that a shell expands: the elements' own programs split names at spaces."""
_CONDITION: Final = re.compile(r"(?P<variable>[A-Za-z_]\w*)\s*(?P<operator>!?=)\s*(?P<value>.*)")
_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A line of `when`."""

    variable: str
    equal: bool
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequest:
    """One way in which an element asks for a package, or for its absence."""

    package: str
    element: str
    phase: str = _DEFAULT_PHASE
    installs: bool = True
    removes: bool = False
    """At the end of the phase."""
    install_type: str = ""
    architectures: frozenset[str] = frozenset()
    """All of them, if empty."""
    not_architectures: frozenset[str] = frozenset()
    python_version: str = ""
    when: tuple[Condition, ...] = ()
    origin: str = ""
    """For messages: the file."""

    @property
    def build_only(self) -> bool:
        return self.installs and self.removes


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementPackage:
    """A package by the name that the pkg-map of its element translates."""

    name: str
    element: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePackages:
    """What is installed when a phase begins, and removed when it ends. A list has a package of an element once."""

    installs: tuple[ElementPackage, ...] = ()
    removals: tuple[ElementPackage, ...] = ()
    build_only: tuple[ElementPackage, ...] = ()
    """Those that are in both."""


def parse_package_installs(text: str, *, element: str, origin: str) -> tuple[PackageRequest, ...]:
    """The requests in the text of a package-installs.yaml or .json, in their order. Raises FlavourError."""
    packages = load_document(text, origin)
    if packages is None:
        return ()
    if not isinstance(packages, dict):
        raise FlavourError(f"{origin}: expected a mapping of packages")
    requests: list[PackageRequest] = []
    for package, value in packages.items():
        place = f"{origin}: {package}"
        if not isinstance(package, str) or not _NAME.fullmatch(package):
            raise FlavourError(f"{place}: expected the name of a package")
        alternatives = value if isinstance(value, list) else [value]
        requests += [_request(package, alternative, element, place) for alternative in alternatives or [None]]
    return tuple(requests)


def _request(package: str, value: object, element: str, place: str) -> PackageRequest:
    keys = value or {}
    if not isinstance(keys, dict):
        raise FlavourError(
            f"{place}: expected nothing, a mapping or a list of mappings, got {value!r}",
            hint=f"keys: {', '.join(_ALL_KEYS)}",
        )
    for key in keys:
        if key not in _ALL_KEYS:
            raise FlavourError(f"{place}: unknown key {key!r}{nearest(str(key), _ALL_KEYS)}")
    phase = _word(keys, "phase", PHASES, place) or _DEFAULT_PHASE
    uninstall, build_only = _flag(keys, "uninstall", place), _flag(keys, "build-only", place)
    if keys.get("arch") and keys.get("not-arch"):
        raise FlavourError(f"{place}: arch and not-arch exclude each other", hint="remove one of them")
    return PackageRequest(
        package=package,
        element=element,
        phase=phase,
        installs=build_only or not uninstall,
        removes=build_only or uninstall,
        install_type=_word(keys, "installtype", _INSTALL_TYPES, place),
        architectures=_architectures(keys, "arch", place),
        not_architectures=_architectures(keys, "not-arch", place),
        python_version=_scalar(keys, "dib_python_version", place),
        when=_conditions(keys.get("when"), place),
        origin=place,
    )


def _scalar(keys: Mapping[str, object], key: str, place: str) -> str:
    value = keys.get(key)
    if isinstance(value, list | dict):
        raise FlavourError(f"{place}: {key}: expected text, got {value!r}")
    return "" if value is None else str(value).strip()


def _word(keys: Mapping[str, object], key: str, words: Sequence[str], place: str) -> str:
    text = _scalar(keys, key, place)
    if text and text not in words:
        raise FlavourError(f"{place}: {key}: expected one of {', '.join(words)}, got {text!r}")
    return text


def _flag(keys: Mapping[str, object], key: str, place: str) -> bool:
    text = _scalar(keys, key, place).lower()
    if text not in _TRUE and text not in _FALSE:
        raise FlavourError(f"{place}: {key}: expected true or false, got {text!r}")
    return text in _TRUE


def _architectures(keys: Mapping[str, object], key: str, place: str) -> frozenset[str]:
    value = keys.get(key) or ""
    items = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else [value]
    architectures = [item.strip() for item in items if isinstance(item, str)]
    if len(architectures) < len(items):
        raise FlavourError(f"{place}: {key}: expected architectures, such as amd64, arm64; got {value!r}")
    return frozenset(architectures) - {""}


def _conditions(value: object, place: str) -> tuple[Condition, ...]:
    lines = value if isinstance(value, list) else [] if value is None else [value]
    conditions = []
    for line in lines:
        match = _CONDITION.fullmatch(line.strip()) if isinstance(line, str) else None
        if match is None:
            raise FlavourError(f"{place}: when: expected VARIABLE = value or VARIABLE != value, got {line!r}")
        conditions.append(
            Condition(
                variable=match["variable"], equal=match["operator"] == "=", value=match["value"].rstrip()
            )
        )
    return tuple(conditions)


def parse_legacy_packages(text: str, *, element: str, phase: str, origin: str) -> tuple[PackageRequest, ...]:
    """The requests in a text file of a phase: a package in each line, `#` before a comment, `-` before a package that
    goes away at the end. Raises FlavourError."""
    requests = []
    for number, line in enumerate(text.split("\n"), start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        removes = name.startswith("-")
        name = name.removeprefix("-").strip()
        if not _NAME.fullmatch(name):
            raise FlavourError(f"{origin}:{number}: expected the name of a package, got {line.strip()!r}")
        requests.append(
            PackageRequest(
                package=name,
                element=element,
                phase=phase,
                removes=removes,
                origin=f"{origin}:{number}",
            )
        )
    return tuple(requests)


def variables_read(requests: Iterable[PackageRequest]) -> tuple[str, ...]:
    """Names of the variables that decide which of `requests` count, sorted. ARCH is one of them."""
    names = {"ARCH"}
    for request in requests:
        names |= {condition.variable for condition in request.when}
        if request.install_type:
            names |= {"DIB_DEFAULT_INSTALLTYPE", _install_type_variable(request.element)}
        if request.python_version:
            names.add("DIB_PYTHON_VERSION")
    return tuple(sorted(names))


def packages_by_phase(
    requests: Iterable[PackageRequest], environment: Mapping[str, str]
) -> dict[str, PhasePackages]:
    """What each phase installs and removes, in the order of `requests`; phases without packages are left out.

    A package that one element asks for without removal stays, even if others remove it. Raises
    FlavourError for a condition on a variable that is not set.
    """
    counting = [request for request in requests if _counts(request, environment)]
    result = {}
    for phase in PHASES:
        of_phase = [request for request in counting if request.phase == phase]
        stays = {request.package for request in of_phase if not request.removes}
        removed = [request for request in of_phase if request.removes and request.package not in stays]
        packages = PhasePackages(
            installs=_unique(request for request in of_phase if request.installs),
            removals=_unique(removed),
            build_only=_unique(request for request in removed if request.build_only),
        )
        if packages.installs or packages.removals:
            result[phase] = packages
    return result


def _unique(requests: Iterable[PackageRequest]) -> tuple[ElementPackage, ...]:
    packages: Iterator[ElementPackage] = (
        ElementPackage(name=request.package, element=request.element) for request in requests
    )
    return tuple(dict.fromkeys(packages))


def _counts(request: PackageRequest, environment: Mapping[str, str]) -> bool:
    if request.install_type and request.install_type != _install_type(request.element, environment):
        return False
    architecture = environment.get("ARCH", "")
    if request.architectures and architecture not in request.architectures:
        return False
    if architecture in request.not_architectures:
        return False
    if request.python_version and request.python_version != environment.get("DIB_PYTHON_VERSION", ""):
        return False
    return all(_holds(condition, request, environment) for condition in request.when)


def _holds(condition: Condition, request: PackageRequest, environment: Mapping[str, str]) -> bool:
    if condition.variable not in environment:
        raise FlavourError(
            f"{request.origin}: when: the variable {condition.variable} is not set",
            hint=f"set it in an environment.d file of {request.element}, or pass it: {condition.variable}=...",
        )
    return (environment[condition.variable] == condition.value) == condition.equal


def _install_type(element: str, environment: Mapping[str, str]) -> str:
    default = environment.get("DIB_DEFAULT_INSTALLTYPE", _DEFAULT_INSTALL_TYPE)
    return environment.get(_install_type_variable(element), default)


def _install_type_variable(element: str) -> str:
    return f"DIB_INSTALLTYPE_{element.replace('-', '_')}"
