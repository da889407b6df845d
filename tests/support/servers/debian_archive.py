"""An archive of Debian packages on loopback, signed by a key made for the test, in which a test publishes packages."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tests.support.gpg_keys import Key
from tests.support.servers.fake_web_server import FakeWebServer, Site

RELEASE = "trixie"
SUITES = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
_2026 = 1767225600  # seconds since 1970


def make_deb(
    fields: Mapping[str, str], *, files: Mapping[str, str] | None = None, time: int = _2026
) -> bytes:
    """A package with these control fields and files, all as old as `time`."""
    control = "".join(f"{name}: {value}\n" for name, value in fields.items()).encode()
    members = (
        (b"debian-binary", b"2.0\n"),
        (b"control.tar.gz", _tar({"./control": control}, time)),
        (b"data.tar.gz", _tar({f"./{path}": text.encode() for path, text in (files or {}).items()}, time)),
    )
    parts = [b"!<arch>\n"]
    for name, data in members:
        header = b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name, time, 0, 0, b"100644", len(data))
        parts.append(header + data + b"\n" * (len(data) % 2))
    return b"".join(parts)


def _tar(files: Mapping[str, bytes], time: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        seen: set[str] = set()
        for path, data in files.items():
            for parent in reversed(Path(path).parents):
                if str(parent) not in (".", *seen):
                    seen.add(str(parent))
                    directory = tarfile.TarInfo(f"./{parent}/")
                    directory.type, directory.mode, directory.mtime = tarfile.DIRTYPE, 0o755, time
                    tar.addfile(directory)
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(data), 0o644, time
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0)


@dataclass
class DebianArchive:
    """`publish` puts a package into a suite, `sign` makes the state of now what clients see."""

    site: Site
    url: str
    key: Key
    keyring: Path
    suites: dict[str, dict[tuple[str, str, str], str]] = field(
        default_factory=lambda: {name: {} for name in SUITES}
    )
    """Stanzas of each suite's index, by name, version and architecture."""
    changes: int = 0
    architectures: tuple[str, ...] = ("amd64",)

    @property
    def mirror(self) -> str:
        """As --mirror takes it."""
        return f"{self.url}/debian {self.url}/security"

    def publish(
        self,
        name: str,
        version: str,
        *,
        suite: str = RELEASE,
        depends: str = "",
        files: Mapping[str, str] | None = None,
        time: int = _2026,
        **more: str,
    ) -> bytes:
        """Put a package into a suite, and sign it with the next `sign`."""
        fields = {
            "Package": name,
            "Version": version,
            "Architecture": "all",
            "Maintainer": "a test <a@example>",
        }
        fields |= {"Depends": depends} if depends else {}
        fields |= {key.replace("_", "-"): value for key, value in more.items()}
        return self.add(
            make_deb({**fields, "Description": name}, files=files, time=time), fields, suite=suite
        )

    def add(self, deb: bytes, fields: Mapping[str, str], *, suite: str = RELEASE) -> bytes:
        """Put a package that is there into a suite."""
        name, version = fields["Package"], fields["Version"]
        path = f"pool/main/{name}/{name}_{version.partition(':')[2] or version}_{fields['Architecture']}.deb"
        for address in (path, quote(path)):
            self.site.files[f"{self._root(suite)}/{address}"] = deb
        stanza = "".join(f"{key}: {value}\n" for key, value in fields.items())
        stanza += f"Filename: {path}\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n"
        self.suites[suite][name, version, fields["Architecture"]] = stanza
        return deb

    def withdraw(self, name: str, version: str, *, suite: str = RELEASE) -> None:
        """Take a package out of a suite, and its file away."""
        stanza = self.suites[suite].pop((name, version, "all"))
        path = next(line.split()[1] for line in stanza.splitlines() if line.startswith("Filename"))
        for address in {path, quote(path)}:
            del self.site.files[f"{self._root(suite)}/{address}"]

    def sign(self) -> None:
        """Write and sign the index of each suite."""
        self.changes += 1
        for suite, stanzas in self.suites.items():
            place = f"{self._root(suite)}/dists/{suite}"
            sums = ""
            for architecture in self.architectures:
                kinds = ("Architecture: all\n", f"Architecture: {architecture}\n")
                texts = [
                    stanzas[key] for key in sorted(stanzas) if any(kind in stanzas[key] for kind in kinds)
                ]
                index = "\n".join(texts).encode()
                path = f"main/binary-{architecture}/Packages"
                self.site.files[f"{place}/{path}"] = index
                sums += f" {hashlib.sha256(index).hexdigest()} {len(index)} {path}\n"
            label = "Test-Security" if suite.endswith("-security") else "Test"
            release = (
                f"Origin: Test\nLabel: {label}\nSuite: {suite.replace(RELEASE, 'stable')}\nCodename: {suite}\n"
                f"Date: Thu, 01 Jan 2026 00:{self.changes // 60:02}:{self.changes % 60:02} UTC\n"
                f"Architectures: {' '.join(self.architectures)}\nComponents: main\nSHA256:\n{sums}"
            )
            self.site.files[f"{place}/InRelease"] = self._clearsigned(release)

    def _root(self, suite: str) -> str:
        return "/security" if suite.endswith("-security") else "/debian"

    def _clearsigned(self, text: str) -> bytes:
        argv = ["gpg", "--homedir", str(self.key.home), "--batch", "--local-user", self.key.fingerprint]
        done = subprocess.run([*argv, "--clearsign"], input=text.encode(), capture_output=True, check=True)
        return done.stdout


@contextlib.contextmanager
def debian_archive(key: Key, directory: Path) -> Iterator[DebianArchive]:
    """An empty archive, whose keyring is put into `directory`."""
    keyring = directory / "archive.gpg"
    keyring.write_bytes(key.export(armour=False))
    keyring.chmod(0o644)
    with FakeWebServer() as server:
        yield DebianArchive(site=server.site, url=server.url, key=key, keyring=keyring)
