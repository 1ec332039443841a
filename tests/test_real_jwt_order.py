"""Of two things that are wrong with a login at a JWT mount, real Vaults name the one that comes first in `jwt_auth`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from harness import wait
from harness.host import pki
from harness.knowledge import jwt_auth
from harness.knowledge.jwt_auth import Refusal
from tests import bare_vault
from tests.bare_vault import BareVault
from tests.versions_at_hand import further

pytestmark = pytest.mark.real

HOUR = 3600
CAN_BE_WRONG: tuple[Refusal, ...] = (
    "unknown role", "address", "signature", "no times", "expired", "issuer", "subject", "audience",
    "no audiences bound", "no user claim",
)  # fmt: skip
NEVER_BOTH = ({"no times", "expired"}, {"audience", "no audiences bound"})


class Mount:
    """A JWT mount with one key, and whom it is asked to let in."""

    def __init__(self, vault: BareVault, directory: Path) -> None:
        self._vault = vault
        folders = [directory / name for name in ("ours", "other")]
        for folder in folders:
            folder.mkdir()
        self._signers = [pki.TokenSigner(folder) for folder in folders]
        self._write("sys/auth/jwt", {"type": "jwt"})
        key = self._signers[0].public.read_text()
        self._write("auth/jwt/config", {"jwt_validation_pubkeys": [key], "bound_issuer": "https://right"})

    def _write(self, path: str, body: dict[str, Any]) -> None:
        status, answer = self._vault.ask("POST", path, body)
        assert status < 300, answer

    def login(self, wrong: set[Refusal]) -> tuple[int, str]:
        """Return how a login is answered of which just that is wrong."""
        role = {
            "role_type": "jwt",
            "user_claim": "nothing" if "no user claim" in wrong else "sub",
            "bound_subject": "other" if "subject" in wrong else "web",
            "bound_audiences": [] if "no audiences bound" in wrong else ["vault"],
            "token_bound_cidrs": "10.0.0.0/8" if "address" in wrong else "",
        }
        self._write("auth/jwt/role/web", role)
        now = int(wait.now())
        claims: dict[str, Any] = {
            "iss": "https://wrong" if "issuer" in wrong else "https://right",
            "sub": "web",
            "aud": ["other" if "audience" in wrong else "vault"],
        }
        if "no times" not in wrong:
            ends = now + (-HOUR if "expired" in wrong else HOUR)
            claims |= {"iat": now - 2 * HOUR, "nbf": now - 2 * HOUR, "exp": ends}
        jwt = self._signers["signature" in wrong].sign(claims).reveal()
        asked = {"role": "nobody" if "unknown role" in wrong else "web", "jwt": jwt}
        status, answer = self._vault.ask("POST", "auth/jwt/login", asked)
        return status, " ".join(answer.get("errors") or ["granted"])


@pytest.mark.parametrize(
    "version",
    ["1.4.0", "1.7.0", "1.11.0", *(pytest.param(one, marks=further(f"vault:{one}")) for one in ("1.3.0", "1.16.3"))],
)
def test_of_two_that_fail_the_first_is_answered(version: str, tmp_path: Path) -> None:
    """Every pair of checks that can fail together."""
    with bare_vault.running(version, tmp_path) as vault:
        mount = Mount(vault, tmp_path)
        assert mount.login(set()) == (200, "granted")
        alone = {check: mount.login({check}) for check in CAN_BE_WRONG}
        for check, (status, words) in alone.items():
            known, text = jwt_auth.answer(check, version, {"unknown role": "nobody"}.get(check, "nothing"))
            assert status == known, (check, words)
            assert text in words, check
        order = jwt_auth.order(version)
        for one, other in itertools.combinations(sorted(CAN_BE_WRONG, key=order.index), 2):
            if {one, other} not in NEVER_BOTH:
                assert mount.login({one, other}) == alone[one], (one, other)
