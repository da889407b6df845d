"""Requests to OCI registries (OCI distribution specification 1.1).

`api` has a function for each request and is what others use. `client` sends them, retries and redirects included;
`login` and `credentials` find and use logins as docker and podman do; `answer` reads bodies in bounded memory.
"""
