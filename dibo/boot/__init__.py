"""What a root boots with: kernels and their initramfs, boot loaders, and the files that these read.

    find            what a tree has: kernels, unified kernel images, GRUB, shim, systemd-boot, stubs (parts, kernels)
    keep            the files whose bytes a tree must be loaded with for that
    boot_files      what dibo's flavours prepared in a root; bootable reads it
    prepare_root    what goes into a root and onto its EFI system partition, made of the parts

No program of the root is executed. Others use `find.find_boot_parts`, `keep.is_wanted`,
`boot_files` and `prepare_root.PreparedRoot`.
"""
