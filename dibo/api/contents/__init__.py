"""What is in images, for commands: `dibo inspect`, `dibo diff`, `dibo report`."""
