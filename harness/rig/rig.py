"""What a running system looks like to those who ask it and those who upgrade it, whoever runs it.

Only protocols and plain values. A probe that can tell which driver is below it would make the drivers test
different things; so everything a probe may ask stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import msgspec

from harness.errors import RigError, Unreachable
from harness.record.journal import Journal
from harness.scenario.course import Moment, Serve, Step, word_of
from harness.scenario.plan import Plan
from harness.scenario.topology import RS256
from harness.secret import Secret

Reopen = Callable[[], None]
"""Unseals the Vault that answers and is sealed, and waits until it is active."""


class Given(msgspec.Struct, frozen=True):
    """What a secrets engine made for somebody: a credential, a text that it encrypted, a certificate."""

    parts: dict[str, Secret]
    """by its name in Vault's answer: username, password, ciphertext, certificate ..."""
    lease: Secret | None = None
    """the ID of its lease, where it has one"""


class Reply(msgspec.Struct, frozen=True):
    """What came back from Vault for one request. No answer at all has no status and says why in *error*."""

    status: int | None
    error: str = ""
    data: dict[str, Any] = {}
    """the answer's own part (`data` or `auth`), with token-like values taken out"""
    token: Secret | None = None
    started: float = 0.0
    ended: float = 0.0
    correlation: str = ""
    given: Given | None = None
    """what a secrets engine made, where it was asked to"""
    by: str = ""
    """the node to which a load balancer handed the request; empty: none stood between, or it handed it to nobody"""

    @property
    def ok(self) -> bool:
        """Did Vault do what was asked?"""
        return self.status is not None and 200 <= self.status < 300

    @property
    def came(self) -> str:
        """Return what came back in a word or two, to be counted: a status, or that there was no answer."""
        return f"HTTP {self.status}" if self.status is not None else "no answer"

    def answered(self) -> Reply:
        """Return this reply, whatever it says. Raises Unreachable if there was none."""
        if self.status is None:
            raise Unreachable(self.error)
        return self


class IssuedToken(msgspec.Struct, frozen=True):
    """A service account token, and what is known about it without showing it."""

    jwt: Secret
    cluster: str
    subject: str
    """the Kubernetes user it stands for: system:serviceaccount:<namespace>:<name>"""
    purpose: str
    """whose it is: app:<name>, vault, reviewer:<mount>, or the negative probe it is for"""
    pod: str = ""
    pod_uid: str = ""
    jti: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    issued: float = 0.0
    expires: float = 0.0
    """0 where it never expires"""
    algorithm: str = RS256
    """with which it is signed, as its header says"""


class Credentials(msgspec.Struct, frozen=True):
    """What logs in to a role where no token of a service account does: who one is, and the secret that proves it."""

    name: str | Secret
    """of userpass the user, of approle the role ID, of cert the role"""
    secret: Secret
    """the password, the secret ID, or the client certificate with its key, as PEM"""
    trusted: str = ""
    """of a client certificate: itself, without its key, as PEM"""
    impostors: Mapping[str, Secret] = {}
    """by the negative probe that shows it: a client certificate that must not log in"""


class ClusterFacts(msgspec.Struct, frozen=True):
    """How Vault reaches a cluster, and what its tokens say."""

    name: str
    version: str
    host: str
    ca: str
    issuer: str
    keys: tuple[str, ...] = ()
    """the public keys with which its tokens are signed, a PEM text each"""


class Endpoint(msgspec.Struct, frozen=True):
    """What stands before a cluster's API server: its address, and the CA that vouches for it, a PEM text."""

    host: str
    ca: str


class VaultClient(Protocol):
    """Everything the rehearsal says to Vault. Every call is asked once: no retry, no redirect, no token left over."""

    def health(self, *, standby: bool = False) -> Reply: ...
    def leader(self) -> Reply: ...
    def raft_peers(self) -> Reply: ...
    def autopilot(self) -> Reply: ...
    def seal_status(self) -> Reply: ...
    def login(self, mount: str, role: str, jwt: Secret) -> Reply: ...
    def login_with(self, kind: str, mount: str, held: Credentials) -> Reply: ...
    def create_token(self, role: str, token: Secret, policies: Sequence[str] = ()) -> Reply: ...
    def showing(self, certificate: Secret) -> VaultClient: ...
    def lookup_self(self, token: Secret) -> Reply: ...
    def renew_self(self, token: Secret) -> Reply: ...
    def read_secret(self, path: str, token: Secret) -> Reply: ...
    def draw(self, path: str, token: Secret, body: Mapping[str, Any] | None) -> Reply: ...
    def renew_lease(self, lease: Secret, token: Secret) -> Reply: ...
    def revoke_lease(self, lease: Secret) -> Reply: ...
    def read_auth_config(self, mount: str) -> Reply: ...
    def read_role(self, mount: str, role: str, folder: str = "role") -> Reply: ...
    def read_path(self, path: str) -> Reply: ...
    def read_whole(self, path: str) -> Reply: ...
    def write_back(self, path: str, fields: Mapping[str, Any]) -> Reply: ...
    def try_seal(self, token: Secret) -> Reply: ...


class VaultSetup(Protocol):
    """What is written into a new Vault so that there is something to upgrade. Raises RigError where Vault declines."""

    def initialise(self, shares: int, threshold: int, *, recovery: bool = False) -> Sequence[Secret]: ...
    def unseal(self, key: Secret, *, migrate: bool = False) -> Reply: ...
    def seal(self) -> None: ...
    def make_transit_key(self) -> None: ...
    def make_seal_token(self) -> Secret: ...
    def end_token(self, token: Secret) -> None: ...
    def enable_audit(self) -> None: ...
    def enable_kv(self, path: str, version: int) -> None: ...
    def enable_engine(self, path: str, kind: str) -> None: ...
    def write(self, path: str, fields: Mapping[str, Any]) -> None: ...
    def write_secret(self, path: str, values: Mapping[str, Secret], *, version: int) -> None: ...
    def write_policy(self, name: str, text: str) -> None: ...
    def enable_auth(self, mount: str, kind: str = "kubernetes") -> str: ...
    def write_auth_config(self, mount: str, fields: Mapping[str, Any]) -> None: ...
    def write_role(self, mount: str, name: str, fields: Mapping[str, Any], folder: str = "role") -> None: ...
    def make_secret_id(self, mount: str, role: str) -> Credentials: ...
    def make_token(self, policy: str) -> Secret: ...
    def vote_soon(self) -> Reply: ...
    def step_down(self) -> Reply: ...
    def remove_peer(self, name: str) -> Reply: ...


@runtime_checkable
class ChangesAccounts(Protocol):
    """A rig whose clusters' rights and Secrets can be changed while Vault serves."""

    def allow_reviews(self, cluster: str, account: str) -> None:
        """Bind *account* (namespace/name) to system:auth-delegator. Where it is bound already, nothing happens."""
        ...

    def forbid_reviews(self, cluster: str, account: str) -> None:
        """Delete the binding of *account* to system:auth-delegator, and wait until the API server acts on it."""
        ...

    def delete_token_secret(self, purpose: str) -> None:
        """Delete the Secret with the long-lived token for *purpose*, and wait until the token is not accepted."""
        ...


@runtime_checkable
class MakesTokens(Protocol):
    """A rig that can make what was not planned from the start: reviewers, and other tokens of the apps."""

    def make_reviewer(self, cluster: str, account: str, mount: str) -> None:
        """Make *account* (namespace/name) where it is not there, and a new Secret with a long-lived token of it, which
        is the one of the mount's reviewer from then on. Returns when the API server accepts the token.
        """
        ...

    def project_token(self, app: str, audiences: Sequence[str]) -> None:
        """Replace the app's Pod by one whose token is made out for *audiences*: `cluster` is the API server's own, and
        so is no audience at all. Its impostors have such tokens, too.
        """
        ...

    def secret_token(self, app: str) -> IssuedToken:
        """Return a token of the app's account out of a Secret, of another issuer, that never ends; made if need be."""
        ...

    def review(self, cluster: str, bearer: Secret, token: Secret) -> Reply:
        """Have *bearer*, and nobody else, ask the API server of *cluster* to review *token*: a TokenReview.

        201 is a review; its data say whose token it was found to be (`authenticated`, `user`).
        """
        ...


@runtime_checkable
class ChangesClusters(Protocol):
    """A rig whose clusters can be changed themselves while Vault serves."""

    def upgrade_kubernetes(self, cluster: str, version: str) -> None:
        """Have an API server of *version* serve over the data and with the keys of the one that is there.

        Returns when it serves in full, and puts that on record. Raises ProcessDied or NotReady, with its last lines.
        """
        ...

    def set_issuers(self, cluster: str, issuers: Sequence[str]) -> None:
        """Have the API server sign tokens as the first of *issuers*, and accept those of all of them.

        The apps and their impostors hold new tokens then, as new Pods would. Everybody else keeps what they have, and
        so do whoever has a token out of a Secret, or of a Pod that is gone. Returns and raises as above.
        """
        ...


@runtime_checkable
class HasProxies(Protocol):
    """A rig that can put a proxy between Vault and an API server."""

    def proxy(self, cluster: str, word: str) -> Endpoint:
        """Return the proxy before the API server of *cluster* that a *word* of `endpoints` stands for; it is started
        the first time. Raises ProcessDied or NotReady where it does not listen.
        """


@runtime_checkable
class PublishesKeys(Protocol):
    """A rig whose clusters' keys can be read by anybody, or not, while Vault serves."""

    def publish_keys(self, cluster: str, *, to_anybody: bool) -> None:
        """Let anybody read the keys and the discovery document of *cluster*, or service accounts alone.

        Returns when its API server acts on it.
        """


@runtime_checkable
class RotatesKeys(Protocol):
    """A rig whose clusters can sign with other keys while Vault serves."""

    def rotate_keys(self, cluster: str, of: str) -> None:
        """Have the API server sign with another key, and accept tokens of the old one still; or have another `ca`.

        Who comes with new issuers comes with a token of the new key. Returns and raises as `upgrade_kubernetes`.
        """

    def reach(self, cluster: str, *, reachable: bool) -> None:
        """Have nobody answer Vault where the API server of *cluster* was, or have it there again. Raises as above."""


@runtime_checkable
class Snapshots(Protocol):
    """A Vault whose data can be kept and brought back."""

    def take_snapshot(self, again: Reopen) -> int:
        """Keep Vault's data as they are, in place of an earlier snapshot, and return how many bytes that takes.

        *again* unseals a Vault that had to be sealed for it. Raises RigError with Vault's words where it declines.
        """
        ...

    def restore_snapshot(self, again: Reopen) -> None:
        """Bring the snapshot back into the version that serves. Returns when Vault is active over it."""
        ...

    def expect_way_back(self, served: Serve) -> None:
        """Take note that the next snapshot is the one over which `swap_over_snapshot` goes back to what is *served*.

        What that takes and does not need the Vault that runs may be done beside the steps before it. Until then it does
        not matter how often this is said.
        """
        ...

    def swap_over_snapshot(self, served: Serve) -> float:
        """Stop Vault and start the version of *served* over the data of the snapshot alone, as a new Vault of that
        version into which the snapshot is restored. Returns when it answers, with the seal of the snapshot.

        Returned is how many seconds of that had been done beforehand, as above: they belong to what going back takes.
        """
        ...


@runtime_checkable
class Reusable(Protocol):
    """A rig whose clusters serve further rehearsals once its own is over, one at a time."""

    def again(self, plan: Plan, journal: Journal) -> AbstractContextManager[Rig]:
        """End the Vault that runs, and yield a system for *plan*, which has the same clusters and no other versions.

        The clusters are emptied of all that this rehearsal made in them; Vault, its data, every account and every
        token are new. Raises as `Driver.up`.
        """
        ...


@runtime_checkable
class Keepable(Protocol):
    """A rig that can outlive the rehearsal, for somebody to look around in."""

    def keep(self, seconds: float) -> Sequence[str]:
        """Leave everything up for *seconds* at most; return how to talk to it and how to end it, a line each."""
        ...


def changes_accounts(rig: Rig, step: Step) -> ChangesAccounts:
    """Return *rig* as one that changes accounts, which *step* needs. Raises RigError where it cannot."""
    if isinstance(rig, ChangesAccounts):
        return rig
    raise unable(step)


def changes_clusters(rig: Rig, step: Step) -> ChangesClusters:
    """Return *rig* as one that changes clusters, which *step* needs. Raises RigError where it cannot."""
    if isinstance(rig, ChangesClusters):
        return rig
    raise unable(step)


def publishes_keys(rig: Rig, step: Step) -> PublishesKeys:
    """Return *rig* as one that publishes keys, which *step* needs. Raises RigError where it cannot."""
    if isinstance(rig, PublishesKeys):
        return rig
    raise unable(step)


def rotates_keys(rig: Rig, step: Step) -> RotatesKeys:
    """Return *rig* as one that rotates keys, which *step* needs. Raises RigError where it cannot."""
    if isinstance(rig, RotatesKeys):
        return rig
    raise unable(step)


def makes_tokens(rig: Rig, step: Step) -> MakesTokens:
    """Return *rig* as one that makes tokens, which *step* needs. Raises RigError where it cannot."""
    if isinstance(rig, MakesTokens):
        return rig
    raise unable(step)


def proxies(rig: Rig) -> HasProxies:
    """Return *rig* as one that has proxies. Raises RigError where it has none."""
    if isinstance(rig, HasProxies):
        return rig
    raise RigError("this driver has no proxies: choose another driver, or another kubernetes_host")


def snapshots(rig: Rig, step: Step) -> Snapshots:
    """Return the Vault of *step* as one that takes snapshots, which it needs. Raises RigError where it cannot."""
    system = rig.system(step.vault)
    if isinstance(system, Snapshots):
        return system
    raise unable(step)


def unable(step: Step) -> RigError:
    """Return that this driver cannot do *step*."""
    return RigError(f"this driver cannot do the step {word_of(step)}: choose another driver, or leave the step out")


class VaultNode(Protocol):
    """A server of a Vault, by itself."""

    @property
    def vault(self) -> VaultClient: ...
    @property
    def setup(self) -> VaultSetup: ...

    def swap(self, served: Serve) -> None:
        """Stop Vault, replace its Pod as a rollout would, start the version of *served* over the same data.

        Returns when the new server answers, sealed. Raises ProcessDied or NotReady, with the server's last lines.
        """
        ...

    def vault_died(self) -> str | None:
        """Return a sentence if Vault has ended by itself."""
        ...

    def vault_log(self, lines: int) -> Sequence[str]:
        """Return the last lines of Vault's log, redacted."""
        ...


@runtime_checkable
class EndsAbruptly(Protocol):
    """A Vault that may be ended at once."""

    def end_abruptly(self) -> None:
        """End Vault as a power cut would, if its data bear that: it takes a second to stop. Else do nothing."""
        ...


class VaultSystem(VaultNode, Protocol):
    """A Vault: one node, or several over one storage. What is asked of it without naming a node, any may answer."""

    @property
    def nodes(self) -> Mapping[str, VaultNode]:
        """Return its nodes by their names, in their order."""
        ...

    def await_token_file(self) -> None:
        """Wait until the token of Vault's Pod is where Vault reads it, if Vault has a Pod."""
        ...

    def open_to_all(self) -> None:
        """Have Vault listen as the scenario says, now that it is initialised; until then it has talked to us alone.

        Returns when it answers. Raises as `swap`.
        """
        ...


class Rig(Protocol):
    """A live system. It lives inside its driver's `up` and is gone afterwards."""

    def system(self, vault: str = "") -> VaultSystem:
        """Return a Vault by its name; empty: the only one there is. Raises RigError where there is no such Vault."""
        ...

    def cluster(self, name: str) -> ClusterFacts:
        """Return how a cluster is reached. It may be starting still: whoever needs it to serve waits for that."""
        ...

    def await_clusters(self) -> None:
        """Wait until every cluster serves and all accounts and Pods are there. Raises what went wrong with one."""
        ...

    def app_token(self, app: str) -> IssuedToken:
        """Return the service account token that the app's Pod has now."""
        ...

    def stranger_token(self, app: str, probe: str) -> IssuedToken:
        """Return a genuine token that is not the app's: what the named negative probe presents."""
        ...

    def reviewer_token(self, mount: str, kind: str, seconds: int) -> IssuedToken:
        """Return the token to store as this mount's reviewer: that of its Secret (*kind* long-lived), a copy of the one
        that Vault's Pod has now (pod-token), or a new one with a life of *seconds* (requested).
        """
        ...

    def settle(self, *, stored: bool) -> None:
        """Wait until no cache can still accept the token of a replaced Pod, where a config may hold one (*stored*): an
        API server accepts for ten seconds what it has once accepted.
        """
        ...

    def skip(self) -> None:
        """Pass over all that the servers wrote so far: it belongs to no moment."""
        ...

    def gather(self, moment: Moment) -> None:
        """Bring every log and audit line that belongs to *moment* into the journal, once all of them are written."""
        ...

    def broken(self) -> str | None:
        """Return a sentence if a server that Vault depends on has ended: from then on answers say nothing of Vault."""
        ...


def node_of(rig: Rig, vault: str, node: str) -> VaultNode:
    """Return a node of a Vault, or the Vault itself where no node is named. Raises RigError where it is not there."""
    system = rig.system(vault)
    if not node:
        return system
    if node not in system.nodes:
        raise RigError(f"there is no node {node}; there are {', '.join(system.nodes)}")
    return system.nodes[node]
