"""dibo builds disk images and ramdisks from flavours, as layers of an OCI container build."""

__version__ = "0.1.0"
