"""Kernels as virtual machine monitors load them: what a bzImage or an EFI zboot image holds, decompressed.

`image.uncompressed` is the door; `lz4` and `lzo` decompress what Python has no library for. Every size is bounded,
since a kernel of an image is input of unknown origin. Raises KernelImageError.
"""
