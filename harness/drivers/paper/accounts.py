"""Who may review tokens on paper, and what is made there that was not planned from the start."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from harness.drivers import service_accounts
from harness.drivers.paper.checks import ca_of, key_of
from harness.drivers.paper.state import Common, Token, accepted, host_of
from harness.drivers.service_accounts import SECRET_TOKEN, Account
from harness.knowledge import kubernetes_auth
from harness.record import events
from harness.record.journal import Journal
from harness.rig.rig import IssuedToken, Reply
from harness.scenario.course import Serve
from harness.scenario.topology import Topology
from harness.scenario.values import addressed
from harness.secret import Secret
from harness.wait import now


class PaperAccounts(abc.ABC):
    """The service accounts of a system on paper."""

    _tokens: dict[str, Token]
    """by purpose; those that are not held any more have another name"""
    _common: Common
    _topology: Topology
    _journal: Journal
    _name: str
    _served: Serve
    _vaults: Mapping[str, PaperAccounts]
    _connected: set[tuple[str, str]]
    _shown: set[str]
    """the mounts whose config was asked for since the start"""

    @abc.abstractmethod
    def _issue(self, account: Account) -> Token: ...

    @property
    @abc.abstractmethod
    def _pod_cluster(self) -> str: ...

    @abc.abstractmethod
    def _find(self, jwt: Secret) -> Token | None: ...

    def allow_reviews(self, cluster: str, account: str) -> None:
        """Let every token of *account* review."""
        self._let_review(cluster, account, may=True)

    def forbid_reviews(self, cluster: str, account: str) -> None:
        """Let no token of *account* review."""
        self._let_review(cluster, account, may=False)

    def _let_review(self, cluster: str, account: str, *, may: bool) -> None:
        for token in self._everybody():
            if _is(token, cluster, account):
                token.account = msgspec.structs.replace(token.account, may_review_tokens=may)

    def _everybody(self) -> Iterator[Token]:
        """Yield every token that somebody may present: what is held, and what configs have stored."""
        yield from self._tokens.values()
        for config in (config for configs in self._common.configs.values() for config in configs.values()):
            yield from (token for token in (config.frozen, config.explicit) if token is not None)

    def delete_token_secret(self, purpose: str) -> None:
        """End the token that the Secret holds."""
        self._tokens[purpose].alive = False

    def set_issuers(self, cluster: str, issuers: Sequence[str]) -> None:
        """Have other issuers from now on, and new tokens for whoever comes with one."""
        self._common.issuers[cluster][:] = addressed(issuers, host_of(cluster))
        self._cluster_changed(cluster)
        self._request_anew(cluster)

    def rotate_keys(self, cluster: str, of: str) -> None:
        """Sign with another key from now on, and have new tokens for whoever comes with one."""
        if of == "ca":
            self._common.authorities[cluster] = self._common.authorities.get(cluster, 0) + 1
            self._way_changed(cluster)
            return
        keys = self._common.keys[cluster]
        keys.insert(0, key_of(cluster, self._topology.clusters[cluster].signing_algorithm, len(keys) + 1))
        self._cluster_changed(cluster)
        self._request_anew(cluster)

    def _way_changed(self, cluster: str) -> None:
        for one in self._vaults.values():
            one.connect_anew()
        self._cluster_changed(cluster)

    def connect_anew(self, *, starts: bool = False) -> None:
        """Make the next connection anew; by the CA that the Pod has now, where Vault *starts* or its version looks."""
        self._connected.clear()
        if starts:
            self._shown.clear()
        self.look_at_ca(starts or kubernetes_auth.rereads_ca(self._served.version))

    def _read_first(self, mount: str) -> bool:
        """Return whether this is the first read of a config since the start."""
        first = mount not in self._shown
        self._shown.add(mount)
        return first

    def look_at_ca(self, again: bool) -> None:
        """Go by the CA that the Pod has now, if it is looked at *again*."""
        if again:
            self._common.cas_seen.pop(self._name, None)

    def _ca(self, cluster: str) -> str:
        """Return the CA of a cluster as it is now; nothing of none."""
        return ca_of(cluster, self._common.authorities.get(cluster, 0)) if cluster else ""

    @property
    def _seen_ca(self) -> str:
        """Return the CA of Vault's Pod as far as it has looked: nothing where it has none."""
        return self._common.cas_seen.setdefault(self._name, self._ca(self._pod_cluster))

    def reach(self, cluster: str, *, reachable: bool) -> None:
        """Have nobody find the API server from now on, or everybody."""
        (self._common.hidden.discard if reachable else self._common.hidden.add)(cluster)
        self._way_changed(cluster)

    def publish_keys(self, cluster: str, *, to_anybody: bool) -> None:
        """Let anybody read the keys from now on, or nobody who is not known."""
        self._common.published[cluster] = to_anybody

    def _request_anew(self, cluster: str) -> None:
        for purpose, token in list(self._tokens.items()):
            if token.account.cluster == cluster and service_accounts.comes_with_new_issuers(token.account):
                self._tokens[f"{purpose} before {len(self._tokens)}"] = token
                self._tokens[purpose] = self._issue(token.account)

    def upgrade_kubernetes(self, cluster: str, version: str) -> None:
        """Have another version, over the same accounts and tokens."""
        self._common.kubernetes[cluster] = version
        self._cluster_changed(cluster)

    def _cluster_changed(self, cluster: str) -> None:
        version, issuers = self._common.kubernetes[cluster], tuple(self._common.issuers[cluster])
        self._journal.write(events.ClusterChanged(cluster=cluster, version=version, issuers=issuers))

    def make_reviewer(self, cluster: str, account: str, mount: str) -> None:
        """Issue a long-lived token of *account*, with the right that the account has."""
        space, name = account.split("/")
        may = any(one.account.may_review_tokens for one in self._everybody() if _is(one, cluster, account))
        purpose = f"reviewer:{mount}"
        if (old := self._tokens.pop(purpose, None)) is not None:
            self._tokens[f"{purpose} before {len(self._tokens)}"] = old
        self._tokens[purpose] = self._issue(Account(cluster, space, name, purpose, may, long_lived=True))

    def project_token(self, app: str, audiences: Sequence[str]) -> None:
        """Issue new tokens to the app and to its impostors."""
        wanted = service_accounts.as_requested(self._topology, self._topology.apps[app].cluster, audiences)
        for purpose, token in list(self._tokens.items()):
            if service_accounts.is_of(token.account, app):
                token.alive = False
                self._tokens[f"{purpose} before {len(self._tokens)}"] = token
                self._tokens[purpose] = self._issue(
                    msgspec.structs.replace(token.account, audiences=wanted, long_lived=False)
                )

    def secret_token(self, app: str) -> IssuedToken:
        """Return a long-lived token of the app's account."""
        purpose = f"{SECRET_TOKEN}:{app}"
        if purpose not in self._tokens:
            account = self._tokens[f"app:{app}"].account
            long_lived = msgspec.structs.replace(account, purpose=purpose, long_lived=True, audiences=())
            self._tokens[purpose] = self._issue(long_lived)
        return self._tokens[purpose].issued

    def review(self, cluster: str, bearer: Secret, token: Secret) -> Reply:
        """Answer as the API server would."""
        at, who, whose = now(), self._find(bearer), self._find(token)
        if who is None or not accepted(who, cluster):
            return Reply(401, "Unauthorized", started=at, ended=at)
        if not who.account.may_review_tokens:
            return Reply(
                403, f'User "{who.issued.subject}" cannot create resource "tokenreviews"', started=at, ended=at
            )
        known = whose is not None and whose.genuine and whose.account.cluster == cluster
        user = whose.issued.subject if known and whose is not None else ""
        return Reply(201, data={"authenticated": known, "user": user}, started=at, ended=at)


def _is(token: Token, cluster: str, account: str) -> bool:
    return token.account.identity == (cluster, *account.split("/"))
