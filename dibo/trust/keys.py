"""Key pairs in the formats of cosign (https://github.com/sigstore/cosign, pkg/cosign/keys.go).

    public    PEM `PUBLIC KEY`: a SubjectPublicKeyInfo of an ECDSA key on P-256
    private   PEM `ENCRYPTED SIGSTORE PRIVATE KEY` (before 2023 `ENCRYPTED COSIGN PRIVATE KEY`): JSON with the
              parameters of scrypt and a NaCl secretbox; in it a PKCS #8 key. Plain PEM `PRIVATE KEY` and
              `EC PRIVATE KEY` are read, too

A signature is ECDSA over SHA-256, in DER. skopeo, podman, buildah and cosign read and write the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dibo.errors import OutputError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

ENCRYPTED: Final = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
PASSWORD_VARIABLES: Final = ("DIBO_SIGN_PASSWORD", "COSIGN_PASSWORD")
"""Where the password of an encrypted private key is read; the second is cosign's own."""
_SCRYPT: Final = {"N": 1 << 16, "r": 8, "p": 1}
_LARGEST_SCRYPT: Final = 1 << 28  # bytes of memory, N * r * 128; a key file is no reason to use more
_LARGEST_FILE: Final = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """Half a pair, for verifying. `name` is for messages."""

    name: str
    key: EllipticCurvePublicKey

    def signed(self, payload: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's, of `payload`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            self.key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    def fingerprint(self) -> str:
        """sha256 of the SubjectPublicKeyInfo in DER, hexadecimal."""
        from cryptography.hazmat.primitives import serialization

        info = serialization.PublicFormat.SubjectPublicKeyInfo
        return hashlib.sha256(self.key.public_bytes(serialization.Encoding.DER, info)).hexdigest()

    def pem(self) -> bytes:
        from cryptography.hazmat.primitives import serialization

        return self.key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """The other half, for signing."""

    name: str
    key: EllipticCurvePrivateKey

    def sign(self, payload: bytes) -> bytes:
        """The same bytes for the same payload (RFC 6979), where the installed OpenSSL can do that."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            return self.key.sign(payload, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except (UnsupportedAlgorithm, TypeError):  # OpenSSL before 3.2, cryptography before 43
            return self.key.sign(payload, ec.ECDSA(hashes.SHA256()))

    def public(self) -> PublicKey:
        return PublicKey(name=self.name, key=self.key.public_key())


def generate() -> PrivateKey:
    """A new pair."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return PrivateKey(name="new key", key=ec.generate_private_key(ec.SECP256R1()))


def write_pair(private: PrivateKey, prefix: Path, *, password: bytes) -> tuple[Path, Path]:
    """Write PREFIX.key, encrypted with `password`, for its owner alone, and PREFIX.pub. Raises OutputError where
    one of them exists."""
    paths = prefix.with_name(f"{prefix.name}.key"), prefix.with_name(f"{prefix.name}.pub")
    contents = encrypted(private, password=password), private.public().pem()
    for path, content, mode in zip(paths, contents, (0o600, 0o644), strict=True):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError as error:
            raise OutputError(f"{path} exists", hint="name another file, or move it away") from error
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    return paths


def encrypted(private: PrivateKey, *, password: bytes) -> bytes:
    """The PEM of a private key as cosign writes it."""
    from cryptography.hazmat.primitives import serialization
    from nacl.secret import SecretBox

    plain = private.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    salt, nonce = os.urandom(32), os.urandom(SecretBox.NONCE_SIZE)
    box = SecretBox(_scrypt(password, salt, _SCRYPT)).encrypt(plain, nonce)
    document = {
        "kdf": {"name": "scrypt", "params": _SCRYPT, "salt": _base64(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": _base64(nonce)},
        "ciphertext": _base64(box.ciphertext),
    }
    return _pem(ENCRYPTED[0], json.dumps(document).encode())


def read_private_key(path: Path, *, password: bytes | None) -> PrivateKey:
    """The private key in a file. Raises UsageError for a file that holds none, a password that is missing or wrong."""
    text = _read(path)
    label = _label(text)
    if label in ENCRYPTED:
        der = _decrypted(text, path, password=password)
        return PrivateKey(name=path.name, key=_private(der, path, pem=False))
    if label in ("PRIVATE KEY", "EC PRIVATE KEY"):
        return PrivateKey(name=path.name, key=_private(text, path, pem=True))
    raise UsageError(
        f"{path} holds no private key for signing: expected a PEM {ENCRYPTED[0]} or PRIVATE KEY, got "
        f"{label or 'no PEM'}",
        hint="make a pair with `dibo key generate`, or take one of cosign's",
    )


def read_public_key(path: Path) -> PublicKey:
    """The public key in a file. Raises UsageError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    text = _read(path)
    label = _label(text)
    hint = "name the .pub half of a pair; `dibo key generate` makes one"
    if label != "PUBLIC KEY":
        raise UsageError(
            f"{path} holds no public key: expected a PEM PUBLIC KEY, got {label or 'no PEM'}", hint=hint
        )
    try:
        key = serialization.load_pem_public_key(text)
    except ValueError as error:
        raise UsageError(f"{path} holds no public key that can be read: {error}", hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"{path} holds a key of another kind: expected ECDSA on P-256", hint=hint)
    return PublicKey(name=path.name, key=key)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE)
    except OSError as error:
        raise UsageError(f"cannot read the key {path}: {error.strerror}") from error


def _label(text: bytes) -> str:
    first = text.strip().partition(b"\n")[0].strip().decode(errors="replace")
    if not (first.startswith("-----BEGIN ") and first.endswith("-----")):
        return ""
    return first[len("-----BEGIN ") : -len("-----")]


def _private(data: bytes, path: Path, *, pem: bool) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    try:
        key = load(data, password=None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} holds no private key that can be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"{path} holds a key of another kind: expected ECDSA on P-256")
    return key


def _decrypted(text: bytes, path: Path, *, password: bytes | None) -> bytes:
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    names = " or ".join(PASSWORD_VARIABLES)
    if password is None:
        raise UsageError(
            f"{path} is encrypted and no password was given", hint=f"set {names}; it may be empty"
        )
    try:
        document = json.loads(base64.b64decode(_body(text), validate=True))
        kdf, cipher = document["kdf"], document["cipher"]
        if kdf["name"] != "scrypt" or cipher["name"] != "nacl/secretbox":
            raise UsageError(
                f"{path} is encrypted with {kdf['name']} and {cipher['name']}, which dibo cannot read"
            )
        secret = _scrypt(password, base64.b64decode(kdf["salt"]), kdf["params"])
        return SecretBox(secret).decrypt(
            base64.b64decode(document["ciphertext"]), base64.b64decode(cipher["nonce"])
        )
    except CryptoError as error:
        raise UsageError(f"the password does not open {path}", hint=f"set {names}") from error
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise UsageError(f"{path} is no private key of cosign: {error}") from error


def _body(text: bytes) -> bytes:
    """The base64 between the two lines of a PEM."""
    lines = text.strip().splitlines()
    return b"".join(line.strip() for line in lines[1:-1])


def _scrypt(password: bytes, salt: bytes, parameters: Any) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    n, r, p = (int(parameters[name]) for name in ("N", "r", "p"))
    if n * r * 128 > _LARGEST_SCRYPT or p > 16:
        raise ValueError(f"scrypt with N={n}, r={r}, p={p} is refused: it takes too much memory or time")
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(password)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _pem(label: str, data: bytes) -> bytes:
    text = _base64(data)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()
