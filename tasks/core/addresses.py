"""Addresses of servers and databases, as they may be shown: without what is secret in them."""

from __future__ import annotations


def without_secret(address: str) -> str:
    """Return an address as it may be shown: without user, password and query, even where it is malformed."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address.rpartition("@")[2]
    if scheme.startswith(("sqlite", "file")):  # a path, which may well hold an @
        return address
    plain, query, told = rest.partition("?")
    if query and "@" in told:  # a ? in a password or an @ in a query: nobody can tell
        return f"{scheme}://..."
    return f"{scheme}://{plain.rpartition('@')[2]}"
