"""A Vault that another one unseals, on real servers: each on a path of its own, and what is mended in time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from harness import secret
from harness.clients.vault import Vault
from harness.rehearsal.seals import Seals
from harness.scenario.course import Serve, Start
from harness.secret import Secret
from harness.wait import until
from tests.lent import Lender
from tests.test_real_rollbacks import gone_back
from tests.test_seals import THERE_AND_BACK, scenario, with_shamir

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


def test_a_seal_is_migrated_there_and_back_beside_an_upgrade(
    tmp_path: Path, lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recovery keys make a root token. They unseal what was sealed while the other Vault is there, and never else."""
    begun, after, keys_of, seen = Seals.begun, Seals.after, dict[str, Sequence[Secret]](), list[str]()

    def set_up(seals: Seals, step: Start, keys: Sequence[Secret]) -> Sequence[Secret]:
        keys_of[step.vault] = keys
        return begun(seals, step, keys)

    def migrated(seals: Seals, step: Serve, keys: Sequence[Secret]) -> Sequence[Secret]:
        if step.seal == "transit":
            mine, other = (seals.rig.system(name).setup for name in ("vault", "seal-vault"))
            assert isinstance(mine, Vault)
            seen.append(mine.make_root(keys))
            other.seal()
            mine.seal()
            seen.append(unsealed(mine, keys))
            for key in keys_of["seal-vault"]:
                other.unseal(key)
            until(lambda: unsealed(mine, keys) == "", what="Vault to be unsealed by its recovery keys", seconds=20)
        return after(seals, step, keys)

    monkeypatch.setattr(Seals, "begun", set_up)
    monkeypatch.setattr(Seals, "after", migrated)
    file = with_shamir(tmp_path / "migrated.yaml", THERE_AND_BACK)
    judgement = gone_back(lender, file, tmp_path / f"migrated-{os.getpid()}")
    assert (judgement["verdict"], judgement["findings"], judgement["news"]) == ("pass", [], []), judgement["reasons"]
    assert seen[0] == ""
    assert "failed to decrypt encrypted stored keys" in seen[1]


def unsealed(vault: Vault, keys: Sequence[Secret]) -> str:
    """Hand in *keys* and return why they do not unseal a Vault, or nothing."""
    reply = vault.seal_status()
    for key in keys:
        if reply.ok and reply.data.get("sealed"):
            reply = vault.unseal(key)
    return reply.error if not reply.ok else "sealed" if reply.data.get("sealed") else ""


@pytest.mark.parametrize(
    ("steps", "cause"),
    [
        ("  - {restart: {}, seal: transit, left-out: migrate}\n", "seal-migration-not-told"),
        ("  - {upgrade: 1.9.2, seal: shamir, left-out: disabled}\n", "seal-not-disabled"),
    ],
)
def test_what_is_forgotten_of_a_migration_has_its_cause(steps: str, cause: str, tmp_path: Path, lender: Lender) -> None:
    """Done as its remedy says the same step is taken: see the test before."""
    file = (with_shamir if "restart" in steps else scenario)(tmp_path / "forgotten.yaml", steps)
    judgement = gone_back(lender, file, tmp_path / f"forgotten-{os.getpid()}")
    found = [(one["effect"], one["rule"], one["confidence"]) for one in judgement["findings"]]
    effect = "restart refused" if "restart" in steps else "upgrade refused"
    assert found == [(effect, cause, "certain")]
    assert judgement["exit_code"] == 1
