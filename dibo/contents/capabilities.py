"""Capabilities of files, out of the attribute security.capability: capabilities(7), <linux/capability.h>.

u32 magic_etc      revision in the highest byte: 2, or 3 with the root of a user namespace
u32 permitted, u32 inheritable      of capabilities 0 to 31
u32 permitted, u32 inheritable      of capabilities 32 to 63
u32 rootid                          of revision 3 alone
"""

from __future__ import annotations

import struct
from typing import Final

ATTRIBUTE: Final = b"security.capability"
_REVISIONS: Final = {1: 12, 2: 20, 3: 24}
"""Bytes of each revision."""
_WORDS: Final = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct "
    "sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap "
    "mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
_NAMES: Final = tuple(_WORDS.split())


def capability_names(value: bytes) -> tuple[str, ...]:
    """Names such as `cap_net_raw`, of what the file may get; `unknown` for an attribute that is no such thing."""
    revision = value[3] if len(value) >= 4 else 0
    if _REVISIONS.get(revision) != len(value):
        return ("unknown",)
    words = struct.unpack(f"<{len(value) // 4}I", value)
    permitted = words[1] | (words[3] << 32 if revision > 1 else 0)
    return tuple(
        f"cap_{_NAMES[bit]}" if bit < len(_NAMES) else f"cap_{bit}"
        for bit in range(64)
        if permitted >> bit & 1
    )
