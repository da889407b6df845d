"""The engine `docker`: a daemon, on this machine or another, through its API."""
