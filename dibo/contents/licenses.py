"""The licenses that packages declare, as expressions of SPDX.

Debian packages declare them in /usr/share/doc/NAME/copyright, if that is machine-readable
(https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/): the License fields of paragraphs with Files, in
names such as `GPL-2+` or `Expat`. apk has them in its database, as expressions of SPDX. Names that SPDX does not list
become `LicenseRef-NAME` (https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from dibo.tree.node import Node
from dibo.tree.query import find

IsListed = Callable[[str], str | None]
"""The name of a license as SPDX lists it, whatever its case; None for one that is not listed."""

_FORMAT: Final = re.compile(r"^Format(?:-Specification)?:.*copyright-format", re.IGNORECASE | re.MULTILINE)
_GNU: Final = re.compile(r"(A|L)?GPL-?v?([0-9](?:\.[0-9])*)(\+?)", re.IGNORECASE)
_GFDL: Final = re.compile(r"GFDL(-NIV)?-([0-9]\.[0-9])(\+?)", re.IGNORECASE)
_OPERATOR: Final = re.compile(r"\s*,?\s+(and|or)\s+", re.IGNORECASE)
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9.-]+")
_SAME: Final = {
    "expat": "MIT",
    "mit/x11": "MIT",
    "apache": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "artistic-2": "Artistic-2.0",
    "bsd-2": "BSD-2-Clause",
    "bsd-3": "BSD-3-Clause",
    "bsd-4": "BSD-4-Clause",
    "cc0": "CC0-1.0",
    "boost-1.0": "BSL-1.0",
    "zope-2.1": "ZPL-2.1",
}
"""Short names of Debian's that SPDX calls something else, or that the format's examples use."""
MOST_NAMES: Final = 200
"""Of one package."""
_LONGEST: Final = 100


def debian_license(root: Node, package: str, is_listed: IsListed) -> str | None:
    """What the package declares, all names joined by AND; None where nothing machine-readable is there."""
    node = find(root, f"/usr/share/doc/{package}/copyright")
    if node is None or node.data is None:
        return None
    text = node.data.decode(errors="replace")
    if not _FORMAT.search(text):
        return None
    names = dict.fromkeys(_declared(text))
    terms = sorted({term for name in names for term in _terms(name, is_listed)})[:MOST_NAMES]
    return " AND ".join(f"({term})" if " OR " in term and len(terms) > 1 else term for term in terms) or None


def _declared(text: str) -> Iterator[str]:
    """The first line of the License field of each paragraph with Files, and of the one at the top if no other has."""
    names = []
    for paragraph in re.split(r"\n\s*\n", text):
        fields = {
            name.lower(): value.strip()
            for name, value in re.findall(r"^([A-Za-z-]+):(.*)$", paragraph, re.MULTILINE)
        }
        if fields.get("license") and ("files" in fields or "format" in fields):
            names.append(fields["license"])
    yield from names


def _terms(name: str, is_listed: IsListed) -> Iterator[str]:
    """Expressions that all hold."""
    words = _OPERATOR.split(name)
    operators = {word.lower() for word in words[1::2]}
    if len(operators) > 1:  # commas bind, in a way that is not written down
        yield license_reference(name)
        return
    terms = [_atom(word, is_listed) for word in words[::2]]
    if operators == {"or"}:
        yield " OR ".join(sorted(set(terms)))
    else:
        yield from terms


def _atom(name: str, is_listed: IsListed) -> str:
    name = name.strip().strip(",")
    if match := _GNU.fullmatch(name):
        kind, version, later = match.groups()
        version = version if "." in version else f"{version}.0"
        candidate = f"{(kind or '').upper()}GPL-{version}-{'or-later' if later else 'only'}"
    elif match := _GFDL.fullmatch(name):
        invariants = "-no-invariants" if match[1] else ""
        candidate = f"GFDL-{match[2]}{invariants}-{'or-later' if match[3] else 'only'}"
    else:
        candidate = _SAME.get(name.lower(), name)
    return is_listed(candidate) or license_reference(name)


def license_reference(name: str) -> str:
    """For a license that SPDX does not list."""
    text = _NO_NAME.sub("-", name.replace("+", "-or-later")).strip("-")
    return f"LicenseRef-{text[:_LONGEST] or 'unknown'}"
