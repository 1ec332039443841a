"""Of two things that are wrong with a login, real Vaults name the one that comes first in `login_order`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from harness import wait
from harness.analysis.rules.signatures import SIGNATURE_WORDS
from harness.host import pki
from harness.knowledge import kubernetes_auth, login_order, refusals, versions
from harness.knowledge.kubernetes_auth import Refusal
from tests import bare_vault
from tests.bare_vault import BareVault
from tests.versions_at_hand import vaults_at_hand

pytestmark = pytest.mark.real

HOUR = 3600
ALGORITHMS = ("RS256", "ES256", "ES384", "ES512")


class Mount:
    """The auth method of a Vault outside any Pod, and whom it is asked to let in."""

    def __init__(self, vault: BareVault, directory: Path) -> None:
        self.vault, self._held = vault, dict[str, Any]()
        self.other = pki.Signer()
        self.signers = {one: pki.Signer(one) for one in ALGORITHMS}
        self._ca = pki.Authority(directory, "127.0.0.1").ca.read_text()

    def login(
        self, wrong: set[Refusal], *, keys: bool, algorithm: str = "RS256", more: dict[str, Any] | None = None
    ) -> tuple[int, str]:
        """Return how a login is answered of which just that is wrong; the API server is where nobody listens.

        *more* is what the config has besides.
        """
        signer = self.signers["ES384" if "algorithm" in wrong else algorithm]
        self._write("config", self._config(wrong, signer, keys=keys) | (more or {}))
        role = {
            "bound_service_account_names": "other" if "service account name" in wrong else "web",
            "bound_service_account_namespaces": "other" if "namespace" in wrong else "apps",
            "audience": "vault",
            "token_bound_cidrs": "10.0.0.0/8" if "address" in wrong else "",
        }
        self._write("role/web", role)
        token = signer.sign(self._claims(wrong)).reveal()
        asked = {"role": "nobody" if "unknown role" in wrong else "web", "jwt": token}
        status, answer = self.vault.ask("POST", f"auth/{bare_vault.MOUNT}/login", asked)
        return status, " ".join(answer["errors"])

    def _write(self, path: str, body: dict[str, Any]) -> None:
        if self._held.get(path) != body:
            assert self.vault.write(path, body) == ""
            self._held[path] = body

    def _config(self, wrong: set[Refusal], signer: pki.Signer, *, keys: bool) -> dict[str, Any]:
        held = self.other if "signing key" in wrong else signer
        body: dict[str, Any] = {"kubernetes_host": "https://127.0.0.1:1", "issuer": "https://right"}
        if versions.at_least(self.vault.version, kubernetes_auth.KNOWS_ISSUER_OPTION):
            body["disable_iss_validation"] = False
        return (
            body
            | ({"pem_keys": [held.public_key]} if keys else {})
            | ({} if "missing ca" in wrong else {"kubernetes_ca_cert": self._ca})
        )

    def _claims(self, wrong: set[Refusal]) -> dict[str, Any]:
        now = int(wait.now())
        return {
            "iss": "https://wrong" if "issuer" in wrong else "https://right",
            "aud": ["other" if "audience" in wrong else "vault"],
            "iat": now - 2 * HOUR,
            "nbf": now - 2 * HOUR,
            "exp": now + (-HOUR if "expired" in wrong else HOUR),
            "sub": "system:serviceaccount:apps:web",
            "kubernetes.io": {
                "namespace": "apps",
                "serviceaccount": {"name": "web", "uid": "uid-of-web"},
                "pod": {"name": "web", "uid": "uid-of-the-pod"},
            },
        }


def can_be_wrong(version: str, *, keys: bool) -> list[Refusal]:
    """Return which checks of a version can fail in a bare Vault, in their order."""
    cannot: set[Refusal] = set() if keys else {"signing key"}
    if not login_order.looks_at_the_end(version, keys=keys):
        cannot.add("expired")
    if not kubernetes_auth.refuses_algorithm(version, "ES384"):
        cannot.add("algorithm")
    reads = versions.at_least(version, kubernetes_auth.READS_POD_TOKEN)
    if kubernetes_auth.config_without_ca(version, token_file=False, disable_local=False, pem_keys=keys) or not reads:
        cannot.add("missing ca")
    return [check for check in login_order.checks(version) if check not in cannot]


@pytest.mark.parametrize("version", vaults_at_hand())
def test_of_two_that_fail_the_first_is_answered(version: str, tmp_path: Path) -> None:
    """Every pair of checks, with keys of ours in pem_keys and without."""
    with bare_vault.running(version, tmp_path) as vault:
        mount = Mount(vault, tmp_path)
        # without keys an old Vault leaves the end of a token to the API server, and answers as to any review that fails
        looks = login_order.looks_at_the_end(version, keys=False)
        assert (mount.login({"expired"}, keys=False) != mount.login(set(), keys=False)) is looks
        for keys in (False, True):
            checks = can_be_wrong(version, keys=keys)
            alone = {check: mount.login({check}, keys=keys) for check in checks}
            for check, (status, words) in alone.items():
                known, text = kubernetes_auth.answer(check, version)
                assert status == known, (check, words)
                assert text in words, check
            for one, other in itertools.combinations(checks, 2):
                first = login_order.first(version, {one, other})
                assert first == one
                assert mount.login({one, other}, keys=keys) == alone[first], (one, other)


@pytest.mark.parametrize("version", vaults_at_hand())
def test_each_algorithm_is_taken_but_by_the_versions_that_are_known(version: str, tmp_path: Path) -> None:
    """With pem_keys and without; and whatever the kinds of two keys, one that has not signed is told as such."""
    with bare_vault.running(version, tmp_path) as vault:
        mount = Mount(vault, tmp_path)
        for keys in (False, True):
            taken = mount.login(set(), keys=keys)
            for one in ALGORITHMS:
                known = kubernetes_auth.answer("algorithm", version)
                refused = kubernetes_auth.refuses_algorithm(version, one)
                assert mount.login(set(), keys=keys, algorithm=one) == (known if refused else taken), one
        for mount.other in map(pki.Signer, ALGORITHMS):
            for one in ALGORITHMS:
                status, words = mount.login({"signing key"}, keys=True, algorithm=one)
                assert (status, refusals.says(status, words)) == (
                    kubernetes_auth.answer("signing key", version)[0],
                    "refused",
                ), (one, words)
                known_by = (*SIGNATURE_WORDS, "permission denied")
                assert any(word in words for word in known_by), words


@pytest.mark.parametrize("version", vaults_at_hand())
def test_one_of_two_keys_has_signed_in_either_order(version: str, tmp_path: Path) -> None:
    """Two of the pem_keys of each kind: whether Vault comes to the one that has signed."""
    with bare_vault.running(version, tmp_path) as vault:
        mount = Mount(vault, tmp_path)
        refused = mount.login({"signing key"}, keys=True)
        for one, other in itertools.product(ALGORITHMS, ALGORITHMS):
            mount.other = pki.Signer(other)
            for before in ([mount.other.public_key], []):
                after = [] if before else [mount.other.public_key]
                body = {"pem_keys": [*before, mount.signers[one].public_key, *after]}
                curves = [pki.is_on_curve(key) for key in before]
                found = kubernetes_auth.finds_signer(version, curves, curve=one.startswith("ES"))
                status, words = mount.login(set(), keys=True, algorithm=one, more=body)
                known = status == refused[0] and any(word in words for word in SIGNATURE_WORDS)
                assert known is not found, (one, other, bool(before), words)
