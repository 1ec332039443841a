"""A Vault that another one unseals, on real servers: each on a path of its own, and what is mended in time."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from harness import secret
from harness.clients.vault import Vault
from harness.secret import Secret
from tests.lent import Lender
from tests.test_real_rollbacks import gone_back
from tests.test_seals import scenario

pytestmark = pytest.mark.real

MENDED = """\
  - upgrade: 1.8.0                       # the one that is unsealed first,
  - upgrade: 1.11.0                      # then the one that unseals,
    vault: seal-vault
  - upgrade: 1.9.2                       # and the other one again
  - seal-vault: seal
  - seal-vault: unseal
  - seal-vault: stop
    then-look: false
  - seal-vault: start
    then-look: false
  - seal-vault: end-token
  - seal-vault: new-token
  - restart: {}
"""


def test_both_orders_open_and_what_is_mended_before_the_next_start_hurts_nobody(
    tmp_path: Path, lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token of the seal is in the server's environment, and nowhere else."""
    tokens: list[Secret] = []
    seen: set[str] = set()
    made = Vault.make_seal_token

    def kept(self: Vault) -> Secret:
        seen.update(word for one in psutil.process_iter() for word in _words(one))
        tokens.append(made(self))
        return tokens[-1]

    monkeypatch.setattr(Vault, "make_seal_token", kept)
    file = scenario(tmp_path / "mended.yaml", MENDED)
    directory = tmp_path / f"mended-{os.getpid()}"
    judgement = gone_back(lender, file, directory)
    found = [(one["kind"], one["effect"], one["rule"], one["step"]) for one in judgement["findings"]]
    assert found == [
        ("latent", "auto-unseal lost", "seal-vault-sealed", 4),
        ("latent", "auto-unseal lost", "seal-token-refused", 8),
        ("improvement", "auto-unseal works", "changed-by-step", 5),
        ("improvement", "auto-unseal works", "changed-by-step", 9),
    ], judgement["reasons"]
    assert (judgement["verdict"], judgement["exit_code"], judgement["news"]) == ("pass", 0, [])
    assert judgement["versions"]["vaults"] == {"seal-vault": ["1.8.0", "1.11.0"], "vault": ["1.7.0", "1.8.0", "1.9.2"]}

    assert len(tokens) == 2
    written = "".join(one.read_text(errors="replace") for one in directory.rglob("*") if one.is_file())
    for token in tokens:
        assert token.reveal() not in written + "".join(seen)
        assert secret.redact(token.reveal()) != token.reveal()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_one_that_is_away_when_the_other_starts_ends_that_at_once(tmp_path: Path, lender: Lender) -> None:
    steps = "  - seal-vault: stop\n    then-look: false\n  - upgrade: 1.9.2\n"
    judgement = gone_back(lender, scenario(tmp_path / "away.yaml", steps), tmp_path / f"away-{os.getpid()}")
    (finding,) = judgement["findings"]
    assert (finding["effect"], finding["rule"], finding["confidence"]) == (
        "upgrade refused",
        "seal-vault-away",
        "certain",
    )
    assert "rror parsing Seal configuration" in " ".join(line["text"] for line in finding["evidence"])
    assert judgement["exit_code"] == 1
