"""What `validate` says a Vault would refuse to write, bare Vaults do refuse; and what it lets pass they take."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from harness.host import pki
from harness.knowledge import kubernetes_auth, versions
from tests import bare_vault
from tests.versions_at_hand import vaults_at_hand

pytestmark = pytest.mark.real

HOST = "https://127.0.0.1:1"


@pytest.mark.parametrize("version", vaults_at_hand())
def test_a_config_without_a_ca_outside_a_pod(version: str, tmp_path: Path) -> None:
    """With keys and without, with disable_local_ca_jwt and without: the words are those that the knowledge has."""
    key = pki.TokenSigner(tmp_path).public.read_text()
    known = versions.at_least(version, kubernetes_auth.KNOWS_DISABLE_LOCAL)
    with bare_vault.running(version, tmp_path) as vault:
        for keys, disable in itertools.product((False, True), (False, True) if known else (False,)):
            body: dict[str, Any] = {"kubernetes_host": HOST}
            body |= {"pem_keys": [key]} if keys else {}
            body |= {"disable_local_ca_jwt": True} if disable else {}
            foretold = kubernetes_auth.config_without_ca(
                version, token_file=False, disable_local=disable, pem_keys=keys
            )
            said = vault.write("config", body)
            assert foretold in said, (keys, disable)
            assert bool(said) == bool(foretold), (keys, disable, said)


@pytest.mark.parametrize("version", vaults_at_hand())
def test_a_role_for_every_account_of_every_namespace(version: str, tmp_path: Path) -> None:
    body = {"bound_service_account_names": "*", "bound_service_account_namespaces": "*"}
    takes = versions.at_least(version, kubernetes_auth.NO_TWO_STARS_UNTIL)
    with bare_vault.running(version, tmp_path) as vault:
        said = vault.write("role/all", body)
    assert (said == "") is takes, said
    assert takes or "can not both be" in said


@pytest.mark.parametrize("version", vaults_at_hand())
def test_a_role_whose_token_cannot_be(version: str, tmp_path: Path) -> None:
    """A period that is too long, or for batch tokens; and batch tokens with a number of uses, from 1.8.0 on."""
    counted = versions.at_least(version, kubernetes_auth.BATCH_HAS_NO_USES)
    bound = {"bound_service_account_names": "web", "bound_service_account_namespaces": "team-*"}
    with bare_vault.running(version, tmp_path) as vault:
        cases: tuple[tuple[dict[str, Any], bool], ...] = (
            ({"token_period": kubernetes_auth.LONGEST_PERIOD}, True),
            ({"token_period": "769h"}, False),
            ({"token_type": "batch", "token_period": "1h"}, False),
            ({"token_type": "batch", "token_num_uses": 1}, not counted),
            ({"token_type": "batch", "token_explicit_max_ttl": "1h"}, True),
            ({"token_ttl": "2h", "token_explicit_max_ttl": "1h"}, True),
        )
        for number, (fields, takes) in enumerate(cases):
            # A role of its own for each: a write to one that exists keeps the fields it does not name.
            said = vault.write(f"role/Some_Role.of-mine-{number}", bound | fields)
            assert (said == "") is takes, (fields, said)
