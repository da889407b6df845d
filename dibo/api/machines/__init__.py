"""The functions behind `dibo boot` and `dibo ssh`."""
