"""What becomes of a training whose other processes are gone; with all of them there: test_ranks.py."""

from __future__ import annotations

import pytest
import torch

from privsynth.errors import HoldError, RanksError
from privsynth.privacy.dpsgd.between import added_up, answered, from_first


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4711", "has ended"),
        ("Timed out waiting 2000ms for recv operation to complete", "in time"),
        ("wait timeout after 1000ms, keys: /default_pg/0//0", "in time"),
    ],
)
def test_a_process_that_is_gone_is_an_error_of_ours_without_its_text(said: str, told: str) -> None:
    with pytest.raises(RanksError, match=told) as found, answered():
        raise RuntimeError(said)
    assert said not in str(found.value)
    assert found.value.exit_code == 2
    assert found.value.__cause__ is None


def test_other_errors_pass() -> None:
    for fault in (HoldError("opened before"), KeyboardInterrupt()):
        with pytest.raises(type(fault)), answered():
            raise fault


def test_one_process_asks_nobody() -> None:
    total = torch.arange(3)
    assert added_up(total, None) is total
    assert from_first(total, None) is total
