"""Addresses: which are usable, and how one is told without a password."""

from __future__ import annotations

import pytest

from privsynth.ledger.address import UNSHOWN, is_ledger, shown, without_secrets

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (f"https://u:{SECRET}@w.example:8443/w", "https://w.example:8443"),
        (f"http://[::1]:80/w?token={SECRET}", "http://[::1]:80"),
        (f"https://w.example/{SECRET}", "https://w.example"),
        (f"https://u:1234/{SECRET}@w.example/w", "https://w.example"),
        (f"https://u:1234?{SECRET}@w.example/w", UNSHOWN),
        (f"https://u:{SECRET}#@w.example/w", UNSHOWN),
        (f"https://u:{SECRET}/w", UNSHOWN),
        (f"https://[{SECRET}/w", UNSHOWN),
        ("https:///w", UNSHOWN),
        (f"cmd:/opt/bin/ask --token {SECRET}", "ask"),
        (f"cmd:'/opt/my own/ask' {SECRET}", "ask"),
        (f"cmd:TOKEN={SECRET} ask", UNSHOWN),
        (f"cmd:'{SECRET}", UNSHOWN),
        ("cmd:", UNSHOWN),
        ("file:/srv/w", "/srv/w"),
        (f"postgresql://u:{SECRET}@h:1/x?sslpassword={SECRET}", "postgresql://h:1/x"),
        (f"postgresql://u:a@{SECRET}@h:1/x", "postgresql://h:1/x"),
        (f"postgres://u:{SECRET}/x@h,i:1,2/x", "postgres://h,i:1,2/x"),
        (f"postgresql://u:1?{SECRET}@h/x", UNSHOWN),
        (f"mysql://u:{SECRET}@h/x", UNSHOWN),
        (f"host=h password={SECRET}", UNSHOWN),
        ("", UNSHOWN),
    ],
)
def test_an_address_is_told_without_what_may_be_a_password(address: str, told: str) -> None:
    assert shown(address) == told


def test_a_ledger_s_address() -> None:
    for url in ("sqlite:///l.db", "sqlite:////srv/what?/l.db", "postgresql://h/x", "postgres://h/x?sslmode=require"):
        assert is_ledger(url)
    refused: list[object] = [
        *("", "l.db", "sqlite://l.db", "sqlite:///", "sqlite:///l.db?mode=ro", "POSTGRESQL://h/x", "mysql://h/x"),
        *("postgresql://", " postgresql://h/x", "postgresql://h/x\n", "sqlite:///\0", "sqlite:///\udc80", 7, None),
    ]
    assert not any(map(is_ledger, refused))


def test_a_message_keeps_no_secret_of_an_address_that_stood_elsewhere() -> None:
    for text in (
        f"postgresql:/u:{SECRET}@h/x",
        f"https://u:a@{SECRET}@h",
        f"host=h password={SECRET}",
        f"?token={SECRET}&a",
    ):
        assert SECRET not in without_secrets(f"no such file {text} (2)")
    for text in ("a.b@c.example", "policy.yaml:7", "https://w.example/x: 302", "sqlite:///l.db"):
        assert without_secrets(text) == text
