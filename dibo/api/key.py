"""Key pairs, and signatures of whatever lies in a registry: an image, a disk, a ramdisk."""

from __future__ import annotations

from pathlib import Path

from dibo.api.documents import CommandAnswer, new_document
from dibo.errors import UsageError
from dibo.images.manifest import checked
from dibo.images.reference import ImageName, names_a_host, parse_image_name
from dibo.images.registry import api
from dibo.settings.settings import Settings
from dibo.trust import keys
from dibo.trust.policy import password_of, trust_of


def generate(settings: Settings, prefix: Path) -> CommandAnswer:
    """Write PREFIX.key and PREFIX.pub; their paths. Raises OutputError, UsageError without a password."""
    password = password_of(settings)
    if password is None:
        raise UsageError(
            "no password was given for the private key",
            hint=f"set {keys.PASSWORD_VARIABLES[0]}; with an empty one, the key is not encrypted",
        )
    private, public = keys.write_pair(keys.generate(), prefix, password=password)
    return CommandAnswer(
        text=f"{private}\n{public}",
        document=new_document("key-generate", private_key=str(private), public_key=str(public)),
    )


def sign(settings: Settings, reference: str) -> CommandAnswer:
    """Sign what `reference` means now; HOST/PATH:TAG@DIGEST."""
    trust = trust_of(settings)
    if trust.sign_key is None:
        raise UsageError("no key was given to sign with", hint="--sign-key FILE, or DIBO_SIGN_KEY")
    name = _name(reference)
    body = api.read_manifest(name)
    digest, _ = checked(body, description=str(name), expected=name.digest)
    trust.sign_manifest(name, body)
    signed = _with_digest(name, digest)
    return CommandAnswer(text=signed, document=new_document("key-sign", reference=signed))


def verify(settings: Settings, reference: str) -> CommandAnswer:
    """HOST/PATH:TAG@DIGEST, and who signed it. Raises SignatureError where no key that is trusted did."""
    if settings.policy is None and not settings.verify_keys:
        raise UsageError(
            "no key was given to verify with", hint="--verify-key FILE, --policy FILE, or DIBO_VERIFY_KEYS"
        )
    name = _name(reference)
    trust = trust_of(settings)
    trust.require_chance(name)
    digest, _ = api.manifest(name)
    key = trust.verify(name, digest)
    signer = f"signed by {key.name}" if key is not None else "the policy accepts it unsigned"
    verified = _with_digest(name, digest)
    return CommandAnswer(
        text=f"{verified}  {signer}",
        document=new_document("key-verify", reference=verified, signed_by=None if key is None else key.name),
    )


def _with_digest(name: ImageName, digest: str) -> str:
    return str(name) if name.digest is not None else f"{name}@{digest}"


def _name(reference: str) -> ImageName:
    if not names_a_host(reference.removeprefix("docker://")):
        raise UsageError(f"{reference!r} names nothing in a registry", hint="write HOST[:PORT]/PATH[:TAG]")
    return parse_image_name(reference)
