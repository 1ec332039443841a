"""What every rig with real servers has in common, whatever its servers run in."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec.structs import replace

from harness import wait
from harness.clients.kube import Kube
from harness.clients.vault import Vault
from harness.drivers import service_accounts
from harness.drivers.bring_up import BringUp, Tokens
from harness.drivers.cluster_setup import RIGHTS_SECONDS, of_pod, publish_keys, requested
from harness.drivers.log_collection import ClusterLogs, Collector, VaultLogs
from harness.drivers.log_tail import Tail
from harness.drivers.proxies import Proxies
from harness.drivers.restoration import NewVault, Restoration
from harness.drivers.service_accounts import SECRET_TOKEN, Account, issued
from harness.errors import RigError, Unreachable
from harness.host import pki
from harness.host.process import Supervisor, out_of_room
from harness.record import events
from harness.record.journal import Journal
from harness.rig.rig import ClusterFacts, Endpoint, IssuedToken, Reopen, Reply
from harness.scenario.course import Moment, Serve
from harness.scenario.topology import Topology
from harness.scenario.values import addressed
from harness.secret import Secret
from harness.wait import Stopwatch, now

if TYPE_CHECKING:
    from harness.artifacts.binaries import Artifact
    from harness.artifacts.images import Image

STEADY_SECONDS: Final = 0.5
"""How long a new version has to live, from its first answer on, before a hop counts as done. What a Vault does in the
background after its unseal can kill it, and the questions are asked in less time than that takes."""


class RunningVault(VaultLogs, Protocol):
    """A Vault that runs, in a process or in a container."""

    @property
    def client(self) -> Vault: ...
    def died(self) -> str | None: ...
    def tail(self, lines: int = 40) -> Sequence[str]: ...

    def listen_plainly(self) -> None:
        """Have the next start listen with plain HTTP, to whoever asks."""
        ...

    def stop(self) -> None:
        """Stop it, where that is not a part of the next start: a Pod is stopped by its rollout."""
        ...

    def kill(self) -> None:
        """End it at once, as a power cut would, where that is not a part of the next start: as with `stop`."""
        ...

    def continue_over(self, other: Any) -> None:
        """Have the next start be over the data of *other*, which is stopped and starts no more."""
        ...

    def keep_data(self) -> int:
        """Copy the data of this Vault, which is sealed, in place of an earlier copy. Return how many bytes that is."""
        ...

    def put_back_data(self) -> None:
        """Replace the data of this Vault, which is sealed, by the copy that was kept."""
        ...


def note_artifacts(journal: Journal, used: Iterable[tuple[Artifact | Image, str]]) -> None:
    """Put on record what is used, each with the SHA-256 that says which very one it is."""
    for one, sha256 in used:
        journal.write(
            events.ArtifactUsed(
                product=one.product,
                version=one.version,
                source=one.source,
                sha256=sha256,
                note=one.note,
                trimmed=one.trimmed,
            )
        )


class RealRig(abc.ABC):
    """One Vault and some clusters. A driver's own rig starts them, and takes Vault from version to version."""

    _topology: Topology
    _work: Path
    _proxies: Proxies

    def __init__(
        self,
        journal: Journal,
        wanted: Sequence[Account],
        server: RunningVault,
        clusters: Mapping[str, ClusterLogs],
        *,
        threads: int,
        words: Callable[[], Mapping[str, Tail]] | None = None,
    ) -> None:
        """*clusters* may be filled while they rise; *threads* is how many things may rise at once. *words* gives the
        logs of the nodes of a Vault by their names, where there are several.
        """
        self._journal, self._accounts, self._vault, self._running = journal, wanted, server, clusters
        self._bring_up = BringUp(threads)
        self._tokens = Tokens(self._bring_up, wanted, journal)
        self._collector = Collector(journal, lambda: self._vault, clusters, words)
        self._made_secrets = 0
        self._way_back: Restoration | None = None
        """what is under way of a way back over the last snapshot, or the next"""
        self._answering: Stopwatch | None = None
        """since the first answer of the version that runs"""

    def system(self, vault: str = "") -> RealRig:
        """Return the only Vault there is, which is this rig's."""
        if vault not in ("", *self._topology.vaults):
            raise RigError(f"there is no Vault {vault}; there is {', '.join(self._topology.vaults)}")
        return self

    @property
    def nodes(self) -> dict[str, RealRig]:
        """Return the only node there is, which is this rig's."""
        return dict.fromkeys(self._topology.nodes_of("")[:1], self)

    @property
    def vault(self) -> Vault:
        """Return the way to ask Vault."""
        return self._vault.client

    @property
    def setup(self) -> Vault:
        """Return the way to write into Vault."""
        return self._vault.client

    def await_clusters(self) -> None:
        """Wait until all serve. Raises the first failure, once each has come up or failed."""
        self._bring_up.await_all()

    @abc.abstractmethod
    def cluster(self, name: str) -> ClusterFacts:
        """Return how a cluster is reached."""

    def proxy(self, cluster: str, word: str) -> Endpoint:
        """Return a proxy before the API server of *cluster*, a process of this machine; it is started if need be."""
        return self._proxies.endpoint(self.cluster(cluster), word)

    def app_token(self, app: str) -> IssuedToken:
        """Return the token of the app's Pod."""
        return self._tokens.of(f"app:{app}")

    def stranger_token(self, app: str, probe: str) -> IssuedToken:
        """Return the token that the named negative probe presents."""
        return self._tokens.of(f"{probe}:{app}")

    def reviewer_token(self, mount: str, kind: str, seconds: int) -> IssuedToken:
        """Return the token to store as the mount's reviewer: what is no Secret's is put on record as it is taken."""
        purpose = f"reviewer:{mount}"
        if kind == "pod-token":
            pod, *_ = self._topology.pod_purposes(self._topology.mounts[mount].vault)
            return self._tokens.tell(replace(self._tokens.of(pod), purpose=purpose))
        if kind != "requested":
            return self._tokens.of(purpose)
        account = next(one for one in self._accounts if one.purpose == purpose)
        self._bring_up.await_one(account.cluster)
        kube = self._running[account.cluster].kube
        jwt = kube.request_token(account.namespace, account.name, audiences=(), seconds=seconds)
        return self._tokens.tell(issued(account, jwt, "", ""))

    def allow_reviews(self, cluster: str, account: str) -> None:
        """Bind *account* (namespace/name) to system:auth-delegator, and wait until the API server acts on it."""
        self._await_right(cluster, account, may=True)

    def forbid_reviews(self, cluster: str, account: str) -> None:
        """Delete the binding of *account* to system:auth-delegator, and wait until the API server acts on it."""
        self._await_right(cluster, account, may=False)

    def _await_right(self, cluster: str, account: str, *, may: bool) -> None:
        kube, (space, name) = self._running[cluster].kube, account.split("/")
        if may:
            kube.allow_token_reviews(space, name)
        else:
            kube.forbid_token_reviews(space, name)
        wait.until(
            lambda: kube.may_review_tokens(space, name) is may,
            what=f"the API server of {cluster} to know that {account} may {'' if may else 'not '}review tokens",
            seconds=RIGHTS_SECONDS,
            every=0.05,
        )

    def publish_keys(self, cluster: str, *, to_anybody: bool) -> None:
        """Let anybody read the keys of *cluster*, or service accounts alone, and wait until its API server does so."""
        publish_keys(cluster, self._running[cluster].kube, to_anybody=to_anybody)

    def delete_token_secret(self, purpose: str) -> None:
        """Delete the Secret with the long-lived token for *purpose*, and wait until the token is not accepted."""
        account = next(one for one in self._accounts if one.purpose == purpose)
        kube = self._running[account.cluster].kube
        kube.delete_secret(account.namespace, account.secret)
        self._tokens.ended(self._tokens.of(purpose), now())

    def make_reviewer(self, cluster: str, account: str, mount: str) -> None:
        """Make *account* where it is not there, and a new Secret with a token of it for the mount's reviewer."""
        space, name = account.split("/")
        self._made_secrets += 1
        who = Account(cluster, space, name, f"reviewer:{mount}", long_lived=True, made=self._made_secrets)
        self._tokens.remember(who, self._new_secret_of(who))

    def secret_token(self, app: str) -> IssuedToken:
        """Return a token of the app's account out of a Secret of its own."""
        account = self._account_of(f"app:{app}")
        who = replace(account, purpose=f"{SECRET_TOKEN}:{app}", long_lived=True, audiences=())
        if not self._tokens.holds(who.purpose):
            self._tokens.remember(who, self._new_secret_of(who))
        return self._tokens.of(who.purpose)

    def _new_secret_of(self, account: Account) -> Secret:
        """Make a Secret for *account*, and return its token once the API server accepts that."""
        kube = self._running[account.cluster].kube
        jwt = self._fill_secret(account, kube.insist_on_account(account.namespace, account.name))
        wait.until(
            lambda: kube.accepts(jwt),
            what=f"the API server of {account.cluster} to accept the token of {account.namespace}/{account.name}",
            seconds=RIGHTS_SECONDS,
            every=0.05,
        )
        return jwt

    @abc.abstractmethod
    def _fill_secret(self, account: Account, uid: str) -> Secret:
        """Make the Secret of a long-lived token of *account*, whose UID is given, and return the token."""

    def project_token(self, app: str, audiences: Sequence[str]) -> None:
        """Replace the app's Pod by one whose token is made out for *audiences*; its impostors get such tokens, too."""
        wanted = service_accounts.as_requested(self._topology, self._topology.apps[app].cluster, audiences)
        changed = {
            one.purpose: replace(one, audiences=wanted, long_lived=False)
            for one in self._accounts
            if service_accounts.is_of(one, app)
        }
        self._accounts = [changed.get(one.purpose, one) for one in self._accounts]
        for account in changed.values():
            self._reissue(account)

    @abc.abstractmethod
    def _reissue(self, account: Account) -> None:
        """Have *account* hold a new token, in a new Pod where it has one."""

    def _account_of(self, purpose: str) -> Account:
        return next(one for one in self._accounts if one.purpose == purpose)

    def review(self, cluster: str, bearer: Secret, token: Secret) -> Reply:
        """Have *bearer* ask the API server of *cluster* to review *token*."""
        started = now()
        status, said = self._running[cluster].kube.review(bearer, token)
        seen = said.get("status") or {}
        if not 200 <= status < 300:
            return Reply(status, str(said.get("message", "")), started=started, ended=now())
        data = {
            "authenticated": seen.get("authenticated", False),
            "user": str(seen.get("user", {}).get("username", "")),
        }
        return Reply(status, data=data, started=started, ended=now())

    def settle(self, *, stored: bool) -> None:
        """Wait until the API server itself refuses the tokens of replaced Pods: then no cache accepts them."""
        if stored:
            self._tokens.settle({name: cluster.kube for name, cluster in self._running.items()})

    @abc.abstractmethod
    def await_token_file(self) -> None:
        """Wait until the token of Vault's Pod is where Vault reads it, if Vault has a Pod."""

    @abc.abstractmethod
    def open_to_all(self) -> None:
        """Have Vault listen as the scenario says, now that it is initialised."""

    @abc.abstractmethod
    def swap(self, served: Serve) -> None:
        """Take Vault to what is to be *served*, its Pod replaced, over the data that its next start is to be over."""

    def end_abruptly(self) -> None:
        """End Vault as a power cut would, where its data are raft's own files, which bear that."""
        if self._topology.vault.storage == "raft" and self._topology.vault.nodes == 1:
            self._kill_vault()

    def _kill_vault(self) -> None:
        self._vault.kill()

    def take_snapshot(self, again: Reopen) -> int:
        """Keep Vault's data: by the raft API, or a copy of the files of a Vault that is sealed meanwhile."""
        try:
            if self._topology.vault.storage == "raft":
                size = self._vault.client.take_snapshot(self._snapshot)
                if self._way_back is not None:
                    self._way_back.restore(self._snapshot)
                return size
            self._vault.client.seal()
            size = self._vault.keep_data()
        except (OSError, RigError, Unreachable) as error:
            raise self._kept_nothing(error) from error
        again()
        return size

    def _kept_nothing(self, error: Exception) -> RigError:
        """Return why there is no snapshot, and what to do: a Vault whose disk is full may answer anything."""
        lines = self.vault_log(40)
        advice = out_of_room(self._work, lines) or (
            "so no way back over it was rehearsed; see what its log beside the record says, mend that, and run again"
        )
        return RigError(f"no snapshot could be taken: {error}; {advice}", lines)

    def restore_snapshot(self, again: Reopen) -> None:
        """Bring the snapshot back into the version that serves."""
        if self._topology.vault.storage == "raft":
            self._vault.client.restore_snapshot(self._snapshot)
        else:
            self._vault.client.seal()
            self._vault.put_back_data()
        again()

    def expect_way_back(self, served: Serve) -> None:
        """Begin what can be begun of a way back over raft's next snapshot: a new Vault of the version of *served*."""
        if self._topology.vault.storage == "raft" and self._way_back is None:
            self._way_back = self._way_back_to(served)

    def _way_back_to(self, served: Serve) -> Restoration:
        like, version = self._topology.vault, served.version
        return Restoration(version, lambda: self._start_new(served), like, self._bring_up, self._journal)

    def swap_over_snapshot(self, served: Serve) -> float:
        """Start the version of *served* over the snapshot alone, in the place of the Vault that runs."""
        if self._topology.vault.storage != "raft":
            self._vault.client.seal()
            self._vault.put_back_data()
            self.swap(served)
            return 0.0
        way, self._way_back = self._way_back, None
        if way is None:
            # not the first way back over this snapshot
            way = self._way_back_to(served)
            way.restore(self._snapshot)
        self._vault.stop()
        new, beforehand = way.done()
        self._vault.continue_over(new)
        self.swap(served)
        return beforehand

    @abc.abstractmethod
    def _start_new(self, served: Serve) -> NewVault:
        """Start a Vault of the version of *served* over no data, beside the one that runs, which talks to us alone.

        Returns it once it answers. Raises as `swap`.
        """

    @property
    def _snapshot(self) -> Path:
        return self._work / "snapshot"

    def skip(self) -> None:
        """Pass over all that was logged so far."""
        self._collector.skip()

    def gather(self, moment: Moment) -> None:
        """Bring the moment's log and audit lines into the journal. After a hop, make sure that Vault lives on.

        Raises ProcessDied where Vault dies within STEADY_SECONDS of its start, and what the collector raises.
        """
        self._collector.gather(moment.label)
        if moment.number > 0:
            wait.until(
                lambda: self._answering is not None and self._answering.seconds >= STEADY_SECONDS,
                what="Vault to live on for a while after its start",
                seconds=STEADY_SECONDS + 1,
                died=self.vault_died,
                log=lambda: self.vault_log(40),
            )

    def vault_died(self) -> str | None:
        """Return a sentence if Vault has ended by itself."""
        return self._vault.died()

    def vault_log(self, lines: int) -> Sequence[str]:
        """Return Vault's last log lines."""
        return self._vault.tail(lines)

    def wait_for_threads(self) -> None:
        """Let what is still coming up end before anything is taken away from under it, and that soon."""
        if self._way_back is not None:
            self._way_back.give_up()
        self._bring_up.end()

    def _insist_on_version(self, cluster: str, kube: Kube, wanted: str, served: int = 0) -> None:
        """Put on record that *cluster* is up, as the version that was *wanted*. Raises RigError if it is another.

        *served* is how many rehearsals had it before.
        """
        said = self._topology.clusters[cluster]
        answered, issuers = self._answered(cluster, kube, wanted), addressed(said.issuers, kube.host)
        up = events.ClusterUp(
            cluster=cluster,
            version=answered,
            issuer=issuers[0],
            issuers=issuers,
            served=served,
            publishes_keys=said.publishes_keys,
        )
        self._journal.write(up)

    def _request_anew(self, cluster: str) -> None:
        """Request the tokens that are of another issuer once *cluster* has one."""
        kube = self._running[cluster].kube
        for account in self._accounts:
            if account.cluster != cluster or not service_accounts.comes_with_new_issuers(account):
                continue
            # of the same Pod, as a kubelet renews it: the one before is as good as its issuer
            old = self._tokens.of(account.purpose)
            jwt = of_pod(kube, account, old.pod_uid) if old.pod else requested(kube, account)
            self._tokens.remember(account, jwt, old.pod, old.pod_uid)

    def _cluster_changed(self, cluster: str, kube: Kube, wanted: str, issuers: Sequence[str]) -> None:
        """Put on record that the API server of *cluster* serves anew. Raises as above."""
        answered = self._answered(cluster, kube, wanted)
        known = addressed(issuers, kube.host)
        self._journal.write(events.ClusterChanged(cluster=cluster, version=answered, issuers=known))

    @staticmethod
    def _answered(cluster: str, kube: Kube, wanted: str) -> str:
        """Return the version that an API server says it is. Raises RigError where it is not the one *wanted*."""
        answered = kube.version()
        if answered.split("+")[0] != wanted:
            raise RigError(f"the API server of {cluster} says it is {answered}; {wanted} was asked for")
        return answered

    def _leave_up(
        self, supervisor: Supervisor, seconds: float, work: Path, run_id: str, kubeconfigs: Mapping[str, Path]
    ) -> list[str]:
        """Leave everything up; return how to talk to it and how to end it. The root token is written into *work*."""
        vault = self._vault.client
        hints = [f"export VAULT_ADDR={vault.address}"]
        if vault.ca is not None:
            hints.append(f"export VAULT_CACERT={vault.ca}")
        if vault.certificate is not None:
            certificate, key = vault.certificate
            hints += [f"export VAULT_CLIENT_CERT={certificate}", f"export VAULT_CLIENT_KEY={key}"]
        if vault.root is not None:
            pki.write_private(work / "root-token", vault.root.reveal().encode())
            hints.append(f"export VAULT_TOKEN=$(cat {work / 'root-token'})")
        for name, file in kubeconfigs.items():
            hints.append(f"kubectl --kubeconfig {file} get pods -A    # cluster {name}")
        supervisor.keep(seconds)
        return [*hints, f"rehearse clean {run_id}    # ends it; else it ends by itself in {seconds / 3600:g} h"]
