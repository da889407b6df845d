"""What `dibo boot-server` thinks: who the machines are, what they say, what is written to their disks."""
