"""What is held back, and what is not, however the tar comes."""

from __future__ import annotations

import io
import tarfile

import pytest

from dibo.cache.secret_scan import SecretScanner

KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n"


CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----\n"
WIREGUARD = b"[Interface]\nPrivateKey = " + b"A" * 43 + b"=\n"
NO_TAR = "the layer: not a tar that can be scanned"
IN_ADDRESS = "a password in an address"


def tar(*members: tuple[str, bytes | None], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of files, and of directories where there is no content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content or b"")
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            archive.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def found(data: bytes, *, base: bool = False, piece: int = 1 << 20) -> list[str]:
    gate = SecretScanner(base=base)
    for start in range(0, len(data), piece):
        gate.feed(memoryview(data)[start : start + piece])
    return gate.findings


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("root/.ssh/id_ed25519", KEY, "a private key"),
        ("opt/deploy.pem", b"-----BEGIN RSA PRIVATE KEY-----\nMIIE", "a private key"),
        ("opt/deploy.pem", b"\n-----BEGIN PRIVATE KEY-----\nMIIE", "a private key"),
        ("opt/secret.asc", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "a private key"),
        ("home/me/key.ppk", b"PuTTY-User-Key-File-3: ssh-ed25519", "a private key"),
        ("root/.ssh/authorized_keys", b"ssh-ed25519 AAAA me\n", "authorized_keys"),
        ("etc/ssh/authorized_keys", b"ssh-ed25519 AAAA me\n", "authorized_keys"),
        ("etc/shadow", b"root:*:1::::::\nme:$6$abc$def:1::::::\n", "a password hash"),
        ("etc/shadow", b"me:!$y$j9T$abc$def:1::::::\n", "a password hash"),
        ("etc/shadow-", b"me:abJnggxhB/yWI:1::::::\n", "a password hash"),
        ("etc/gshadow", b"adm:$6$abc$def::\n", "a password hash"),
        ("root/.netrc", b"machine x login y password z", "a login"),
        ("home/me/.git-credentials", b"https://me:x@h", "a login"),
        ("etc/apt/auth.conf.d/90-esm", b"machine esm login bearer password x", "a login"),
        ("root/.docker/config.json", b'{"auths": {"h": {"auth": "bWU6eA=="}}}', "a login of a registry"),
        ("run/containers/auth.json", b'{"auths": {"h": {"auth": "bWU6eA=="}}}', "a login of a registry"),
        ("etc/ssl/both.pem", CERTIFICATE + KEY, "a private key"),
        ("root/.pgpass", b"# me\nhost:5432:db:me:hunter2\n", "a login"),
        ("root/.my.cnf", b"[client]\nuser=me\npassword = hunter2\n", "a login"),
        ("root/.npmrc", b"//registry.example/:_authToken=0123\n", "a login"),
        ("root/.pypirc", b"[pypi]\nusername: me\npassword: hunter2\n", "a login"),
        ("etc/pip.conf", b"[global]\nindex-url = https://me:hunter2@pypi.example/simple\n", IN_ADDRESS),
        ("etc/apt/sources.list", b"deb https://me:hunter2@deb.example/debian x main\n", IN_ADDRESS),
        ("etc/apt/sources.list.d/a.list", b"# a\ndeb https://me:hunter2@deb.example x y\n", IN_ADDRESS),
        ("root/.kube/config", b"users:\n- user:\n    client-key-data: LS0t\n", "a login of a cluster"),
        ("root/.vault-token", b"hvs.0123\n", "a login"),
        ("etc/wireguard/wg0.conf", WIREGUARD, "a private key"),
        ("root/.config/gh/hosts.yml", b"github.com:\n    oauth_token: x\n", "a token"),
        ("opt/app/.env", b"TOKEN=ghp_" + b"0aZ" * 12 + b"\n", "a token of GitHub"),
        ("opt/app/.env", b"ID=AKIAIOSFODNN7EXAMPLE\n", "a key of AWS"),
    ],
)
@pytest.mark.parametrize("base", [False, True])
def test_secrets(name: str, content: bytes, what: str, base: bool) -> None:
    for path in (name, f"./{name}", f"/{name}"):
        data = tar(("etc", None), ("etc/hostname", b"x\n"), (path, content), ("z", b"z" * 1000))
        assert found(data, base=base) == [f"/{name}: {what}"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("etc/shadow", b"root:*:19000:0:99999:7:::\ndaemon:!:1::::::\nsync:!*:1::::::\nx::1::::::\n"),
        ("etc/shadow", b"root:!locked:1::::::\n"),
        ("root/.ssh/authorized_keys", b""),
        ("root/.ssh/authorized_keys", b"\n"),
        ("root/.docker/config.json", b'{"auths": {"h": {}}, "credsStore": "x"}'),
        ("etc/docs", b"how to: -----BEGIN PRIVATE KEY-----"),
        ("usr/share/doc/python3/keycert.pem", b"-----BEGIN PRIVATE KEY-----\nMIIE"),
        ("usr/lib/python3/test/keycert.pem", b"-----BEGIN PRIVATE KEY-----\nMIIE"),
        ("etc/ssl/certs/x.pem", b"-----BEGIN CERTIFICATE-----\nMIIE"),
        ("root/.ssh/id.pub", b"ssh-ed25519 AAAA me\n"),
        ("opt/big", KEY + bytes(1 << 20)),
        ("etc/ssl/chain.pem", CERTIFICATE * 3),
        ("root/.pgpass", b"# nothing yet\n"),
        ("root/.my.cnf", b"[client]\nuser=me\n"),
        ("root/.npmrc", b"registry=https://registry.example/\n"),
        ("etc/pip.conf", b"[global]\n# index-url = https://me:hunter2@pypi.example/simple\n"),
        ("etc/pip.conf", b"[global]\nindex-url = https://user:password@pypi.example/simple\n"),
        ("etc/pip.conf", b"[global]\nindex-url = https://me:${PASSWORD}@pypi.example/simple\n"),
        ("etc/apt/sources.list", b"deb http://deb.example:80/debian@x main\n"),
        ("root/.kube/config", b"clusters: []\n"),
        ("etc/wireguard/wg0.conf", b"[Peer]\nPublicKey = AAAA\n"),
        ("usr/bin/tool", b"\x7fELF\0\0 https://me:hunter2@pypi.example"),
    ],
)
def test_no_secrets(name: str, content: bytes) -> None:
    assert found(tar((name, content)), base=True) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [("etc/machine-id", b"0123456789abcdef0123456789abcdef\n"), ("etc/ssh/ssh_host_rsa_key", KEY)],
)
def test_identities_count_in_a_base_alone(name: str, content: bytes) -> None:
    assert found(tar((name, content)), base=True) == [f"/{name}: the identity of a machine"]
    assert found(tar((name, content))) == []
    assert found(tar(("etc/machine-id", b""), ("etc/machine-id", b"uninitialized\n")), base=True) == []


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("piece", [1, 7, 511, 512, 513, 4096, 1 << 20])
def test_any_tar_in_any_pieces(kind: int, piece: int) -> None:
    long = "d" * 90 + "/" + "e" * 60 + ("/" + "f" * 200 if kind != tarfile.USTAR_FORMAT else "")
    data = tar(("a", b"x" * 700), (f"{long}/key", KEY), ("b", b""), ("c/.netrc", b"m"), kind=kind)
    assert found(data, piece=piece) == [f"/{long}/key: a private key", "/c/.netrc: a login"]


def test_links_and_devices_have_no_content() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("root/.netrc")
            info.type, info.linkname = kind, "elsewhere"
            archive.addfile(info)
        info = tarfile.TarInfo("key")
        info.size = len(KEY)
        archive.addfile(info, io.BytesIO(KEY))
    assert found(out.getvalue()) == ["/key: a private key"]


def test_what_is_no_tar_is_held_back() -> None:
    assert found(b"x" * 2048) == [NO_TAR]
    assert found(bytes(1024)) == []


def typed(kind: bytes, content: bytes = KEY, *, extended: bool = False) -> bytes:
    """A tar of one entry of some type; `extended` sets the mark of a sparse file whose map goes on."""
    info = tarfile.TarInfo("opt/key.pem")
    info.type, info.size = kind, len(content)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = extended
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512) + bytes(1024)


def test_a_sparse_file_is_scanned() -> None:
    assert found(typed(b"S")) == ["/opt/key.pem: a private key"]


@pytest.mark.parametrize(
    "data",
    [
        typed(b"S", extended=True),
        typed(b"Z"),
        typed(b"x", b"99 path=opt/other\n"),
        typed(b"x", b"no length"),
        typed(b"L", bytes((1 << 20) + 1)),
        tar(("opt/key.pem", KEY)).replace(b"opt/key.pem", b"opt/kez.pem"),
    ],
    ids=[
        "sparse with a long map",
        "unknown type",
        "record too long",
        "record without length",
        "long name",
        "checksum",
    ],
)
def test_a_tar_that_readers_take_differently_is_held_back(data: bytes) -> None:
    """What the scanner cannot read as the reader of layers does, it does not judge."""
    assert found(data) == [NO_TAR]
