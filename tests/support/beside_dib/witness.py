"""A stack whose image tells how elements were run: elements of the wheel, and one written here, which leaves in the
image what each phase saw, and files of every kind, mode and owner."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dibo.elements.model import PHASES

RELEASE: Final = "bookworm"
ELEMENTS: Final = (
    "debian-minimal",
    *("bootloader", "cloud-init-datasources", "devuser", "dhcp-all-interfaces", "dib-init-system"),
    *("dynamic-login", "element-manifest", "enable-serial-console", "growroot", "journal-to-console"),
    *("modprobe", "openssh-server", "runtime-ssh-host-keys", "witness"),
)
VARIABLES: Final = {
    "DIB_RELEASE": RELEASE,
    "DIB_PYTHON_VERSION": "3",  # diskimage-builder takes 2, which Debian no longer has
    "DIB_CLOUD_INIT_DATASOURCES": "ConfigDrive, NoCloud",
    "DIB_DEV_USER_PWDLESS_SUDO": "yes",
    "DIB_DEV_USER_SHELL": "/bin/bash",
    "DIB_DEV_USER_USERNAME": "otter",
    "DIB_MODPROBE_BLACKLIST": "floppy",
    "DIB_WITNESS": "badger",
}
FILES: Final = {
    "element-deps": "install-static\npackage-installs\npkg-map\nsvc-map\nsysctl\n",
    # Without it, diskimage-builder asks for packages of GRUB that exclude each other.
    "environment.d/15-witness-device.bash": "export DIB_BLOCK_DEVICE=mbr\n",
    "environment.d/50-witness.bash": "export DIB_WITNESS=${DIB_WITNESS:-otter}\n",
    "package-installs.yaml": "attr:\nlibcap2-bin:\nweb-server:\nnano: {uninstall: true}\npatch: {build-only: true}\n"
    "gdisk: {phase: post-install.d}\nhello: {arch: arm64}\nrsync: {when: DIB_WITNESS = badger}\n",
    "pkg-map": '{"family": {"debian": {"web-server": "nginx-light"}}}\n',
    "svc-map": "web-service:\n  debian: nginx\n",
    "static/etc/systemd/system/witness.service": "[Service]\nExecStart=/usr/local/bin/witness\n"
    "[Install]\nWantedBy=multi-user.target\n",
    "static/etc/witness/secret": "secret\n",
    "static/usr/local/bin/witness": "#!/bin/sh\n",
    "extra-data.d/60-witness": "printf '%s\\n' $IMAGE_ELEMENT | sort > $TMP_HOOKS_PATH/witness-elements\n"
    "echo hook > $TMP_HOOKS_PATH/install.d/65-made\n"
    "printf '#!/bin/sh\\necho made > /etc/witness/made\\n' > $TMP_HOOKS_PATH/install.d/65-made\n"
    "chmod +x $TMP_HOOKS_PATH/install.d/65-made\nsudo mkdir -p $TMP_MOUNT_PATH/opt/outside\n",
    "pre-install.d/60-witness": "groupadd --system --gid 950 witness\n"
    "useradd --uid 1500 --gid witness --create-home --shell /bin/bash witness\n",
    "install.d/60-witness": "sysctl-write-value net.ipv4.ip_forward 1\n"
    "cp /tmp/in_target.d/witness-elements /etc/witness/\n"
    "echo $DIB_WITNESS $DISTRO_NAME $DIB_RELEASE $ARCH $DIB_INIT_SYSTEM > /etc/witness/variables\n"
    "command -v patch nano > /etc/witness/build-only\n"
    "mkdir -p /srv/shared\nchown 1500:950 /srv/shared\nchmod 2770 /srv/shared\n"
    "install -m 4755 /bin/true /usr/local/bin/setuid\ninstall -m 755 /bin/true /usr/local/bin/capable\n"
    "setcap cap_net_bind_service+ep /usr/local/bin/capable\nsetfattr -n user.witness -v $DIB_WITNESS /srv/shared\n"
    "echo text > /srv/first\nln /srv/first /srv/second\nln -s ../../srv/first /etc/witness/link\n"
    "mkfifo -m 640 /srv/pipe\ntouch '/srv/name with spaces' /srv/ünï\ntruncate -s 1M /srv/hole\n"
    "chmod 600 /etc/witness/secret\n",
    "post-install.d/60-witness": 'systemctl enable witness.service "$(svc-map web-service)"\n'
    "systemctl mask apt-daily.timer\nsgdisk --version > /etc/witness/sgdisk\n",
    "post-root.d/60-witness": "sudo touch $TMP_MOUNT_PATH/opt/outside/post-root\n",
    "pre-finalise.d/60-witness": "sudo touch $TMP_MOUNT_PATH/opt/outside/pre-finalise\n",
    "finalise.d/60-witness": "cp /etc/fstab /etc/witness/fstab\n",
    "cleanup.d/60-witness": "sudo rm $TARGET_ROOT/home/witness/.bashrc\nsudo touch $TARGET_ROOT/opt/outside/cleanup\n",
}
"""Of the element `witness`, by path; those below a phase are scripts."""


def write_witness(directory: Path) -> Path:
    """Write the element below `directory`, a new one, for everybody to read: what ELEMENTS_PATH has."""
    for path, text in FILES.items():
        file = directory / "witness" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        is_script = path.split("/")[0] in PHASES
        file.write_text(f"#!/bin/bash\nset -eu -o pipefail\n{text}" if is_script else text)
        file.chmod(0o755 if is_script or "/bin/" in path else 0o644)
    for entry in (directory, *directory.rglob("*")):
        if entry.is_dir():
            entry.chmod(0o755)
    return directory
