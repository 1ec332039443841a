"""A seed and a number become a scenario, the same one on every machine, out of all that the format can say.

What is drawn is a document as an author would write it. One that cannot be (`rehearse validate` refuses it) is drawn
anew. Left out on purpose: what takes longer than anybody waits (tokens that end within a run), what needs other
servers than those at hand (`upgrade-kubernetes` goes to the same version), policies with templates, which have tests of
their own, the `bound_issuer` of the provider, and PEM texts, of which the other fields say as much.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import yaml

from harness.errors import ScenarioError
from harness.knowledge.versions import at_least
from harness.scenario import loading, mount_kinds
from harness.scenario.loading import Loaded

Document = dict[str, Any]

KUBERNETES: Final = "1.32.0"
CORE: Final = ("1.4.0", "1.7.0", "1.8.0", "1.9.2", "1.9.3", "1.11.0")
"""The versions of Vault that every machine has (tests/versions_at_hand.py)."""

_TRIES: Final = 500
_MADE: Final = ("transit/shop", "pki/issue/shop")
_READABLE: Final = ("namespaces", "service-accounts")
_AUDIENCES: Final = ("vault", "https://vault.example.com")
_BOUND: Final = (
    {"project": "shop"},
    {"project": ["shop", "other"]},
    {"project": "s*"},
    {"/kubernetes.io/namespace": "apps"},
    {"number": 7},
)
_CLAIMS: Final = (
    {"project": "shop"},
    {"project": "other", "groups": ["a", "b"]},
    {"project": ["shop", "more"]},
    {"number": 7, "groups": ["a"]},
)
_POLICIES: Final = {
    "exact": 'path "secret/data/{0}" {{ capabilities = ["read"] }}',
    "old": 'path "secret/data/{0}" {{ policy = "read" }}',
    "glob": 'path "secret/data/*" {{ capabilities = ["read", "list"] }}',
    "segment": 'path "secret/+/{0}" {{ capabilities = ["read"] }}',
    "denied": 'path "secret/data/*" {{ policy = "read" }}\npath "secret/data/{0}" {{ capabilities = ["deny"] }}',
    "elsewhere": 'path "other/*" {{ capabilities = ["read"] }}',
    "update": 'path "secret/data/{0}" {{ capabilities = ["update"] }}',
    "itself": 'path "auth/token/*" {{ capabilities = ["read", "update"] }}',
    "default": 'path "auth/token/lookup-self" {{ capabilities = ["read"] }}',
    "v1": 'path "kv/*" {{ capabilities = ["read"] }}',
    "made": 'path "pki/issue/*" {{ capabilities = ["update"] }}\npath "transit/+/shop" {{ capabilities = ["update"] }}',
    "denied-values": 'path "kv/*" {{ capabilities = ["update"] denied_parameters = {{"hosts" = ["root", "b*"]}} }}',
    "values": 'path "kv/{0}" {{ capabilities = ["update"] allowed_parameters = {{"hosts" = ["a", ["a", "b"]]}} }}',
}

_INSIDE: Final = (
    "https://kubernetes.default.svc",
    "https://kubernetes.default.svc:443",
    "https://kubernetes.default.svc.cluster.local",
    "https://kubernetes.default",
)
"""Names by which a Pod finds the API server of its own cluster."""

_WRITTEN: Final = ("a", "root", ["a"], ["a", "b"], ["root", "c"], 5, True)


def scenario(seed: int, number: int, versions: Sequence[str] = CORE) -> Loaded:
    """Return scenario *number* of a *seed*, over some of these Vault *versions*. The three decide it alone."""
    for attempt in range(_TRIES):
        document = _Draw(random.Random(f"{seed}/{number}/{attempt}"), versions).document()
        try:
            return loaded(document, f"fuzz-{seed}-{number}")
        except ScenarioError:
            continue
    raise AssertionError(f"seed {seed}, number {number}: none of {_TRIES} documents can be a scenario")


def loaded(document: Document, name: str) -> Loaded:
    """Return the scenario that a *document* describes. Raises ScenarioError where it cannot be one."""
    return loading.loads(text_of(document), f"{name}.yaml")


def text_of(document: Document) -> str:
    """Return a document as YAML."""
    return yaml.safe_dump(document, sort_keys=False, width=110, default_flow_style=None)


_SINCE: Final = {
    "disable_iss_validation": "1.5.0",
    "disable_local_ca_jwt": "1.5.4",
    "alias-name-source": "1.9.0",
    "user-claim-json-pointer": "1.11.0",
    "namespace-selector": "1.16.0",
    "use_annotations_as_alias_metadata": "1.16.0",
}
"""From which version on there is a field: what writes it too early is refused by `validate`, and drawn in vain."""


def _known(fields: Document, by: str) -> Document:
    """Return those *fields* of a config or a role that the version which writes it knows, and namespaces if need be."""
    kept = {name: value for name, value in fields.items() if at_least(by, _SINCE.get(name, "0.0.0"))}
    if "service-accounts" in kept and not {"namespaces", "namespace-selector"} & {*kept}:
        kept["namespaces"] = ["apps"]
    return kept


class _Draw:
    """One document, drawn part by part."""

    def __init__(self, chance: random.Random, versions: Sequence[str]) -> None:
        self._chance = chance
        self._versions = sorted(versions, key=lambda version: [int(part) for part in version.split(".")])
        self._clusters: dict[str, Any] = {}
        self._home = ""
        """the cluster that Vault is in; empty: it is in none"""
        self._rights: dict[tuple[str, str], bool] = {}
        """who may review tokens, by cluster and account: the same account has one right"""
        self._policies: dict[str, str] = {}
        self._writes_policies = self._often(0.45)
        self._mounts: dict[str, Document] = {}
        self._apps: dict[str, Document] = {}
        self._engines: dict[str, Document] = {}

    def document(self) -> Document:
        """Return a document that may or may not be a scenario."""
        self._draw_clusters()
        path = self._path()
        vault = self._vault(path)
        if self._often(0.25):
            self._engines = {"secret": {"kv": 2}, "kv": {"kv": 1}}
        if self._often(0.15):
            self._engines |= {"transit": {"type": "transit", "keys": {"shop": {}}}}
        if self._often(0.15):
            key = self._one([{}, {"key-type": "ec"}, {"key-type": "ec", "key-bits": 256}, {"key-type": "ed25519"}])
            self._engines |= {"pki": {"type": "pki", "roles": {"shop": {"allowed-domains": ["shop.example"]} | key}}}
        for number in range(self._weighted({1: 5, 2: 4, 3: 1})):
            self._draw_mount(number, vault, path)
        self._draw_apps(vault)
        document: Document = {"schema": 1, "description": "Drawn by chance.", "clusters": self._clusters}
        document |= {"vault": vault, "auth": self._mounts, "apps": self._apps}
        if self._policies:
            document["policies"] = self._policies
        if self._engines:
            document["secrets"] = self._engines
        if self._often(0.35):
            vault |= {"target": path[-1]} | ({"via": path[1:-1]} if len(path) > 2 else {})
        else:
            document["course"] = _Course(self._chance, document, path).steps()
        return document

    # --- chance

    def _often(self, share: float) -> bool:
        return self._chance.random() < share

    def _one(self, of: Sequence[Any]) -> Any:
        return of[self._chance.randrange(len(of))]

    def _weighted(self, weights: dict[Any, int]) -> Any:
        return self._chance.choices(list(weights), list(weights.values()))[0]

    # --- the parts

    def _draw_clusters(self) -> None:
        names = ["platform", "apps"] if self._often(0.6) else ["sandbox"]
        for name in names:
            cluster: Document = {"kubernetes": KUBERNETES}
            if self._often(0.12):
                cluster["issuers"] = self._one(
                    [
                        ["https://issuer.example.com"],
                        ["kubernetes/serviceaccount"],
                        ["address"],
                        ["https://issuer.example.com", "https://kubernetes.default.svc.cluster.local"],
                    ]
                )
            if self._often(0.12):
                cluster["signing-algorithm"] = self._one(["ES256", "ES384", "ES384", "ES512"])
            if self._often(0.2):
                cluster["namespace-labels"] = {"apps": {"team": self._one(["web", "other"])}}
            if self._often(0.3):
                cluster["publishes-keys"] = self._often(0.8)
            self._clusters[name] = cluster

    def _path(self) -> list[str]:
        """Return two to four versions in their order: that of today, stops, and the last."""
        most = min(len(self._versions), self._weighted({2: 6, 3: 3, 4: 1}))
        path = sorted(self._chance.sample(self._versions, most), key=self._versions.index)
        if path[0] == "1.3.0":
            # it has no raft, and the builds from 1.18 on have nothing else (clusters/vault-trimmed)
            return [one for one in path if not at_least(one, "1.18.0")]
        return path

    def _vault(self, path: Sequence[str]) -> Document:
        vault: Document = {"source": path[0]}
        if self._often(0.75):
            vault["cluster"] = next(iter(self._clusters)) if self._often(0.8) else self._one(list(self._clusters))
            self._home = vault["cluster"]
            if self._often(0.3):
                vault["service-account"] = "vault-system/vault-server"
            if self._often(0.15):
                vault["may-review-tokens"] = False
            if self._often(0.2):
                vault["token-file"] = self._often(0.3)
            account = vault.get("service-account", "vault/vault")
            self._rights[vault["cluster"], account] = vault.get("may-review-tokens", True)
            if self._often(0.15):
                vault["may-read"] = self._one([["namespaces"], ["service-accounts"], [*_READABLE]])
        # from 1.18 on a build leaves the other storages out (clusters/vault-trimmed)
        whole = not at_least(path[-1], "1.18.0")
        if (self._often(0.3) and whole) or path[0] == "1.3.0":
            vault["storage"] = self._weighted({"file": 5, "etcd": 1})
        if self._often(0.8):
            vault |= self._one([{"shares": 1, "threshold": 1}, {"shares": 2, "threshold": 2}])
        if self._often(0.15):
            vault["tls"] = False
        return vault

    def _draw_mount(self, number: int, vault: Document, path: Sequence[str]) -> None:
        kind = self._weighted({"kubernetes": 12, "jwt": 6, "approle": 2, "userpass": 2, "cert": 2, "token": 2})
        if not number and self._often(0.7):
            kind = "kubernetes"
        name = kind if kind == "token" else self._one([kind, f"team-{number}/{kind}", f"{kind}-{number}"])
        mount: Document = {} if kind == "kubernetes" else {"type": kind}
        if kind == "kubernetes":
            mount |= self._kubernetes(vault, path)
        elif kind == "jwt":
            mount |= self._jwt()
        if kind == "kubernetes" and number and self._often(0.06):
            self._mounts[name] = {"cluster": mount["cluster"], "mounted": False}
            return
        by = mount.get("configured", {}).get("by", path[0])
        mount["roles"] = {
            f"{self._one(['web', 'batch', 'Api'])}{index or ''}": _known(self._role(kind), by)
            for index in range(self._weighted({1: 3, 2: 1}))
        }
        self._mounts[name] = mount

    def _kubernetes(self, vault: Document, path: Sequence[str]) -> Document:
        mount: Document = {"cluster": self._one(list(self._clusters)) if self._often(0.5) else list(self._clusters)[-1]}
        if self._often(0.7):
            older = [one for one in self._versions if self._versions.index(one) <= self._versions.index(path[0])]
            if vault.get("storage", "raft") == "raft":
                older = [one for one in older if one != "1.3.0"]
            mount["configured"] = {"by": self._one(older[-4:])}
            if self._often(0.5):
                mount["configured"]["with-token-file"] = "cluster" in vault and self._often(0.5)
        reviewer = self._weighted(
            {"": 8, "local": 2, "client-jwt": 3, "secret": 3, "long-lived": 1, "pod-token": 2, "requested": 2}
        )
        if reviewer and not (reviewer in ("local", "pod-token") and "cluster" not in vault):
            mount["reviewer"] = reviewer
        if reviewer in ("secret", "long-lived", "requested"):
            if self._often(0.3):
                mount["reviewer-service-account"] = "reviewing/reviewer"
            if self._often(0.2):
                mount["reviewer-may-review-tokens"] = False
            if reviewer == "requested":
                mount["reviewer-token-life"] = self._one(["2h", "24h"])
            if self._often(0.2):
                mount["reviewer-may-read"] = [*_READABLE]
            account = mount.get("reviewer-service-account", "vault-reviewer/vault-reviewer")
            may = mount.get("reviewer-may-review-tokens", True)
            if self._rights.setdefault((mount["cluster"], account), may) != may:
                mount.pop("reviewer-may-review-tokens", None)
                if not self._rights[mount["cluster"], account]:
                    mount["reviewer-may-review-tokens"] = False
        if self._often(0.08):
            mount["rewritten-at-each-hop"] = True
        if self._often(0.4):
            by = mount.get("configured", {}).get("by", path[0])
            mount["config"] = _known(self._config(mount["cluster"]), by)
        return mount

    def _config(self, cluster: str) -> Document:
        """Return literal fields of a Kubernetes mount's config: some, or none at all."""
        others = [name for name in self._clusters if name != cluster]
        config: Document = {}
        if self._often(0.08):
            config["kubernetes_host"] = self._one(
                [
                    "https://127.0.0.1:1",
                    "https://gone.invalid",
                    "proxy",
                    "proxy-no-audiences",
                    "proxy-401",
                    "proxy-html",
                    "cluster-http",
                ]
            )
        elif self._home in ("", cluster) and self._often(0.15):
            # where Vault is in another cluster than that of the mount, `validate` refuses it
            config["kubernetes_host"] = self._one(_INSIDE)
        if self._often(0.3):
            config["kubernetes_ca_cert"] = self._one(["omit", "omit", "base64", *others])
        if self._often(0.2):
            config["pem_keys"] = self._one([["cluster"], ["cluster", *others], others or ["cluster"]])
        if self._often(0.6):
            config["issuer"] = self._one(
                ["cluster", "cluster", "kubernetes/serviceaccount", "https://wrong.example.com"]
            )
        if self._often(0.35):
            config["disable_iss_validation"] = self._often(0.6)
        if self._often(0.25):
            config["disable_local_ca_jwt"] = self._often(0.7)
        if self._often(0.1):
            config["use_annotations_as_alias_metadata"] = True
        return config

    def _jwt(self) -> Document:
        mount: Document = {}
        if self._often(0.7):
            mount["cluster"] = self._one(list(self._clusters))
        if self._often(0.7):
            mount["config"] = self._keys(mount)
            if self._often(0.4):
                mount["config"]["bound_issuer"] = self._one(["cluster", "https://wrong.example.com"])
        return mount

    def _keys(self, mount: Document) -> Document:
        """Return from where a JWT mount has its keys."""
        keys = [*self._clusters, *(["cluster"] if "cluster" in mount else [])]
        at = self._weighted({"jwt_validation_pubkeys": 5, "jwks_url": 2, "oidc_discovery_url": 2})
        if at == "jwt_validation_pubkeys":
            return {at: self._chance.sample([*keys, "provider"], self._one([1, 1, 2]))}
        asked = self._one(keys)
        cluster = self._clusters[mount["cluster"] if asked == "cluster" else asked]
        # who gives its keys to nobody is asked in vain, and most of that is refused as it is written
        cluster["publishes-keys"] = True
        if at == "oidc_discovery_url":
            cluster["issuers"] = ["address"]
        authority = {f"{at.removesuffix('_url')}_ca_pem": self._one(keys)} if self._often(0.6) else {}
        return {at: asked} | authority

    def _role(self, kind: str) -> Document:
        role: Document = {}
        if kind == "kubernetes":
            role["service-accounts"] = self._one(
                [["web"], ["web", "batch"], ["*"], ["w*"], ["someone-else"]][: 4 + self._often(0.2)]
            )
            role["namespaces"] = self._one(
                [["apps"], ["apps", "jobs"], ["*"], ["app*"], ["elsewhere"]][: 4 + self._often(0.2)]
            )
            if self._often(0.15):
                role["audience"] = self._one(_AUDIENCES)
            if self._often(0.2):
                role["alias-name-source"] = self._one(["serviceaccount_uid", "serviceaccount_name"])
            if self._often(0.15):
                role["namespace-selector"] = {"team": self._one(["web", "other"])}
                if self._often(0.5):
                    del role["namespaces"]
        elif kind == "jwt":
            if self._often(0.7):
                role["bound-audiences"] = self._chance.sample(_AUDIENCES, self._one([1, 1, 2]))
            if self._often(0.5):
                role["bound-subject"] = self._one(["system:serviceaccount:apps:web", "web", "somebody"])
            if not role:
                role["bound-cidrs"] = ["127.0.0.0/8"]
            if self._often(0.2):
                role["user-claim"] = self._one(["sub", "iss", "project", "/kubernetes.io/namespace"])
                if self._often(0.4):
                    role["user-claim-json-pointer"] = True
            if self._often(0.25):
                role["bound-claims"] = self._one(_BOUND)
                if self._often(0.4):
                    role["bound-claims-type"] = self._one(["string", "glob"])
            if self._often(0.1):
                role["claim-mappings"] = self._one([{"project": "project"}, {"/kubernetes.io/namespace": "space"}])
            if self._often(0.08):
                role["groups-claim"] = "groups"
        elif kind == "cert":
            if self._often(0.6):
                role["certificate"] = self._one(["ca", "own"])
            if self._often(0.3):
                role["certificate-life"] = self._one(["2h", "48h"])
            if self._often(0.4):
                role["allowed-common-names"] = self._one([["web"], ["w*", "batch"], ["nobody"]])
        elif kind == "approle":
            if self._often(0.3):
                role["secret-id-ttl"] = self._one(["2h", "24h"])
            if self._often(0.25):
                role["secret-id-num-uses"] = self._one([0, 1, 2, 10])
        return self._of_tokens(self._given(kind)) if kind == "token" else role | self._given(kind)

    def _of_tokens(self, given: Document) -> Document:
        """Return a token role that gives what a role of another kind would give, as far as one can."""
        known = ("policies", "period", "explicit-max-ttl", "token-type", "bound-cidrs")
        role = {"policies": ["default"]} | {key: value for key, value in given.items() if key in known}
        role |= {key: self._often(0.5) for key in ("orphan", "renewable") if self._often(0.6)}
        if role.get("token-type") == "batch":
            role |= {"orphan": True, "renewable": False}
            role.pop("period", None)
        return role

    def _given(self, kind: str) -> Document:
        """Return what a role says of the tokens that it gives."""
        role: Document = {}
        if self._often(0.7):
            role["policies"] = [self._policy() for _ in range(self._weighted({1: 4, 2: 1}))]
        spans = {"ttl": ["20m", "2h"], "max-ttl": ["4h", "30h"], "period": ["1h"], "explicit-max-ttl": ["5h"]}
        role |= {name: self._one(lives) for name, lives in spans.items() if self._often(0.15)}
        if self._often(0.2):
            role["token-type"] = self._one(["default", "service", "batch", "batch"])
        if self._often(0.08):
            role["num-uses"] = self._one([0, 1, 2, 5])
        if self._often(0.12):
            role["no-default-policy"] = self._often(0.8)
        if self._often(0.12):
            role["bound-cidrs"] = self._one([["127.0.0.1"], ["127.0.0.0/8", "10.0.0.0/8"], ["10.0.0.0/8"]])
        return role

    def _policy(self) -> str:
        """Return the name of a policy; where one is written, all are."""
        if not self._writes_policies:
            return str(self._one(["web", "batch", "Reads", "default"]))
        name = str(self._one(list(_POLICIES)))
        self._policies[name] = _POLICIES[name].format(self._one(["web", "batch"]))
        return name

    def _draw_apps(self, vault: Document) -> None:
        for index, (name, mount) in enumerate(self._mounts.items()):
            for more in range(self._weighted({1: 6, 2: 2})):
                app = self._app(name, mount, vault)
                self._apps[f"app-{index}{more or ''}"] = app

    def _app(self, name: str, mount: Document, vault: Document) -> Document:
        kind = mount.get("type", "kubernetes")
        app: Document = {"mount": name, "role": self._one(list(mount.get("roles", {"web": {}})))}
        stores = [name for name, engine in self._engines.items() if "kv" in engine] or ["secret"]
        secrets = [f"{store}/{item}" for store in stores for item in ("web", "batch", "deep/web")]
        secrets += [item for item in _MADE if item.partition("/")[0] in self._engines]
        if self._often(0.8):
            app["reads"] = self._chance.sample(secrets, self._weighted({1: 4, 2: 1}))
        if self._often(0.2):
            app["writes"] = {self._one(secrets): {"hosts": self._one(_WRITTEN)}}
        if not mount_kinds.of(kind).of_account:
            return app
        if kind == "jwt" and self._often(0.5 if "cluster" in mount else 0.9):
            app["token"] = "minted"
            if self._often(0.5):
                app["claims"] = self._one(_CLAIMS)
        else:
            app["cluster"] = mount.get("cluster") or self._one(list(self._clusters))
            app["service-account"] = self._account(app["cluster"], vault)
            may = self._rights.setdefault((app["cluster"], app["service-account"]), self._often(0.7))
            if may or self._often(0.5):
                app["may-review-tokens"] = may
            if self._often(0.1):
                app["may-read"] = [*_READABLE]
            if self._often(0.1):
                app["annotations"] = {"vault.hashicorp.com/alias-metadata-team": "web"}
            if kind == "kubernetes" and self._often(0.1):
                app["agent"] = self._one(self._versions)
            app["token"] = self._weighted({"projected": 12, "secret": 2, "requested": 2, "pod-gone": 1})
            if app["token"] == "projected":
                del app["token"]
        if app.get("token") != "secret":
            if self._often(0.7 if kind == "jwt" else 0.2):
                app["audience"] = self._one([*_AUDIENCES, ["cluster", "vault"], "cluster", [*_AUDIENCES]])
            if self._often(0.15):
                app["token-expires"] = "2h"
        return app

    def _account(self, cluster: str, vault: Document) -> str:
        if vault.get("cluster") == cluster and self._often(0.05):
            return str(vault.get("service-account", "vault/vault"))
        return str(self._weighted({"apps/web": 8, "apps/batch": 2, "jobs/web": 2, "elsewhere/someone": 1}))


class _Course:
    """The steps of a course, drawn one after the other with what is so at each."""

    def __init__(self, chance: random.Random, document: Document, path: Sequence[str]) -> None:
        self._chance, self._document, self._path = chance, document, list(path[1:])
        self._source = path[0]
        self._version, self._snapshot = path[0], ""
        self._issuers = 0
        self._gone: set[str] = set()

    def steps(self) -> list[Document]:
        """Return a few steps, with as many upgrades as fit."""
        drawn: list[Document] = []
        for _ in range(self._chance.choices([2, 3, 4, 5, 6, 8], [2, 3, 4, 4, 2, 1])[0]):
            step = self._step()
            if step is not None:
                drawn.append(step)
        return drawn or [self._upgrade() or {"restart": {}}]

    def _step(self) -> Document | None:
        verbs = {
            self._upgrade: 9, self._restart: 2, self._replace_pod: 1, self._write_config: 4, self._write_role: 4,
            self._rewrite: 1, self._revoke: 2, self._grant: 2, self._delete_secret: 2, self._take_snapshot: 2,
            self._restore: 2, self._roll_back: 3, self._set_issuers: 1, self._kubernetes: 1, self._look: 1,
            self._move: 2, self._publish_keys: 1, self._rotate_keys: 2,
        }  # fmt: skip
        step = self._chance.choices(list(verbs), list(verbs.values()))[0]()
        if step is not None and self._chance.random() < 0.08:
            step["then-look"] = False
        return step

    def _one(self, of: Sequence[Any]) -> Any:
        return of[self._chance.randrange(len(of))] if of else None

    def _often(self, share: float) -> bool:
        return self._chance.random() < share

    def _upgrade(self) -> Document | None:
        if not self._path:
            return None
        self._version = self._path.pop(0)
        return {"upgrade": self._version}

    def _restart(self) -> Document:
        return {"restart": {}}

    def _replace_pod(self) -> Document | None:
        return {"replace-pod": "vault"} if "cluster" in self._document["vault"] else None

    def _look(self) -> Document:
        return {"look": {}}

    def _mount(self, *kinds: str) -> str | None:
        mounts = self._document["auth"].items()
        there = [
            name for name, mount in mounts if mount.get("mounted", True) and mount.get("type", "kubernetes") in kinds
        ]
        found: str | None = self._one(there)
        return found

    def _drawn(self) -> _Draw:
        """Return who draws parts of mounts, with what this document has."""
        draw = _Draw(self._chance, [self._source, self._version])
        draw._clusters = self._document["clusters"]
        draw._home = self._document["vault"].get("cluster", "")
        draw._policies = self._document.get("policies", {})
        draw._writes_policies = bool(draw._policies)
        return draw

    def _write_config(self) -> Document | None:
        name = self._mount("kubernetes", "kubernetes", "jwt")
        if name is None:
            return None
        mount = self._document["auth"][name]
        if mount.get("type") == "jwt":
            return {"write": {"mount": name, "config": self._drawn()._keys(mount)}}
        write: Document = {"mount": name}
        reviewer = self._one(["", "", "local", "client-jwt", "client-jwt", "secret", "pod-token", "requested"])
        if reviewer:
            write["reviewer"] = reviewer
        if not reviewer or self._often(0.3):
            write["config"] = _known(self._drawn()._config(mount["cluster"]), self._version)
        return {"write": write}

    def _write_role(self) -> Document | None:
        name = self._mount("kubernetes", "jwt", "approle", "userpass", "cert")
        if name is None:
            return None
        mount = self._document["auth"][name]
        kind = mount.get("type", "kubernetes")
        held = self._drawn()
        role = _known(held._role(kind), self._version)
        # what a write leaves out stays as it is: some of it is enough
        some = self._chance.sample(sorted(role), min(len(role), self._one([1, 2, 3])))
        if held._policies and "policies" in some:
            self._document["policies"] = held._policies
        return {"write": {"mount": name, "role": self._one(list(mount["roles"]))} | {key: role[key] for key in some}}

    def _rewrite(self) -> Document | None:
        name = self._mount("kubernetes")
        return None if name is None else {"rewrite": name}

    def _account(self) -> Document | None:
        vault = self._document["vault"]
        known = [
            (app["cluster"], app["service-account"]) for app in self._document["apps"].values() if "cluster" in app
        ]
        if "cluster" in vault:
            known.append((vault["cluster"], vault.get("service-account", "vault/vault")))
        known += [
            (mount["cluster"], mount.get("reviewer-service-account", "vault-reviewer/vault-reviewer"))
            for mount in self._document["auth"].values()
            if mount.get("reviewer") in ("secret", "long-lived", "requested")
        ]
        if not known:
            return None
        cluster, account = self._one(known)
        return {"cluster": cluster, "service-account": account}

    def _revoke(self) -> Document | None:
        account = self._account()
        return None if account is None else {"revoke": account}

    def _grant(self) -> Document | None:
        account = self._account()
        return None if account is None else {"grant": account}

    def _delete_secret(self) -> Document | None:
        held = [f"app:{name}" for name, app in self._document["apps"].items() if app.get("token") == "secret"]
        held += [
            f"reviewer:{name}"
            for name, mount in self._document["auth"].items()
            if mount.get("reviewer") in ("secret", "long-lived")
        ]
        which = self._one([one for one in held if one not in self._gone])
        if which is None:
            return None
        self._gone.add(which)
        key, _, name = which.partition(":")
        return {"delete-secret": {key: name}}

    def _take_snapshot(self) -> Document:
        self._snapshot = self._version
        return {"snapshot": {}}

    def _restore(self) -> Document:
        return {"restore": {}} if self._snapshot else self._take_snapshot()

    def _roll_back(self) -> Document | None:
        if self._version == self._source:
            return None
        if self._snapshot and self._often(0.5):
            self._version = self._snapshot
            return {"roll-back": "snapshot"}
        self._version = self._source
        return {"roll-back": "binary"}

    def _set_issuers(self) -> Document:
        self._issuers += 1
        new = f"https://issuer-{self._issuers}.example.com"
        kept = ["https://kubernetes.default.svc.cluster.local"] if self._often(0.5) else []
        return {"set-issuers": {self._one(list(self._document["clusters"])): [new, *kept]}}

    def _move(self) -> Document:
        move: Document = {"to": self._one([*self._document["clusters"], "outside"])}
        if move["to"] != "outside":
            move |= self._one(
                [{}, {}, {"service-account": "vault/moved", "may-review-tokens": False}, {"token-file": False}]
            )
        return {"move": move | ((self._upgrade() or {}) if self._often(0.4) else {})}

    def _publish_keys(self) -> Document:
        return {"publish-keys": {self._one(list(self._document["clusters"])): self._often(0.5)}}

    def _rotate_keys(self) -> Document:
        minted = ["provider"] if any(app.get("token") == "minted" for app in self._document["apps"].values()) else []
        return {"rotate-keys": {self._one([*self._document["clusters"], *minted]): "signing"}}

    def _kubernetes(self) -> Document:
        return {"upgrade-kubernetes": {self._one(list(self._document["clusters"])): KUBERNETES}}
