"""The descriptor of an appliance: which disk a machine has, and what else. DMTF DSP0243, Open Virtualization Format
1.1.

For VMware, VirtualBox and virt-v2v alike: a SCSI controller of LSI Logic, one disk, one E1000. Elements of an Item
come in the order of the CIM schema, which is that of their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dibo.disk.built_in.job import number_option

CPUS: Final = "DIBO_OVA_CPUS"
MEMORY: Final = "DIBO_OVA_MEMORY"
_FORMAT: Final = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
_CIM: Final = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2"
_OVF: Final = "http://schemas.dmtf.org/ovf/envelope/1"
_LINUX_64: Final = 101
"""CIM_OperatingSystem.OSType: "Linux 64-Bit"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appliance:
    """A machine with one disk. `size` in bytes, `memory` in MiB."""

    name: str
    disk: str
    """Name of the vmdk beside the descriptor."""
    size: int
    cpus: int
    memory: int
    is_efi_only: bool
    """Whether the disk does not boot by BIOS."""


def check_options(options: Mapping[str, str]) -> None:
    """Raises UsageError for an invalid variable."""
    _cpus(options)
    _memory(options)


def _cpus(options: Mapping[str, str]) -> int:
    return number_option(options, CPUS, default=2, largest=128)


def _memory(options: Mapping[str, str]) -> int:
    return number_option(options, MEMORY, default=2048, largest=1 << 20)


def appliance(name: str, disk: str, *, size: int, options: Mapping[str, str], is_efi_only: bool) -> Appliance:
    """Raises UsageError for a variable that is no number."""
    return Appliance(
        name=name,
        disk=disk,
        size=size,
        cpus=_cpus(options),
        memory=_memory(options),
        is_efi_only=is_efi_only,
    )


def descriptor(machine: Appliance, *, disk_bytes: int) -> str:
    """The OVF; `disk_bytes` is the size of the vmdk."""
    from xml.sax.saxutils import quoteattr  # which imports clients of HTTP

    name, disk = quoteattr(machine.name), quoteattr(machine.disk)
    firmware = (
        '\n      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>'
        if machine.is_efi_only
        else ""
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="{_OVF}" xmlns:ovf="{_OVF}" xmlns:rasd="{_CIM}/CIM_ResourceAllocationSettingData" \
xmlns:vssd="{_CIM}/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:id="file1" ovf:href={disk} ovf:size="{disk_bytes}"/>
  </References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="{machine.size}" ovf:format="{_FORMAT}"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="VM Network">
      <Description>The network of the machine</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id={name}>
    <Info>A virtual machine</Info>
    <Name>{name[1:-1]}</Name>
    <OperatingSystemSection ovf:id="{_LINUX_64}" vmw:osType="otherLinux64Guest">
      <Info>The operating system</Info>
      <Description>Linux 64-Bit</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>The hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name[1:-1]}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType>
      </System>
{_hardware(machine)}{firmware}
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""


def _hardware(machine: Appliance) -> str:
    items: tuple[dict[str, object], ...] = (
        {
            "AllocationUnits": "hertz * 10^6",
            "ElementName": f"{machine.cpus} virtual CPUs",
            "InstanceID": 1,
            "ResourceType": 3,
            "VirtualQuantity": machine.cpus,
        },
        {
            "AllocationUnits": "byte * 2^20",
            "ElementName": f"{machine.memory} MB of memory",
            "InstanceID": 2,
            "ResourceType": 4,
            "VirtualQuantity": machine.memory,
        },
        {
            "Address": 0,
            "ElementName": "SCSI controller 0",
            "InstanceID": 3,
            "ResourceSubType": "lsilogic",
            "ResourceType": 6,
        },
        {
            "AddressOnParent": 0,
            "ElementName": "Hard disk 1",
            "HostResource": "ovf:/disk/disk1",
            "InstanceID": 4,
            "Parent": 3,
            "ResourceType": 17,
        },
        {
            "AddressOnParent": 7,
            "AutomaticAllocation": "true",
            "Connection": "VM Network",
            "ElementName": "Network adapter 1",
            "InstanceID": 5,
            "ResourceSubType": "E1000",
            "ResourceType": 10,
        },
    )
    return "\n".join(
        "\n".join(
            (
                "      <Item>",
                *(f"        <rasd:{key}>{value}</rasd:{key}>" for key, value in item.items()),
                "      </Item>",
            )
        )
        for item in items
    )
