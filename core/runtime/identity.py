"""Who a visitor is, and who may read one run's event stream.

A visitor's token is 128 random bits and a short mark of ours, so that only tokens made here are valid. A ticket lets
its bearer read one run until it expires; it needs no storage and survives a restart. Both hang on one secret file in
BENCHTOP_HOME, which only this account can read; each use has a key of its own derived from it. Nothing here says what a
visitor owns: that is ``runs``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

TICKET_SECONDS = 24 * 3600.0
_SECRET_BYTES = 32
_RANDOM_BYTES = 16
_MARK_BYTES = 8
_TICKET = re.compile(r"([0-9]{1,12})\.([0-9a-f]{32})")


class Identity:
    """Tokens and tickets made with the secret of ``home``; processes that share the folder share them."""

    def __init__(self, home: Path, now: Callable[[], float] = time.time) -> None:
        self._secret = _secret(home)
        self._now = now

    @property
    def browser_secret(self) -> str:
        """What ``gr.BrowserState`` encrypts with: the same after a restart, and of no use for anything else."""
        return self._key("browser").hex()[:32]

    def new_visitor(self) -> str:
        """A new visitor's token: URL-safe characters, unguessable, valid for this home."""
        random = secrets.token_bytes(_RANDOM_BYTES)
        return base64.urlsafe_b64encode(random + self._mark(random)).decode()

    def valid(self, token: object) -> bool:
        """Whether ``token`` was made here. Takes anything that a browser or a caller may send."""
        if not isinstance(token, str) or not token.isascii() or len(token) != 4 * (_RANDOM_BYTES + _MARK_BYTES) // 3:
            return False
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
        except binascii.Error:
            return False
        return hmac.compare_digest(self._mark(raw[:_RANDOM_BYTES]), raw[_RANDOM_BYTES:])

    def ticket(self, run_id: str, expires: float | None = None) -> str:
        """Leave to read the events of ``run_id`` until ``expires`` (unix seconds; 24 hours from now when not given)."""
        until = int(self._now() + TICKET_SECONDS if expires is None else expires)
        return f"{until}.{self._ticket_mark(run_id, until)}"

    def check_ticket(self, run_id: str, ticket: str) -> bool:
        """Whether ``ticket`` was made for this run and hasn't expired. Never raises on what a stranger sends."""
        parts = _TICKET.fullmatch(ticket)
        if parts is None:
            return False
        until = int(parts[1])
        return hmac.compare_digest(self._ticket_mark(run_id, until), parts[2]) and self._now() < until

    def _key(self, use: str) -> bytes:
        return hmac.digest(self._secret, use.encode(), hashlib.sha256)

    def _mark(self, random: bytes) -> bytes:
        return hmac.digest(self._key("visitor"), random, hashlib.sha256)[:_MARK_BYTES]

    def _ticket_mark(self, run_id: str, until: int) -> str:
        message = f"{until}.{run_id}".encode("utf-8", "replace")
        return hmac.digest(self._key("ticket"), message, hashlib.sha256).hex()[:32]


def _secret(home: Path) -> bytes:
    """The secret of ``home``, made on first use; several processes starting at once agree on one."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / "secret"
    with FileLock(home / "secret.lock"):
        if path.exists():
            path.chmod(0o600)  # it may have been copied from a backup with wider permissions
            secret = path.read_bytes()
            if len(secret) == _SECRET_BYTES:
                return secret
            path.unlink()  # torn by a crash or a full disk: nothing can have been made with it
        secret = secrets.token_bytes(_SECRET_BYTES)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
        return secret
