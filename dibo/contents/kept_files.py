"""Which files of an image an inventory reads: databases of packages and users, copyright notices, units,
what the boot loader says."""

from __future__ import annotations

import re
from typing import Final

from dibo.boot.keep import is_text

MOST_BYTES: Final = 16 << 20
"""Of one such file; larger ones are not read, and a note says so."""
_FILES: Final = frozenset(
    (
        b"etc/passwd",
        b"etc/group",
        b"etc/shadow",
        b"etc/fstab",
        b"lib/apk/db/installed",
        b"usr/lib/apk/db/installed",
        b"etc/apk/arch",
        b"var/lib/dpkg/status",
        b"var/lib/dpkg/diversions",
        b"boot/grub2/grub.cfg",
        b"boot/grub/grubenv",
        b"boot/grub2/grubenv",
    )
)
_PATTERN: Final = re.compile(
    rb"var/lib/dpkg/(?:info/[^/]+\.list|status\.d/[^/]+)"
    rb"|(?:usr/)?lib/systemd/system(?:-preset)?/.+"
    rb"|etc/systemd/system(?:-preset)?/.+"
    rb"|usr/share/doc/[^/]+/copyright"
)
_LISTENERS: Final = re.compile(
    rb"etc/ssh/sshd_config(?:\.d/[^/]+)?"
    rb"|etc/(?:nginx|apache2|httpd|lighttpd|caddy|haproxy|mysql|my\.cnf\.d|postgresql|redis|valkey|rabbitmq|dnsmasq\.d"
    rb"|unbound|chrony|postfix|dovecot|cups|snmp|grafana|zabbix|systemd/resolved\.conf\.d)/.+"
    rb"|etc/(?:my\.cnf|redis\.conf|memcached\.conf|mongod\.conf|mongodb\.conf|dnsmasq\.conf|chrony\.conf|vsftpd\.conf)"
    rb"|etc/systemd/resolved\.conf|etc/default/(?:dropbear|slapd)|var/lib/pgsql/data/postgresql\.conf"
)
"""Configuration that says what services listen on: all that dibo.reports.known_services names."""


def is_read(path: bytes) -> bool:
    """Whether the bytes of the file at `path`, without its first slash, are needed."""
    if path in _FILES or _PATTERN.fullmatch(path) is not None or is_text(path):
        return True
    return _LISTENERS.fullmatch(path) is not None
