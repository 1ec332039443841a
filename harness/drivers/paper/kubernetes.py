"""The Kubernetes auth method on paper: configs, and what comes of a login."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from harness.drivers.paper import checks, evidence
from harness.drivers.paper.accounts import PaperAccounts
from harness.drivers.paper.checks import copied_ca, distrusts, failing
from harness.drivers.paper.jwts import PaperJwts
from harness.drivers.paper.state import Config, Token, accepted, without_config
from harness.knowledge import kubernetes_auth, login_order, policy_templates
from harness.knowledge.kubernetes_auth import Refusal
from harness.knowledge.versions import at_least
from harness.rig.rig import Reply
from harness.scenario.mount_kinds import JWT
from harness.secret import Secret
from harness.wait import now


class PaperKubernetes(PaperAccounts, PaperJwts):
    """The part of a Vault on paper that has the tokens of service accounts reviewed."""

    _home: str
    """the cluster in which it runs; empty where it runs in none"""
    _pod: str
    """the purpose of its Pod's token"""

    @abc.abstractmethod
    def _find(self, jwt: Secret) -> Token | None: ...

    def login(self, mount: str, role: str, jwt: Secret) -> Reply:
        """Answer as the Kubernetes auth method of this version would."""
        started, told = now(), self._told("login", role)
        if told == "silent":
            return self._reply(None, "the paper Vault was told to stay silent", started=started)
        if mount in self._configs and self._topology.mounts[mount].kind == JWT:
            return self._login_by_key(mount, role, jwt, told=None if told is None else told == "grant")
        refusal = None if told == "grant" else self._refusal(mount, role, jwt) if told is None else "review"
        if refusal is not None:
            status, text = kubernetes_auth.answer(refusal, self._served.version)
            if refusal == "namespace":
                config, bearer = self._configs[mount], self._bearer(self._configs[mount], None)
                text += checks.unread(config.roles[role.lower()], bearer, self._topology.mounts[mount].cluster)
            elif refusal == "signing key":
                text = checks.unsigned(self._served.version, self._configs[mount], self._find(jwt) or self._named(jwt))
            return self._reply(status, text, path=f"auth/{mount}/login", started=started)
        who, config, version = self._find(jwt), self._configs[mount], self._served.version
        more, alias = checks.entity(who, config.roles[role.lower()], version), None
        if who is not None:
            noted = config.fields.get("use_annotations_as_alias_metadata") is True
            name = checks.alias_name(who, config.roles[role.lower()], version)
            account = f"{who.account.namespace}/{who.account.name}"
            notes, projected = dict(who.account.annotations) if noted else {}, not who.account.long_lived
            alias = policy_templates.of_account(account, name, notes, projected=projected)
        return self._let_in(mount, role, f"auth/{mount}/login", started, more, alias)

    def write_auth_config(self, mount: str, fields: Mapping[str, Any]) -> None:
        """Keep the config, and a copy of the pod's token where this version would take one."""
        if not self._topology.mounts[mount].of_kind.reviews:
            config = self._configs.setdefault(mount, without_config())
            config.fields, config.fetched, config.discovered = dict(fields), None, False
            return
        version, file = self._served.version, self._served.token_file
        self.look_at_ca(at_least(version, kubernetes_auth.READS_CA_AT_WRITE))
        explicit, disable = "token_reviewer_jwt" in fields, fields.get("disable_local_ca_jwt") is True
        validation = fields.get("disable_iss_validation")
        before = self._configs.get(mount)
        stored = kubernetes_auth.stored_reviewer(version, token_file=file, explicit=explicit, disable_local=disable)
        self._configs[mount] = Config(
            fields=dict(fields),
            stored=stored,
            frozen=self._tokens.get(self._pod) if stored == "frozen" else None,
            explicit=self._stored(fields),
            ca=str(fields.get("kubernetes_ca_cert") or copied_ca(version, fields, self._ca(self._pod_cluster))),
            validation_disabled=kubernetes_auth.validation_disabled(
                version, given=validation if isinstance(validation, bool) else None
            ),
            roles=before.roles if before else {},
        )

    def _refusal(self, mount: str, role: str, jwt: Secret) -> Refusal | None:
        """Return why this version refuses the login, or None where it grants it."""
        if mount not in self._configs:
            return "no such mount"
        config, role = self._configs[mount], role.lower()
        if role not in config.roles:
            return "unknown role"
        presented, version = self._find(jwt), self._served.version
        claimed, cluster = presented or self._named(jwt), self._topology.mounts[mount].cluster
        way = distrusts(version, config, self._seen_ca, cluster, self._ca(cluster))
        there = (mount, str(config.fields["kubernetes_host"]))
        if way == "untrusted" and there in self._connected and at_least(version, kubernetes_auth.KEEPS_CONNECTIONS):
            way = None
        labels = self._labels(config, claimed, cluster)
        wrong = failing(version, config, config.roles[role], claimed, signed=presented is not None, labels=labels)
        own = login_order.first(version, wrong if way is None else {*wrong, way})
        if own == "signing key":
            self._log_login(mount, "error verifying token signature: no known key successfully validated the token")
        elif own is None and (lost := checks.unreached(config, cluster, hidden=cluster in self._common.hidden)):
            self._log_login(mount, lost)
            return "review"
        elif own is None and way is not None:
            self._log_login(mount, f'Post "https://{cluster}.paper": x509: certificate signed by unknown authority')
        elif own is None and (
            said := checks.answered_by_another(config, cluster, hidden=cluster in self._common.hidden)
        ):
            self._log_login(mount, said)
            return "review"
        return own or way or self._review(mount, role, presented) or self._notes(config, presented)

    def _labels(self, config: Config, token: Token, cluster: str) -> Mapping[str, str]:
        """Return the labels of a token's namespace, as far as the reviewer may read them."""
        may = checks.reads_namespaces(self._bearer(config, None), cluster)
        return self._topology.clusters[cluster].namespace_labels.get(token.account.namespace, {}) if may else {}

    def _notes(self, config: Config, presented: Token | None) -> Refusal | None:
        """Have the annotations of the account be read, if the config says so."""
        bearer = self._bearer(config, presented)
        may = bearer is not None and "service-accounts" in bearer.account.may_read
        return None if may or not config.fields.get("use_annotations_as_alias_metadata") else "annotations"

    @property
    def _pod_cluster(self) -> str:
        """Return the cluster whose folder Vault's Pod has now, or nothing where it has none."""
        return self._home if self._served.token_file else ""

    def _log_login(self, mount: str, why: str) -> None:
        """Have Vault's log say why a login was refused."""
        self._pending.append(evidence.of_log(self.enable_auth(mount), why, self._called))

    def _review(self, mount: str, role: str, presented: Token | None) -> Refusal | None:
        """Have the mount's cluster review the token, and leave its audit entry."""
        config, cluster, version = self._configs[mount], self._topology.mounts[mount].cluster, self._served.version
        bearer = self._bearer(config, presented)
        known = bearer is not None and accepted(bearer, cluster) and self._told("review", mount) != "refuse"
        status = 401 if not known else 201 if bearer and bearer.account.may_review_tokens else 403
        self._pending.append(evidence.of_review(cluster, bearer if known else None, status))
        there = (mount, str(config.fields["kubernetes_host"]))
        # an API server closes the connection to whom it does not know
        (self._connected.discard if status == 401 else self._connected.add)(there)
        genuine = presented is not None and presented.genuine and presented.account.cluster == cluster
        if status == 201 and not genuine:
            self._log_login(mount, "lookup failed: [invalid bearer token, Token has been invalidated]")
        elif (
            status == 201
            and presented
            and (
                why := checks.unasked_audience(version, presented)
                or checks.unnamed_audience(version, config, cluster, config.roles[role], presented)
            )
        ):
            self._log_login(mount, why)
            return "review"
        return None if status == 201 and genuine else "review"

    def _bearer(self, config: Config, presented: Token | None) -> Token | None:
        whose = kubernetes_auth.bearer(
            self._served.version,
            stored=config.stored,
            token_file=self._served.token_file,
            disable_local=config.fields.get("disable_local_ca_jwt") is True,
        )
        return {
            "client": presented,
            "local": self._tokens.get(self._pod),
            "frozen": config.frozen,
            "explicit": config.explicit,
        }[whose]

    def _stored(self, fields: Mapping[str, Any]) -> Token | None:
        """Return the reviewer's token that a config has, or None."""
        jwt = fields.get("token_reviewer_jwt")
        return self._find(jwt) if isinstance(jwt, Secret) else None
