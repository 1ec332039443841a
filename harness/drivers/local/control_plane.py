"""The life of one Kubernetes control plane as processes: an etcd and a kube-apiserver, and nothing else.

No kubelet runs, so Pods stay Pending; service accounts, their bound tokens and TokenReviews are as real as anywhere.
"""

from __future__ import annotations

import secrets as random
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from harness import wait
from harness.clients.kube import Kube
from harness.drivers.log_tail import Tail
from harness.drivers.service_accounts import Account, claims_out_of_a_secret
from harness.errors import ProcessDied
from harness.host import pki, ports, process
from harness.host.process import Process, Supervisor
from harness.scenario.topology import ISSUER, RS256
from harness.scenario.values import addressed
from harness.secret import Secret

READY_SECONDS: Final = 90

_AUDIT_POLICY: Final = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
# Metadata shows who reviewed and what the answer was. Request would write the token that is reviewed to disk.
- level: Metadata
  resources: [{group: authentication.k8s.io, resources: [tokenreviews]}]
- level: None
"""


class ControlPlane:
    """One cluster. `start` returns when objects can be made in it, `await_ready` when it serves in full.

    The supervisor ends it.
    """

    def __init__(
        self, name: str, directory: Path, port: int, issuers: Sequence[str] = (ISSUER,), algorithm: str = RS256
    ) -> None:
        """*issuers* are those of its service account tokens, which *algorithm* signs: the first signs, the others are
        accepted.
        """
        self.name, self.directory, self.port = name, directory, port
        self.host = f"https://127.0.0.1:{port}"
        self.issuers = addressed(issuers, self.host)
        directory.mkdir(mode=0o700)
        self.authority = pki.Authority(directory, "127.0.0.1")
        self.signers = [pki.TokenSigner(directory, algorithm)]
        self._keys = 1
        """so many it has ever had"""
        self.audit = Tail(directory / "audit.log")
        self.log = Tail(directory / "kube-apiserver.log")
        self.store_log = Tail(directory / "etcd.log")
        self.kube = Kube(self.host, self.authority.ca, Secret(random.token_urlsafe(24)))
        self._admin = self.kube.administrator_token
        self._servers: tuple[Process, ...] = ()
        self._times = 0
        """so often its authority has become another one"""
        self._listens = port
        """where it really is, and where we ask it"""

    def start(self, supervisor: Supervisor, etcd: Path, api_server: Path, over: threading.Event) -> None:
        """Start both servers and wait until objects can be made, or until *over* says that nobody waits any more.

        Raises ProcessDied with the last log lines, NotReady after READY_SECONDS, and RigError where the port is taken.
        """
        store = supervisor.start(
            f"etcd of {self.name}",
            [str(etcd), *self._etcd_flags()],
            env={"HOME": str(self.directory)},
            cwd=self.directory,
            log=self.store_log.path,
        )
        pki.write_private(self.directory / "audit.yaml", _AUDIT_POLICY.encode())
        admin = f'{self._admin.reveal()},rehearsal-admin,rehearsal-admin,"system:masters"\n'
        pki.write_private(self.directory / "tokens.csv", admin.encode())
        self._servers = (store, self._start_api_server(supervisor, api_server))
        self._await(self.kube.takes_objects, over)

    def _start_api_server(self, supervisor: Supervisor, api_server: Path) -> Process:
        ports.insist(self._listens, f"the API server of {self.name}")
        self.api_server = api_server
        return supervisor.start(
            f"kube-apiserver of {self.name}",
            [str(api_server), *self._api_server_flags()],
            # Its start makes much garbage; to collect it as often as Go does costs a fifth of its time, for 70 MB less.
            env={"HOME": str(self.directory), "GOGC": "400"},
            cwd=self.directory,
            log=self.log.path,
        )

    def change(self, supervisor: Supervisor, api_server: Path, issuers: Sequence[str], over: threading.Event) -> None:
        """Stop the API server, and start *api_server* in its place with these *issuers*: the store and the keys stay.

        Returns when it serves in full. Raises as `start`.
        """
        store, old = self._servers
        # what it had answered is in its store; to end well it would wait for those who watch
        old.kill()
        self.issuers = addressed(issuers, self.host)
        self._servers = (store, self._start_api_server(supervisor, api_server))
        self.await_ready(over)

    @property
    def signer(self) -> pki.TokenSigner:
        """Return the key pair with which the next API server signs."""
        return self.signers[-1]

    def renew_key(self) -> None:
        """Have the next API server sign with a new key, and accept tokens of the old ones as well."""
        self.signers.append(self._new_key(self.signer.algorithm))

    def _new_key(self, algorithm: str) -> pki.TokenSigner:
        self._keys += 1
        directory = self.directory / f"key-{self._keys}"
        directory.mkdir(mode=0o700)
        return pki.TokenSigner(directory, algorithm)

    def renew_authority(self) -> None:
        """Have the next API server come with a certificate of another authority."""
        self._times += 1
        directory = self.directory / f"ca-{self._times}"
        directory.mkdir(mode=0o700)
        self.authority = pki.Authority(directory, "127.0.0.1")
        self.kube.ask_at(self.kube.host, self.authority.ca)

    def hide(self, port: int) -> None:
        """Have the next API server listen at *port*, and nobody where it was: whoever has that address finds none."""
        self._listens = port
        self.kube.ask_at(f"https://127.0.0.1:{port}", self.authority.ca)

    def is_as_or_forgets(self, api_server: Path, issuers: Sequence[str], algorithm: str) -> bool:
        """Does this very API server serve, with just these *issuers*, and one key for *algorithm*? A course may have
        changed what a cluster is, and the next scenario may want another one.

        Otherwise both servers end, and the next ones begin with these issuers over no data, where they first were: an
        older API server may not read what a newer one has stored.
        """
        there = self._listens == self.port
        signs = [one.algorithm for one in self.signers] == [algorithm]
        if there and signs and self.api_server == api_server and self.issuers == addressed(issuers, self.host):
            return True
        if not signs:
            self.signers = [self._new_key(algorithm)]
        self.end()
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)
        self.issuers = addressed(issuers, self.host)
        self.hide(self.port)
        self.pass_over()
        return False

    @property
    def started(self) -> bool:
        """Have its servers been started?"""
        return bool(self._servers)

    def end(self) -> None:
        """End both servers: the API server first, which would wait long for an etcd that is gone."""
        for server in reversed(self._servers):
            server.kill()
        self._servers = ()

    def begin_anew(self, over: threading.Event) -> list[str]:
        """Empty this cluster, which has served a rehearsal, for the next: no object of it is left, and no line of it.

        Return the namespaces that stay, for there is no controller that would remove them.

        Raises as `start`, and RigError where something cannot be deleted.
        """
        self._await(self.kube.takes_objects, over)
        spaces = self.kube.reset()
        self.pass_over()
        return spaces

    def pass_over(self) -> None:
        """Have what was logged so far be nobody's."""
        for tail in (self.audit, self.log, self.store_log):
            tail.begin_anew()

    def await_ready(self, over: threading.Event) -> None:
        """Wait until the API server says that all of it is ready, its own roles included. Raises as `start`."""
        self._await(self.kube.serves, over)

    def _await(self, condition: Callable[[], bool], over: threading.Event) -> None:
        try:
            wait.until(
                condition,
                what=f"the API server of {self.name} to be ready",
                seconds=READY_SECONDS,
                died=lambda: "the run is over" if over.is_set() else self.died(),
                log=self._last_words,
                advice="the whole logs of both are kept beside the record, in logs/",
            )
        except ProcessDied:
            if self._servers[1].died():
                ports.insist(self._listens, f"the API server of {self.name}")
            raise

    def died(self) -> str | None:
        """Return a sentence if the API server or its etcd has ended; etcd first, for the other often ends of it."""
        ended = next(((sentence, server) for server in self._servers if (sentence := server.died())), None)
        if ended is None:
            return None
        sentence, server = ended
        full = process.out_of_room(self.directory, server.tail())
        return f"{sentence}, and {full}" if full else sentence

    def make_token_secret(self, account: Account, uid: str) -> Secret:
        """Make the Secret of a long-lived token of *account*, whose UID is given, and return the token.

        The token controller, which would fill it, is not running here.
        """
        jwt = self.signer.sign(claims_out_of_a_secret(account, uid))
        self.kube.create_token_secret(account.namespace, account.secret, account.name, jwt)
        return jwt

    def _last_words(self) -> list[str]:
        """Return the last lines of both servers; those of the one that has ended come last."""
        store, server = self._servers
        first, last = (server, store) if store.died() else (store, server)
        return [*first.tail(15), *last.tail(15)]

    def _etcd_flags(self) -> list[str]:
        # Sockets in the run's own 0700 directory: no port to collide on, and no other user can read the cluster.
        return [
            "--data-dir=etcd",
            "--unsafe-no-fsync",
            "--listen-client-urls=unix://etcd.sock:0",
            "--advertise-client-urls=http://127.0.0.1:1",
            "--listen-peer-urls=unix://peer.sock:0",
            "--initial-advertise-peer-urls=http://127.0.0.1:2",
            "--initial-cluster=default=http://127.0.0.1:2",
            # Alone it wins every election, and the API server waits for the first: half a second as etcd comes.
            "--heartbeat-interval=10",
            "--election-timeout=50",
        ]

    def _api_server_flags(self) -> list[str]:
        here = self.directory
        return [
            "--etcd-servers=unix://etcd.sock:0",
            "--bind-address=127.0.0.1",
            # else it looks for an address of this machine, and ends where a laptop has no network; nobody reaches it
            # by this one, which RFC 5737 sets aside: it stands in the endpoints of the service `kubernetes` alone
            "--advertise-address=192.0.2.1",
            f"--secure-port={self._listens}",
            f"--tls-cert-file={self.authority.certificate}",
            f"--tls-private-key-file={self.authority.key}",
            *(f"--service-account-issuer={issuer}" for issuer in self.issuers),
            # else its discovery document has an address of this machine at which it does not listen
            *([f"--service-account-jwks-uri={self.host}/openid/v1/jwks"] if self.issuers[0] == self.host else []),
            *(f"--service-account-key-file={signer.public}" for signer in self.signers),
            f"--service-account-signing-key-file={self.signer.private}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={here / 'tokens.csv'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--audit-policy-file={here / 'audit.yaml'}",
            f"--audit-log-path={self.audit.path}",
            "--audit-log-mode=blocking",
            "--profiling=false",
        ]
