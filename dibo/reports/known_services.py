"""Where well-known services say what they listen on: the one table of dibo.reports.ports.

A new service is a line here. Files are those that packages of distributions have; patterns match one line, without
comments, and their first group is what `ports.parse_address` reads: a port, an address with one, a path.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownService:
    """`units` are names of its services without `.service`; `files` are globs of paths without the first slash.
    `default` are ports that it listens on where no file names one, `address` where it listens by default; empty: on
    all addresses."""

    units: tuple[str, ...]
    files: tuple[str, ...] = ()
    port: re.Pattern[str] | None = None
    bind: re.Pattern[str] | None = None
    """What gives the address, in services that have it in a line of its own."""
    default: tuple[int, ...] = ()
    address: str = ""
    protocol: str = "tcp"
    off: re.Pattern[str] | None = None
    """A line that says it listens on no port."""


def _line(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\s*{pattern}", re.IGNORECASE)


_EQUALS: Final = r"\s*=\s*[\"']?"

KNOWN: Final[Sequence[KnownService]] = (
    KnownService(
        units=("ssh", "sshd"),
        files=("etc/ssh/sshd_config.d/*.conf", "etc/ssh/sshd_config"),
        port=_line(r"port[\s=]+(\d+)"),
        bind=_line(r"listenaddress[\s=]+(\S+)"),
        default=(22,),
    ),
    KnownService(
        units=("dropbear",),
        files=("etc/default/dropbear",),
        port=_line(r"DROPBEAR_PORT=\"?(\d+)"),
        default=(22,),
    ),
    KnownService(
        units=("nginx",),
        files=(
            "etc/nginx/nginx.conf",
            "etc/nginx/conf.d/*.conf",
            "etc/nginx/sites-enabled/*",
            "etc/nginx/http.d/*",
        ),
        port=_line(r"listen\s+([^\s;]+)"),
    ),
    KnownService(
        units=("apache2", "httpd"),
        files=(
            "etc/apache2/ports.conf",
            "etc/apache2/apache2.conf",
            "etc/apache2/sites-enabled/*",
            "etc/apache2/conf-enabled/*",
            "etc/httpd/conf/httpd.conf",
            "etc/httpd/conf.d/*.conf",
        ),
        port=_line(r"listen\s+(\S+)"),
    ),
    KnownService(
        units=("lighttpd",),
        files=("etc/lighttpd/lighttpd.conf", "etc/lighttpd/conf-enabled/*.conf"),
        port=_line(rf"server\.port{_EQUALS}(\d+)"),
        bind=_line(rf"server\.bind{_EQUALS}([^\"'\s]+)"),
        default=(80,),
    ),
    KnownService(
        units=("caddy",), files=("etc/caddy/Caddyfile",), port=_line(r"(:\d+)\s*\{"), default=(443, 80)
    ),
    KnownService(
        units=("haproxy",),
        files=("etc/haproxy/haproxy.cfg", "etc/haproxy/conf.d/*.cfg"),
        port=_line(r"bind\s+(\S+)"),
    ),
    KnownService(
        units=("mysql", "mariadb", "mysqld"),
        files=("etc/mysql/my.cnf", "etc/mysql/*.cnf", "etc/my.cnf", "etc/my.cnf.d/*.cnf"),
        port=_line(rf"port{_EQUALS}(\d+)"),
        bind=_line(rf"bind[-_]address{_EQUALS}([^\"'\s]+)"),
        default=(3306,),
        off=_line(r"skip[-_]networking\b(?!\s*=\s*(?:0|off))"),
    ),
    KnownService(
        units=("postgresql@", "postgresql"),
        files=("etc/postgresql/*/*/postgresql.conf", "var/lib/pgsql/data/postgresql.conf"),
        port=_line(rf"port{_EQUALS}(\d+)"),
        bind=_line(rf"listen_addresses{_EQUALS}([^\"']+)"),
        default=(5432,),
        address="localhost",
    ),
    KnownService(
        units=("redis-server", "redis", "valkey-server", "valkey"),
        files=("etc/redis/redis.conf", "etc/redis.conf", "etc/valkey/valkey.conf"),
        port=_line(r"port\s+(\d+)"),
        bind=_line(r"bind\s+(\S.*)"),
        default=(6379,),
    ),
    KnownService(
        units=("memcached",),
        files=("etc/memcached.conf",),
        port=_line(r"-p\s*(\d+)"),
        bind=_line(r"-l\s*(\S+)"),
        default=(11211,),
    ),
    KnownService(
        units=("mongod", "mongodb"),
        files=("etc/mongod.conf", "etc/mongodb.conf"),
        port=_line(r"port\s*[:=]\s*(\d+)"),
        bind=_line(r"bind_?ip\s*[:=]\s*(\S+)"),
        default=(27017,),
        address="localhost",
    ),
    KnownService(
        units=("rabbitmq-server",),
        files=("etc/rabbitmq/rabbitmq.conf",),
        port=_line(rf"listeners\.tcp\.\w+{_EQUALS}(\S+)"),
        default=(5672,),
    ),
    KnownService(units=("named", "bind9"), default=(53,), protocol="tcp+udp"),
    KnownService(
        units=("dnsmasq",),
        files=("etc/dnsmasq.conf", "etc/dnsmasq.d/*"),
        port=_line(r"port\s*=\s*(\d+)"),
        bind=_line(r"listen-address\s*=\s*(\S+)"),
        default=(53,),
        protocol="tcp+udp",
    ),
    KnownService(
        units=("unbound",),
        files=("etc/unbound/unbound.conf", "etc/unbound/unbound.conf.d/*.conf"),
        port=_line(r"port:\s*(\d+)"),
        bind=_line(r"interface:\s*(\S+)"),
        default=(53,),
        address="localhost",
        protocol="tcp+udp",
    ),
    KnownService(
        units=("systemd-resolved",),
        files=("etc/systemd/resolved.conf", "etc/systemd/resolved.conf.d/*.conf"),
        default=(53,),
        address="127.0.0.53",
        protocol="tcp+udp",
        off=_line(r"DNSStubListener\s*=\s*(?:no|false|0|off)\b"),
    ),
    KnownService(
        units=("chrony", "chronyd"),
        files=("etc/chrony/chrony.conf", "etc/chrony.conf"),
        port=_line(r"cmdport\s+(\d+)"),
        default=(323,),
        address="localhost",
        protocol="udp",
    ),
    KnownService(units=("ntp", "ntpd", "ntpsec"), default=(123,), protocol="udp"),
    KnownService(units=("avahi-daemon",), default=(5353,), protocol="udp"),
    KnownService(units=("exim4", "exim"), default=(25,), address="localhost"),
    KnownService(
        units=("postfix", "postfix@"),
        files=("etc/postfix/master.cf",),
        port=_line(r"(smtps?|submissions?|\d+)\s+inet\b"),
    ),
    KnownService(
        units=("dovecot",),
        files=("etc/dovecot/dovecot.conf", "etc/dovecot/conf.d/*.conf"),
        port=_line(r"port\s*=\s*(\d+)"),
    ),
    KnownService(
        units=("vsftpd",), files=("etc/vsftpd.conf",), port=_line(r"listen_port=(\d+)"), default=(21,)
    ),
    KnownService(
        units=("cups",),
        files=("etc/cups/cupsd.conf",),
        port=_line(r"(?:listen|port)\s+(\S+)"),
        default=(631,),
    ),
    KnownService(units=("smbd",), default=(445, 139)),
    KnownService(units=("nfs-server",), default=(2049,)),
    KnownService(units=("rpcbind",), default=(111,), protocol="tcp+udp"),
    KnownService(
        units=("snmpd",),
        files=("etc/snmp/snmpd.conf",),
        port=_line(r"agentaddress\s+(\S+)"),
        default=(161,),
        protocol="udp",
    ),
    KnownService(units=("prometheus-node-exporter", "node_exporter", "node-exporter"), default=(9100,)),
    KnownService(units=("prometheus",), default=(9090,)),
    KnownService(
        units=("grafana-server",),
        files=("etc/grafana/grafana.ini",),
        port=_line(r"http_port\s*=\s*(\d+)"),
        default=(3000,),
    ),
    KnownService(units=("tomcat9", "tomcat10", "tomcat"), default=(8080,)),
    KnownService(units=("influxdb",), default=(8086,)),
    KnownService(units=("etcd",), default=(2379, 2380), address="localhost"),
    KnownService(units=("kubelet",), default=(10250,)),
    KnownService(units=("cockpit",), default=(9090,)),
    KnownService(
        units=("zabbix-agent", "zabbix-agent2"),
        files=("etc/zabbix/zabbix_agentd.conf", "etc/zabbix/zabbix_agent2.conf"),
        port=_line(r"listenport\s*=\s*(\d+)"),
        default=(10050,),
    ),
    KnownService(
        units=("slapd",),
        files=("etc/default/slapd",),
        port=_line(r"SLAPD_SERVICES=.*?(ldaps?://\S*)"),
        default=(389,),
    ),
    KnownService(units=("tgt", "tgtd", "iscsid-target"), default=(3260,)),
)
