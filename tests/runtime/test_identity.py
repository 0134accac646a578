import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.runtime.identity import TICKET_SECONDS, Identity
from tests.fakes import FakeClock


def test_tokens_are_valid_here_and_nowhere_else(tmp_path: Path) -> None:
    here, there = Identity(tmp_path / "a"), Identity(tmp_path / "b")
    tokens = {here.new_visitor() for _ in range(100)}
    assert len(tokens) == 100
    assert all(here.valid(token) for token in tokens)
    assert not any(there.valid(token) for token in tokens)


def test_tokens_and_tickets_survive_a_restart(tmp_path: Path) -> None:
    before = Identity(tmp_path)
    token, ticket = before.new_visitor(), before.ticket("run")
    after = Identity(tmp_path)
    assert after.valid(token)
    assert after.check_ticket("run", ticket)
    assert after.browser_secret == before.browser_secret


@pytest.mark.parametrize(
    "junk", ["", "a", "a" * 32, "é" * 32, "=" * 32, "\ud800" * 32, " " * 32, None, 7, b"a" * 32, ["x"]]
)
def test_junk_is_no_token(tmp_path: Path, junk: object) -> None:
    assert not Identity(tmp_path).valid(junk)


def test_a_changed_token_is_no_token(tmp_path: Path) -> None:
    identity = Identity(tmp_path)
    token = identity.new_visitor()
    for place in range(len(token)):
        other = "A" if token[place] != "A" else "B"
        assert not identity.valid(token[:place] + other + token[place + 1 :])
    assert not identity.valid(token + "A")


def test_the_secret_is_for_this_account_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    Identity(home)
    secret = home / "secret"
    if os.name == "posix":
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        secret.chmod(0o644)
        Identity(home)
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_nothing_given_out_holds_the_secret(tmp_path: Path) -> None:
    identity = Identity(tmp_path)
    secret = (tmp_path / "secret").read_bytes().hex()
    assert secret[:16] not in identity.browser_secret + identity.ticket("x")


def test_a_torn_secret_is_made_anew(tmp_path: Path) -> None:
    Identity(tmp_path)
    (tmp_path / "secret").write_bytes(b"half")
    identity = Identity(tmp_path)
    assert identity.valid(identity.new_visitor())
    assert len((tmp_path / "secret").read_bytes()) == 32


def test_many_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        identities = list(threads.map(lambda _: Identity(tmp_path / "home"), range(8)))
    token = identities[0].new_visitor()
    assert all(identity.valid(token) for identity in identities)


def test_a_ticket_opens_one_run_until_it_expires(tmp_path: Path) -> None:
    clock = FakeClock()
    identity = Identity(tmp_path, now=clock)
    ticket = identity.ticket("0123456789abcdef")
    assert identity.check_ticket("0123456789abcdef", ticket)
    assert not identity.check_ticket("0123456789abcdee", ticket)
    clock.advance(TICKET_SECONDS - 1)
    assert identity.check_ticket("0123456789abcdef", ticket)
    clock.advance(2)
    assert not identity.check_ticket("0123456789abcdef", ticket)


def test_a_tickets_time_cannot_be_changed(tmp_path: Path) -> None:
    clock = FakeClock()
    identity = Identity(tmp_path, now=clock)
    until, mark = identity.ticket("run", clock() + 10).split(".")
    assert identity.check_ticket("run", f"{until}.{mark}")
    assert not identity.check_ticket("run", f"{int(until) + 1}.{mark}")
    assert not Identity(tmp_path / "other", now=clock).check_ticket("run", f"{until}.{mark}")


@pytest.mark.parametrize(
    "junk", ["", ".", "1", "1.", "a.b", "9" * 400 + "." + "0" * 32, "1." + "é" * 32, "\ud800.x", "٣.x"]
)
def test_junk_is_no_ticket(tmp_path: Path, junk: str) -> None:
    identity = Identity(tmp_path)
    assert not identity.check_ticket("run", junk)
    assert not identity.check_ticket("\ud800", identity.ticket("run"))
