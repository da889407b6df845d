"""Disk images of other hypervisors: VHD (Azure, Hyper-V), VDI (VirtualBox), VMDK (VMware), written without their tools.

`vhd.Vhd` and `vdi.Vdi` are Targets: written while a disk is laid out. `vmdk.write_vmdk` takes a finished disk and
writes it from front to back, as appliances need it. All give the same bytes for the same disk and identity.
"""
