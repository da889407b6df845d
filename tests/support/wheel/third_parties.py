"""Elements in the shapes of those of others, written from what these document of themselves: an image of a load
balancer with an agent (Octavia's amphora), a ramdisk of a whole root (ironic-python-agent-builder), a server of shares
(Manila), a node of a cluster (Cluster API for OpenStack)."""

from __future__ import annotations

from typing import Final

from tests.support.wheel.model import WheelGroup
from tests.support.wheel.stand_ins import APT_OS

AMPHORA: Final = WheelGroup(
    system=("os",),
    base="empty",
    files={
        **APT_OS,
        "amphora-agent/element-deps": "dib-init-system\ninstall-static\ninstall-types\npackage-installs\n"
        "pkg-map\nsource-repositories\nsvc-map\n",
        "amphora-agent/environment.d/10-agent.bash": "export DIB_AGENT_PORT=${DIB_AGENT_PORT:-9443}\n",
        "amphora-agent/package-installs.yaml": "agent-libraries:\nlinux-tools:\n  not-arch: arm64\n"
        "agent-compiler: {installtype: source, build-only: true}\n"
        "agent-package: {installtype: package}\n"
        "acl:\n  - when: [DISTRO_NAME = debian, DIB_RELEASE != trixie]\n",
        "amphora-agent/pkg-map": '{"family": {"debian": {"agent-libraries": "libffi-dev libssl-dev"}}}\n',
        "amphora-agent/svc-map": "agent:\n  default: amphora-agent\n",
        "amphora-agent/source-repository-agent": "agent git /opt/agent-source https://example.org/agent\n",
        "amphora-agent/static/etc/agent/agent.template": "port = PORT\n",
        "amphora-agent/init-scripts/systemd/amphora-agent.service": "[Service]\nExecStart=/opt/agent/run\n",
        "amphora-agent/install.d/amphora-agent-source-install/75-agent": "cp -r /opt/agent-source /opt/agent\n"
        'sed "s/PORT/$DIB_AGENT_PORT/" /etc/agent/agent.template > /etc/agent/agent.conf\n',
        "amphora-agent/install.d/amphora-agent-package-install/75-agent": "exit 1\n",
        "amphora-agent/post-install.d/11-enable-agent": 'systemctl enable "$(svc-map agent)"\n',
        "balancer/element-deps": "package-installs\nsysctl\n",
        "balancer/package-installs.json": '{"haproxy": null, "nano": {"uninstall": true}}\n',
        "balancer/post-install.d/20-network": "sysctl-write-value net.ipv4.ip_nonlocal_bind 1\n",
        "balancer/finalise.d/90-no-resolver": "rm -f /etc/resolv.conf\nln -s /run/resolv.conf /etc/resolv.conf\n",
    },
    inputs={"agent/run": "#!/bin/sh\n"},
    repositories=("agent",),
    variables={"DIB_REPOLOCATION_agent": "{inputs}/agent", "DIB_AGENT_PORT": "9000"},
    traces={
        "amphora-agent": (
            "opt/agent/run",
            "etc/agent/agent.conf ~ ^port = 9000$",
            "usr/lib/systemd/system/amphora-agent.service",
            "call ^systemctl enable amphora-agent$",
            "call ^apt-get .*install .*libffi-dev libssl-dev",
            "call ^apt-get .*install .* acl",
            "call ^apt-get .*install .*agent-compiler",
            "call ^apt-get .*remove .*agent-compiler",
            "no call agent-package",
            "etc/dib-source-repositories ~ /opt/agent-source",
        ),
        "balancer": (
            "call ^apt-get .*install .*haproxy",
            "call ^apt-get .*remove .*nano",
            "etc/sysctl.d/net.ipv4.ip_nonlocal_bind.conf ~ = 1",
            "link etc/resolv.conf /run/resolv.conf",
        ),
    },
)

RAMDISK: Final = WheelGroup(
    system=("os",),
    base="empty",
    files={
        **APT_OS,
        "agent-ramdisk/element-deps": "dib-init-system\nelement-manifest\ninstall-static\npackage-installs\n",
        "agent-ramdisk/environment.d/99-agent.bash": "export IPA_REMOVE_FIRMWARE=${IPA_REMOVE_FIRMWARE-x,y}\n",
        "agent-ramdisk/extra-data.d/15-keys": 'if [ -n "${DIB_AGENT_CERT:-}" ]; then\n'
        'sudo install -D -m 644 "$DIB_AGENT_CERT" "$TMP_MOUNT_PATH/etc/agent/cert.pem"\nfi\n',
        "agent-ramdisk/install.d/20-kernel": "echo kernel > /boot/vmlinuz-1\n: > /boot/initrd.img-1\n"
        "mkdir -p /lib/firmware/x /lib/firmware/y /lib/firmware/z\n",
        "agent-ramdisk/post-install.d/80-link-init": "ln -sf ./sbin/init /init\nsudo touch /etc/by-sudo\n",
        "agent-ramdisk/finalise.d/99-remove-extra": "for name in ${IPA_REMOVE_FIRMWARE//,/ }; do\n"
        'rm -rf "/lib/firmware/$name"\ndone\n',
        "agent-ramdisk/cleanup.d/99-ramdisk-create": 'here=$PWD\ncd "$TARGET_ROOT"\nsudo mknod dev/random c 1 8\n'
        "rm -f boot/initrd*\nsudo find . -xdev \\( -path ./proc -o -path ./sys \\) -prune -o -print "
        '| sudo cpio -o -H newc --quiet | gzip -1 > "$here/$IMAGE_NAME.initramfs"\n'
        'sudo cp boot/vmlinuz* "$here/$IMAGE_NAME.kernel"\n'
        'gzip -dc "$here/$IMAGE_NAME.initramfs" | cpio -t --quiet | sort | sed -n 1,20p > etc/in-ramdisk\n',
    },
    inputs={"cert.pem": "certificate\n"},
    variables={"DIB_AGENT_CERT": "{inputs}/cert.pem"},
    traces={
        "agent-ramdisk": (
            "etc/agent/cert.pem ~ certificate",
            "etc/by-sudo",
            "link init ./sbin/init",
            "usr/lib/firmware/z",
            "no usr/lib/firmware/x",
            "no boot/initrd.img-1",
            "etc/in-ramdisk ~ ^boot/vmlinuz-1$",
        ),
    },
)

SHARES: Final = WheelGroup(
    system=("os",),
    base="empty",
    files={
        **APT_OS,
        "share-user/element-deps": "install-static\n",
        "share-user/environment.d/20-user": "export SHARE_USER=${SHARE_USER:-shares}\n"
        "export SHARE_PASSWORD=${SHARE_PASSWORD:-shares}\n",
        "share-user/install.d/10-user": 'useradd --create-home --shell /bin/bash "$SHARE_USER"\n'
        'echo "$SHARE_USER:$SHARE_PASSWORD" | chpasswd\n'
        'echo "$SHARE_USER ALL=(ALL) NOPASSWD: ALL" > "/etc/sudoers.d/60-$SHARE_USER"\n'
        'chmod 0440 "/etc/sudoers.d/60-$SHARE_USER"\n',
        "share-nfs/element-deps": "share-user\npackage-installs\nsvc-map\n",
        "share-nfs/install.d/package-installs-share-nfs": "# the older form\nnfs-kernel-server\n-portmap\n",
        "share-nfs/post-install.d/50-exports": ": > /etc/exports\nsystemctl enable $(svc-map nfs)\n"
        "service nfs start || true\n",
        "share-nfs/svc-map": "nfs:\n  debian: nfs-kernel-server\n  redhat: nfs-server\n",
        "share-nfs/post-root.d/50-outside": 'sudo tee "$TMP_MOUNT_PATH/etc/outside" <<< "$IMAGE_NAME" > /dev/null\n',
    },
    variables={"SHARE_USER": "otter"},
    traces={
        "share-user": ("call ^useradd .* otter$", "etc/sudoers.d/60-otter ~ NOPASSWD"),
        "share-nfs": (
            "call ^apt-get .*install .*nfs-kernel-server portmap",
            "call ^apt-get .*remove .*portmap",
            "call ^systemctl enable nfs-kernel-server$",
            "etc/exports",
            "etc/outside",
        ),
    },
)

NODE: Final = WheelGroup(
    system=("os",),
    base="empty",
    files={
        **APT_OS,
        "cluster-node/element-deps": "install-static\npackage-installs\n",
        "cluster-node/environment.d/10-node.bash": "export NODE_VERSION=${NODE_VERSION:?set NODE_VERSION}\n"
        'export NODE_SERIES=$(echo "$NODE_VERSION" | cut -d. -f1-2)\n',
        "cluster-node/pre-install.d/10-archive": 'echo "deb https://packages.example.org/$NODE_SERIES /" '
        "> /etc/apt/sources.list.d/node.list\napt-get update\n",
        "cluster-node/package-installs.yaml": "kubelet:\n  phase: install.d\nconntrack:\n  phase: post-install.d\n",
        "cluster-node/install.d/60-binaries": "install -m 755 $(dirname $0)/../data/crictl /usr/local/bin/crictl\n",
        "cluster-node/data/crictl": "#!/bin/sh\n",
        "cluster-node/static/etc/modules-load.d/node.conf": "overlay\nbr_netfilter\n",
        "cluster-node/static/etc/sysctl.d/99-node.conf": "net.ipv4.ip_forward = 1\n",
        "cluster-node/post-install.d/60-node": "swapoff -a\nsystemctl daemon-reload\nsystemctl enable kubelet\n"
        "systemctl start kubelet || true\nsysctl --system\n",
        "cluster-node/finalise.d/80-clean": "rm -rf /var/lib/apt/lists/*\n: > /etc/machine-id\n",
    },
    variables={"NODE_VERSION": "1.34.2"},
    traces={
        "cluster-node": (
            "etc/apt/sources.list.d/node.list ~ packages.example.org/1.34 /",
            "call ^apt-get .*install .*kubelet",
            "call ^apt-get .*install .*conntrack",
            "call ^systemctl enable kubelet$",
            "usr/local/bin/crictl",
            "etc/modules-load.d/node.conf ~ br_netfilter",
        ),
    },
)

GROUPS: Final = {"amphora": AMPHORA, "ramdisk": RAMDISK, "shares": SHARES, "node": NODE}
