"""Every field of roles and configs on real servers: few runs, each with many fields, and each answer as foretold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lent import Lender
from tests.versions_at_hand import further

pytestmark = pytest.mark.real

READS = 'path "secret/data/web" { capabilities = ["read"] }'
BINDS = {"service-accounts": ["web"], "namespaces": ["team-a"], "policies": ["Reads"]}

ROLES: dict[str, dict[str, Any]] = {
    "plain": {},
    "Batch_Tokens": {"token-type": "batch", "ttl": "1h"},
    "Service.Tokens": {"token-type": "service", "period": "1h", "explicit-max-ttl": "4h"},
    "limited": {"num-uses": 1},
    "bare": {"no-default-policy": True},
    "globs": {"service-accounts": ["w*"], "namespaces": ["x", "team-*"]},
    "near": {"bound-cidrs": ["127.0.0.1"], "max-ttl": "24h"},
    "far": {"bound-cidrs": ["10.0.0.0/8"]},
}
"""The fields of a role that say who gets in and what they get, each in a role of its own."""


def run(
    lender: Lender, tmp_path: Path, document: dict[str, Any], code: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Rehearse a scenario; return its judgement and its record. *code* is the exit code that it must have."""
    file, directory = tmp_path / "fields.yaml", tmp_path / "record"
    file.write_text(json.dumps(document))
    ended, judgement = lender.rehearse(file, directory)
    assert ended == code, judgement["reasons"]
    record = [json.loads(line) for line in (directory / "record.jsonl").read_text().splitlines()]
    return judgement, record


def test_the_fields_of_roles(tmp_path: Path, lender: Lender) -> None:
    """From 1.7.0 through 1.9.2 to 1.11.0: each kind of token is given, and is good for what it must be."""
    expected = [{"change": "refused from the start", "app": "far", "cause": "address-not-bound"}]
    document = {
        "schema": 1,
        "description": "Which token does each role give, and is anything else by another version?",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.7.0", "via": ["1.9.2"], "target": "1.11.0"},
        "auth": {
            "kubernetes": {
                "cluster": "apps",
                "configured": {"by": "1.7.0", "with-token-file": False},
                "roles": {name: BINDS | fields for name, fields in ROLES.items()},
            }
        },
        "apps": {
            name.lower().replace("_", "-").replace(".", "-"): {
                "cluster": "apps",
                "service-account": "team-a/web",
                "role": name,
                "may-review-tokens": True,
                "reads": ["secret/web"],
            }
            for name in ROLES
        },
        "policies": {"Reads": READS},
        "expect": expected,
    }
    judgement, record = run(lender, tmp_path, document, 0)
    assert judgement["as_expected"], judgement["reasons"]
    seen = [event for event in record if event["event"] == "observation"]
    logins = {(one["app"], one["version"]): one for one in seen if one["probe"] == "login"}
    for version in ("1.7.0", "1.9.2", "1.11.0"):
        kind = {app: one["detail"].get("token_type") for (app, at), one in logins.items() if at == version}
        assert kind["batch-tokens"] == "batch"
        assert {kind[app] for app in kind if app not in ("batch-tokens", "far")} == {"service"}
        assert "default" not in logins["bare", version]["detail"]["policies"]
        assert logins["service-tokens", version]["detail"]["lease_duration"] == 3600
        assert logins["plain", version]["detail"]["lease_duration"] == 768 * 3600
        assert logins["far", version]["status"] == 403
    read_back = {one["item"]: one["detail"] for one in seen if one["probe"] == "role" and one["version"] == "1.11.0"}
    assert read_back["Service.Tokens"]["token_period"] == 3600
    assert read_back["Service.Tokens"]["token_explicit_max_ttl"] == 4 * 3600
    assert read_back["limited"]["token_num_uses"] == 1
    assert read_back["far"]["token_bound_cidrs"] == ["10.0.0.0/8"]


OTHER_CA = (
    "-----BEGIN CERTIFICATE-----\nMIIBfTCCASOgAwIBAgIUQ0FuTm9ib2R5VHJ1c3RzVGhpc0NBMAoGCCqGSM49BAMC\n"
    "-----END CERTIFICATE-----\n"
)

CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "right": ({"pem_keys": ["cluster"], "issuer": "cluster", "disable_iss_validation": False}, ""),
    "rotated": ({"pem_keys": ["other", "cluster"]}, ""),
    "wrong-keys": ({"pem_keys": ["other"]}, "signing-key-unknown"),
    "wrong-ca": ({"kubernetes_ca_cert": "other"}, "api-server-untrusted"),
    "undecoded": ({"kubernetes_ca_cert": "base64"}, "api-server-untrusted"),
    "given": ({"kubernetes_ca_cert": OTHER_CA}, "api-server-untrusted"),
    "by-a-name": ({"kubernetes_host": "https://kubernetes.default.svc"}, "api-server-unreachable"),
    "wrong-issuer": ({"issuer": "https://nobody.invalid", "disable_iss_validation": False}, "issuer-mismatch"),
}
"""Configs of mounts, each with the cause for which it refuses its app, or none."""


def test_the_fields_of_configs(tmp_path: Path, lender: Lender) -> None:
    """Two clusters and a Vault outside both, from 1.7.0 through 1.9.3 to 1.11.0: a mount for each config."""
    fields = {name: {"disable_iss_validation": True} | said for name, (said, _) in CONFIGS.items()}
    document = {
        "schema": 1,
        "description": "Which fields of a config let an app in, and does a version change that?",
        "clusters": {"apps": {"kubernetes": "1.32.0"}, "other": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.7.0", "via": ["1.9.3"], "target": "1.11.0"},
        "auth": {
            name: {
                "cluster": "apps",
                "configured": {"by": "1.7.0", "with-token-file": False},
                "config": config,
                "roles": {"web": {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"]}},
            }
            for name, config in fields.items()
        },
        "apps": {
            name: {
                "cluster": "apps",
                "service-account": "apps/web",
                "mount": name,
                "role": "web",
                "may-review-tokens": True,
            }
            for name in CONFIGS
        },
        "expect": [
            {"change": "refused from the start", "app": name, "cause": cause}
            for name, (_, cause) in CONFIGS.items()
            if cause
        ],
    }
    judgement, record = run(lender, tmp_path, document, 0)
    assert judgement["as_expected"], judgement["reasons"]
    seen = [event for event in record if event["event"] == "observation" and event["probe"] == "login"]
    status = {(one["app"], one["version"]): one["status"] for one in seen}
    assert {status[name, "1.9.3"] for name, (_, cause) in CONFIGS.items() if not cause} == {200}
    assert (status["wrong-keys", "1.9.3"], status["wrong-keys", "1.11.0"]) == (500, 403)


def test_where_apps_log_in_and_read(tmp_path: Path, lender: Lender) -> None:
    """Across 1.10, on file and back: a path at which nothing is mounted, and kv-v1 and kv-v2 at paths of their own."""
    document = {
        "schema": 1,
        "description": "Where nothing is mounted, and what is read where?",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.9.3", "storage": "file"},
        "course": [{"snapshot": {}}, {"upgrade": "1.11.0"}, {"roll-back": "snapshot"}],
        "auth": {
            "kubernetes": {
                "cluster": "apps",
                "configured": {"by": "1.9.3", "with-token-file": False},
                "roles": {"web": BINDS | {"policies": ["web"]}},
            },
            "k8s/typo": {"cluster": "apps", "mounted": False},
        },
        "apps": {
            name: {
                "cluster": "apps",
                "service-account": "team-a/web",
                "mount": mount,
                "role": "web",
                "may-review-tokens": True,
                "reads": reads,
            }
            for name, mount, reads in (
                ("web", "kubernetes", ["team/kv/web", "kv/deep/web"]),
                ("lost", "k8s/typo", []),
            )
        },
        "secrets": {"team/kv": {"kv": 1}, "kv": {"kv": 2}},
        "expect": [{"change": "refused from the start", "app": "lost", "cause": "no-such-mount"}],
    }
    judgement, record = run(lender, tmp_path, document, 0)
    assert judgement["as_expected"], judgement["reasons"]
    seen = [event for event in record if event["event"] == "observation"]
    lost = [one["status"] for one in seen if one["app"] == "lost" and one["probe"] == "login"]
    assert lost == [400, 403, 400]
    reads = {(one["item"], one["version"], one["status"]) for one in seen if one["probe"] == "read"}
    assert reads == {(item, at, 200) for item in ("team/kv/web", "kv/deep/web") for at in ("1.9.3", "1.11.0")}
    changes = [one for one in judgement["changes"] if (one["app"], one["what"]) == ("lost", "status")]
    assert [one["after"] for one in changes] == ["refused 403 permission denied", "refused 400 missing client token"]
    assert all("since Vault 1.10.0" in one["explained"] for one in changes)


@further("vault:1.16.3")
def test_what_vault_reads_beside_reviews(tmp_path: Path, lender: Lender) -> None:
    """1.16.3: labels of namespaces and annotations of accounts, with the right to read them and without."""
    note = "vault.hashicorp.com/alias-metadata-team"
    selecting = {"service-accounts": ["web"], "namespace-selector": {"team": "web"}, "policies": ["web"]}
    named = {"service-accounts": ["web"], "namespaces": ["team-a"], "policies": ["web"]}
    mounts: dict[str, tuple[dict[str, Any], str]] = {
        "selects": ({"reviewer-may-read": ["namespaces"], "roles": {"web": selecting}}, ""),
        "may-not": ({"roles": {"web": selecting}}, "reviewer-may-not-read"),
        "other-label": (
            {
                "reviewer-may-read": ["namespaces"],
                "roles": {"web": selecting | {"namespace-selector": {"team": "other"}}},
            },
            "role-binding-mismatch",
        ),
        "notes": (
            {
                "reviewer-may-read": ["service-accounts"],
                "config": {"use_annotations_as_alias_metadata": True},
                "roles": {"web": named},
            },
            "",
        ),
        "no-notes": (
            {"config": {"use_annotations_as_alias_metadata": True}, "roles": {"web": named}},
            "reviewer-may-not-read",
        ),
    }
    document = {
        "schema": 1,
        "description": "What does Vault read of a cluster, and with which right?",
        "clusters": {"apps": {"kubernetes": "1.32.0", "namespace-labels": {"team-a": {"team": "web"}}}},
        "vault": {"source": "1.16.3"},
        "course": [{"restart": {}}],
        "auth": {
            name: {
                "cluster": "apps",
                "configured": {"by": "1.16.3", "with-token-file": False},
                "reviewer": "secret",
                "reviewer-service-account": f"reviewers/{name}",
            }
            | fields
            for name, (fields, _) in mounts.items()
        },
        "apps": {
            name: {
                "cluster": "apps",
                "service-account": "team-a/web",
                "mount": name,
                "role": "web",
                "annotations": {note: "payments"},
            }
            for name in mounts
        },
        "expect": [
            {"change": "refused from the start", "app": name, "cause": cause}
            for name, (_, cause) in mounts.items()
            if cause
        ],
    }
    judgement, record = run(lender, tmp_path, document, 0)
    assert judgement["as_expected"], judgement["reasons"]
    read_back = [one for one in record if one["event"] == "observation" and one["probe"] in ("role", "auth-config")]
    assert any("matchLabels" in str(one["detail"]) for one in read_back)
    assert any(one["detail"].get("use_annotations_as_alias_metadata") is True for one in read_back)


def test_every_kind_of_login_token(tmp_path: Path, lender: Lender) -> None:
    """Projected for one audience and for several, out of a Secret, of no Pod, and of a Pod that is gone."""
    tokens: dict[str, tuple[dict[str, Any], str]] = {
        "projected": ({}, ""),
        "for-vault": ({"audience": "vault", "role": "for-vault", "token-expires": "2h"}, ""),
        "for-both": ({"audience": ["vault", "cluster"], "role": "for-vault"}, ""),
        "secret": ({"token": "secret"}, ""),
        "requested": ({"token": "requested", "token-expires": "20m"}, ""),
        "gone": ({"token": "pod-gone"}, "login-token-rejected"),
    }
    document = {
        "schema": 1,
        "description": "Which tokens let an app in, and does a version change that?",
        "clusters": {"apps": {"kubernetes": "1.32.0"}},
        "vault": {"source": "1.7.0", "via": ["1.9.3"], "target": "1.11.0"},
        "auth": {
            "kubernetes": {
                "cluster": "apps",
                "configured": {"by": "1.7.0", "with-token-file": False},
                "reviewer": "secret",
                "config": {"disable_iss_validation": True},
                "roles": {"web": BINDS, "for-vault": BINDS | {"audience": "vault"}},
            }
        },
        "apps": {
            name: {"cluster": "apps", "service-account": "team-a/web", "role": "web"} | fields
            for name, (fields, _) in tokens.items()
        },
        "policies": {"Reads": READS},
        "expect": [{"change": "refused from the start", "app": "gone", "cause": "login-token-rejected"}],
    }
    judgement, record = run(lender, tmp_path, document, 0)
    assert judgement["as_expected"], judgement["reasons"]
    issued = {one["purpose"]: one for one in record if one["event"] == "token-issued"}
    assert issued["app:requested"]["pod"] == "" != issued["app:gone"]["pod"]
    assert issued["app:secret"]["expires"] == 0.0
    assert len(issued["app:for-both"]["audiences"]) == 2
    assert round(issued["app:requested"]["expires"] - issued["app:requested"]["issued"]) == 20 * 60


def test_what_stays_in_a_cluster_is_as_bare_as_in_a_new_one(tmp_path: Path, lender: Lender) -> None:
    """A namespace and its default account outlive a rehearsal: the next has the labels that it says, and no others."""

    def left(labels: dict[str, str], annotations: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        document = {
            "schema": 1,
            "description": "An app under the account that every namespace has.",
            "clusters": {"bare": {"kubernetes": "1.32.0", "namespace-labels": {"apps": labels} if labels else {}}},
            "vault": {"source": "1.11.0"},
            "course": [{"restart": {}}],
            "auth": {
                "kubernetes": {
                    "cluster": "bare",
                    "configured": {"by": "1.11.0", "with-token-file": False},
                    "roles": {"web": {"service-accounts": ["default"], "namespaces": ["apps"]}},
                }
            },
            "apps": {
                "web": {
                    "cluster": "bare",
                    "service-account": "apps/default",
                    "role": "web",
                    "may-review-tokens": True,
                    "annotations": annotations,
                }
            },
        }
        number = len(list(tmp_path.glob("record-*")))
        file = tmp_path / "bare.yaml"
        file.write_text(json.dumps(document))
        assert lender.rehearse(file, tmp_path / f"record-{number}").code == 0
        kube = lender.kube("bare")
        space = kube._done("GET", "/api/v1/namespaces/apps")["metadata"]["labels"]
        account = kube._done("GET", "/api/v1/namespaces/apps/serviceaccounts/default")["metadata"]
        return {name: space[name] for name in space if "/" not in name}, account.get("annotations") or {}

    marked = ({"team": "a"}, {"team": "a"})
    assert [left(*marked), left({}, {}), left(*marked)] == [marked, ({}, {}), marked]
