"""Everything we say to a Vault server, in our words: the only module that knows hvac.

Each question goes out once, over a connection of its own: no retry, no redirect, no token or variable left over.
"""

from __future__ import annotations

import base64
import copy
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.clients.haproxy import NODE_HEADER
from harness.clients.transit import TransitSeal
from harness.clients.vault_audit import CORRELATION_HEADER, AuditDevice
from harness.clients.vault_connection import Connection
from harness.clients.vault_engines import VaultEngines, revealed
from harness.clients.vault_leases import VaultLeases
from harness.errors import RigError, SwapRefused, Unreachable
from harness.knowledge import refusals
from harness.rig.rig import Credentials, Reply
from harness.scenario.mount_kinds import CERT, TOKEN
from harness.scenario.topology import KV_V2
from harness.secret import Secret
from harness.wait import now, until

_TIMEOUT_SECONDS: Final = 30.0
_TOKEN_FIELDS: Final = ("client_token", "id", "token", "keys", "keys_base64", "root_token", "accessor")


class Vault(VaultEngines, TransitSeal, VaultLeases):
    """A Vault server at *address*; *ca* is the file that vouches for its certificate, None for plain HTTP.

    *certificate* is the files of the certificate and key by which it knows us, if it wants to know who asks. *name*
    tells its requests from those to other nodes of the same Vault, which are numbered alike. Until `initialise` (or
    *root*) there is no root token, and the calls that need one raise RigError.
    """

    def __init__(
        self,
        address: str,
        ca: Path | None,
        root: Secret | None = None,
        audit_file: str = "",
        certificate: tuple[Path, Path] | None = None,
        name: str = "",
        timeout: float | None = None,
    ) -> None:
        """*timeout* is how many seconds an answer is waited for; None: as long as is usual."""
        self.address = address
        self.ca, self.certificate = ca, certificate
        self.root = root
        self.shown: Secret | None = None
        """the client certificate that its connections show, with its key"""
        own = {"file_path": audit_file, "mode": "0600", "hmac_accessor": "true"}
        self.audit = {"rehearsal": AuditDevice("file", own)}
        self._timeout = _TIMEOUT_SECONDS if timeout is None else timeout
        self._called = f"rehearsal-{name}-" if name else "rehearsal-"
        self._numbers = itertools.count(1)

    def listens_plainly(self) -> None:
        """Take note that the server speaks plain HTTP from here on, at the same port and to whoever asks."""
        self.address = self.address.replace("https://", "http://", 1)
        self.ca = self.certificate = None

    def answers_as(self, other: Vault) -> None:
        """Take note that the server answers where *other* is asked from here on, and by the certificates of that."""
        self.address, self.ca, self.certificate = other.address, other.ca, other.certificate

    def health(self, *, standby: bool = False) -> Reply:
        """Ask sys/health. Its status says sealed (503), standby (429), not initialised (501) or active (200).

        *standby*: a standby is well, and says 200 as well.
        """
        return self._ask("get", f"sys/health{'?standbyok=true' if standby else ''}")

    def leader(self) -> Reply:
        """Ask sys/leader: whom this node takes for the leader, and how far it has come in the log of raft."""
        return self._ask("get", "sys/leader")

    def raft_peers(self) -> Reply:
        """Ask who is in the raft configuration, and who of them votes."""
        return self._ask("get", "sys/storage/raft/configuration", self.root)

    def autopilot(self) -> Reply:
        """Ask for the state that autopilot sees the nodes in: from 1.7.0 on."""
        return self._ask("get", "sys/storage/raft/autopilot/state", self.root)

    def vote_soon(self) -> Reply:
        """Have new nodes vote once they have been well for a second, and not for ten. Before 1.7.0 they do at once."""
        return self.write_back("sys/storage/raft/autopilot/configuration", {"server_stabilization_time": "1s"})

    def step_down(self) -> Reply:
        """Have the node that leads give that up. It does not stand for election for the next ten seconds."""
        return self._ask("put", "sys/step-down", self.root)

    def join_raft(self, leader: str, ca: str, certificate: str, key: Secret) -> Reply:
        """Have this node, which is not initialised, join the one at the address *leader*, by what both show, as PEM."""
        shown = {"leader_ca_cert": ca, "leader_client_cert": certificate, "leader_client_key": key.reveal()}
        return self._ask("put", "sys/storage/raft/join", json={"leader_api_addr": leader, **shown})

    def remove_peer(self, name: str) -> Reply:
        """Remove a node from the raft configuration."""
        return self._ask("post", "sys/storage/raft/remove-peer", self.root, json={"server_id": name})

    def seal_status(self) -> Reply:
        """Ask sys/seal-status, which every server that listens answers, with its version."""
        return self._ask("get", "sys/seal-status")

    def login(self, mount: str, role: str, jwt: Secret) -> Reply:
        """Log in at a Kubernetes auth mount with a service account token."""
        return self._ask("post", f"auth/{mount}/login", json={"role": role, "jwt": jwt.reveal()})

    def login_with(self, kind: str, mount: str, held: Credentials) -> Reply:
        """Log in at an auth mount of a *kind* that takes no tokens, with what somebody holds."""
        name = held.name.reveal() if isinstance(held.name, Secret) else held.name
        if kind == CERT:
            return self.showing(held.secret).login_as(mount, str(name))
        if kind == TOKEN:
            return self.create_token(str(name), held.secret)
        if kind == "userpass":
            return self._ask("post", f"auth/{mount}/login/{name}", json={"password": held.secret.reveal()})
        return self._ask("post", f"auth/{mount}/login", json={"role_id": name, "secret_id": held.secret.reveal()})

    def create_token(self, role: str, token: Secret, policies: Sequence[str] = ()) -> Reply:
        """Have a token made by a token role, with a *token* that may do so; no *policies*: all that the role has."""
        return self._ask("post", f"auth/token/create/{role}", token, json={"policies": [*policies]} if policies else {})

    def showing(self, certificate: Secret) -> Vault:
        """Return the same way to ask, over connections that show a client *certificate*: its key and it, as PEM."""
        other = copy.copy(self)
        other.shown = certificate
        return other

    def login_as(self, mount: str, role: str) -> Reply:
        """Log in to a role of a cert mount, by whatever certificate the connection shows."""
        return self._ask("post", f"auth/{mount}/login", json={"name": role})

    def lookup_self(self, token: Secret) -> Reply:
        """Ask what *token* is good for, and until when."""
        return self._ask("get", "auth/token/lookup-self", token)

    def renew_self(self, token: Secret) -> Reply:
        """Renew *token*."""
        return self._ask("post", "auth/token/renew-self", token, json={})

    def read_secret(self, path: str, token: Secret) -> Reply:
        """Read at a full API path. The answer's data keeps the names of the keys and not the values."""
        reply = self._ask("get", path, token)
        return _without_values(reply)

    def read_auth_config(self, mount: str) -> Reply:
        """Read auth/<mount>/config back."""
        return self._ask("get", f"auth/{mount}/config", self.root)

    def read_role(self, mount: str, role: str, folder: str = "role") -> Reply:
        """Read auth/<mount>/<folder>/<role> back."""
        return self._ask("get", f"auth/{mount}/{folder}/{role}", self.root)

    def write_back(self, path: str, fields: Mapping[str, Any]) -> Reply:
        """Write what was read at a full API path, as the administrator: a no is an answer."""
        return self._ask("post", path, self.root, json=dict(fields))

    def read_path(self, path: str) -> Reply:
        """Read at a full API path as the administrator. The answer's data keeps names and no values."""
        return _without_values(self._ask("get", path, self.root))

    def count(self, path: str) -> int | None:
        """Return how many entries the administrator is shown in the list at a full API path; None where Vault refuses.

        Raises Unreachable where it gives no answer.
        """
        response = self._send("list", path, self.root)
        if response.status_code == 404:
            return 0
        return len((_json(response).get("data") or {}).get("keys") or ()) if response.ok else None

    def make_root(self, keys: Sequence[Secret]) -> str:
        """Have the holders of unseal *keys* make a root token, which stays in here. Return why there is none, or "".

        As `vault operator generate-root` does: the token comes encoded with a one-time password.
        """
        begun = _json(self._send("put", "sys/generate-root/attempt", json={}))
        told = begun
        for key in keys:
            body = {"key": key.reveal(), "nonce": begun.get("nonce", "")}
            response = self._send("put", "sys/generate-root/update", json=body)
            told = _json(response)
            if response.status_code != 200 or told.get("complete"):
                break
        encoded = told.get("encoded_token") or told.get("encoded_root_token") or ""
        if not encoded or "otp" not in begun:
            return _in_a_line(_errors(told) or _errors(begun) or "the keys made no root token")
        hidden = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
        self.root = Secret("".join(chr(one ^ ord(other)) for one, other in zip(hidden, begun["otp"], strict=True)))
        return ""

    def initialise(self, shares: int, threshold: int, *, recovery: bool = False) -> Sequence[Secret]:
        """Initialise Vault and return its unseal keys, or its *recovery* keys: from 1.12 on it declines the others."""
        kind = "recovery" if recovery else "secret"
        response = self._send("put", "sys/init", json={f"{kind}_shares": shares, f"{kind}_threshold": threshold})
        body = _json(response)
        if response.status_code != 200:
            raise RigError(f"Vault would not initialise: HTTP {response.status_code} {_errors(body)}")
        if "root_token" not in body or "keys" not in body:
            raise RigError(
                f"Vault was to initialise, and its answer holds no keys: {response.text[:200]!r}; is something else "
                "listening on its port?"
            )
        self.root = Secret(body["root_token"])
        keys = "recovery_keys" if recovery else "keys"
        for key in body.get(f"{keys}_base64", ()):
            Secret(key)  # the same keys in another dress: known, so that redaction finds them
        return [Secret(key) for key in body.get(keys, ())]

    def unseal(self, key: Secret, *, migrate: bool = False) -> Reply:
        """Hand in one unseal key, or one recovery key; *migrate*: so that Vault migrates to another seal."""
        return self._ask("put", "sys/unseal", json={"key": key.reveal()} | ({"migrate": True} if migrate else {}))

    def seal(self) -> None:
        """Seal Vault, after which it writes nothing to its storage."""
        self._tell("put", "sys/seal", {})

    def take_snapshot(self, file: Path) -> int:
        """Have raft storage write a snapshot into the new *file* (0600), and return its size in bytes.

        Raises RigError with Vault's words where it declines, Unreachable where it gives no answer.
        """
        response = self._send("get", "sys/storage/raft/snapshot", self.root)
        if response.status_code != 200:
            said = _refusal(_json(response), response.text)
            raise RigError(f"Vault declined to take a snapshot: HTTP {response.status_code} {_in_a_line(said)}")
        content: bytes = response.content
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            target.write(content)
        return len(content)

    def restore_snapshot(self, file: Path) -> None:
        """Have raft storage replace everything by the snapshot in *file*, which was taken of this very Vault."""
        self._restore(file, "sys/storage/raft/snapshot", self.root)

    def begin_new(self, shares: int, threshold: int, died: Callable[[], str | None]) -> None:
        """Initialise the new Vault that answers, and wait until it is active; its keys are kept nowhere.

        *died* returns a sentence once it has ended. Raises ProcessDied then, RigError and NotReady.
        """
        for key in self.initialise(shares, threshold)[:threshold]:
            self.unseal(key)
        until(
            lambda: self.health().status == 200,
            what="the new Vault for the snapshot to be active",
            seconds=_TIMEOUT_SECONDS,
            died=died,
        )

    def restore_snapshot_of_another(self, file: Path, died: Callable[[], str | None]) -> None:
        """Have a Vault after `begin_new` replace everything in it by the snapshot of another in *file*.

        Afterwards it is sealed, and opens to the other's keys, if that has as many shares and the same threshold: it
        goes by those of its own until its next start. Its root token is the other's.
        """
        self._restore(file, "sys/storage/raft/snapshot-force", self.root)
        until(
            lambda: self.seal_status().data.get("sealed") is True,
            what="Vault to seal itself over the snapshot of another",
            seconds=_TIMEOUT_SECONDS,
            died=died,
        )

    def _restore(self, file: Path, path: str, token: Secret | None) -> None:
        response = self._send("post", path, token, data=file.read_bytes())
        if response.status_code in (200, 204):
            return
        said = _refusal(_json(response), response.text)
        answer = f"HTTP {response.status_code} {_in_a_line(said)}".rstrip()
        if refusals.says(response.status_code, said) == "not now":
            raise RigError(f"Vault was handed the snapshot to restore, and answered {answer}, which is no refusal")
        raise SwapRefused(f"Vault was handed the snapshot to restore, and declined it: {answer}")

    def enable_kv(self, path: str, version: int) -> None:
        """Mount kv-v1 or kv-v2. For a moment kv-v2 declines writes: it upgrades itself from v1 in the background."""
        self._tell("post", f"sys/mounts/{path}", {"type": "kv", "options": {"version": str(version)}})

    def write_secret(self, path: str, values: Mapping[str, Secret], *, version: int) -> None:
        """Write a secret of kv-v1 or kv-v2 at its full API path."""
        shown = revealed(values)
        self._tell("post", path, {"data": shown} if version == KV_V2 else shown)

    def write_policy(self, name: str, text: str) -> None:
        """Write an ACL policy."""
        self._tell("put", f"sys/policies/acl/{name}", {"policy": text})

    def enable_auth(self, mount: str, kind: str = "kubernetes") -> str:
        """Mount an auth method at *mount* and return the mount's accessor."""
        if kind != TOKEN:
            self._tell("post", f"sys/auth/{mount}", {"type": kind})
        mounts = _done(self._ask("get", "sys/auth", self.root), "list its auth mounts")
        return str(mounts.data[f"{mount}/"]["accessor"])

    def write_auth_config(self, mount: str, fields: Mapping[str, Any]) -> None:
        """Write auth/<mount>/config: a full replacement in every version."""
        self._tell("post", f"auth/{mount}/config", revealed(fields))

    def write_role(self, mount: str, name: str, fields: Mapping[str, Any], folder: str = "role") -> None:
        """Write a role, or what an auth method of another kind has in its place, at auth/<mount>/<folder>/<name>."""
        self._tell("post", f"auth/{mount}/{folder}/{name}", revealed(fields))

    def make_secret_id(self, mount: str, role: str) -> Credentials:
        """Have a new secret ID made for an AppRole, and return it with the role's ID."""
        path = f"auth/{mount}/role/{role}"
        known = _done(self._ask("get", f"{path}/role-id", self.root), f"tell {path}/role-id")
        made = _done(self._ask("post", f"{path}/secret-id", self.root, json={}), f"write {path}/secret-id")
        return Credentials(Secret(str(known.data["role_id"])), Secret(str(made.data["secret_id"])))

    def make_token(self, policy: str, *, period: str = "") -> Secret:
        """Return a new token that has one policy and no other, and lives for a month.

        With a *period* it may be renewed for ever, which is what the default policy lets its holder do.
        """
        lives = {"period": period} if period else {"no_default_policy": True, "ttl": "768h"}
        body = {"policies": [policy], **lives}
        made = _done(self._ask("post", "auth/token/create-orphan", self.root, json=body), "make a token")
        if made.token is None:
            raise RigError("Vault was to make a token, and its answer has none")
        return made.token

    def _tell(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        if self.root is None:
            raise RigError(f"Vault cannot be told {path}: it is not initialised, there is no root token")
        _done(self._ask(method, path, self.root, json=body), f"write {path}")

    def _ask(self, method: str, path: str, token: Secret | None = None, **body: Any) -> Reply:
        """Ask once and return the answer; no answer is a Reply without a status."""
        return self._exchange(method, path, token, **body)[0]

    def _exchange(
        self, method: str, path: str, token: Secret | None = None, **body: Any
    ) -> tuple[Reply, Mapping[str, Any]]:
        """Ask once and return the answer, and all that it said; no answer is a Reply without a status."""
        correlation = f"{self._called}{next(self._numbers):06d}"
        started = now()
        try:
            response = self._send(method, path, token, correlation, **body)
        except Unreachable as error:
            return Reply(None, str(error), started=started, ended=now(), correlation=correlation), {}
        ended = now()
        parsed = _json(response)
        issued = (parsed.get("auth") or {}).get("client_token")
        reply = Reply(
            status=response.status_code,
            error="" if response.ok else _refusal(parsed, response.text),
            data=_visible(parsed),
            token=Secret(issued) if issued else None,
            started=started,
            ended=ended,
            correlation=correlation,
            by=response.headers.get(NODE_HEADER, ""),
        )
        return reply, parsed

    def _send(self, method: str, path: str, token: Secret | None = None, correlation: str = "", **body: Any) -> Any:
        from hvac.adapters import RawAdapter

        adapter = RawAdapter(
            base_uri=self.address,
            token=token.reveal() if token else "",
            session=Connection(self.ca, self.certificate, self.shown),
            timeout=self._timeout,
            allow_redirects=False,
            ignore_exceptions=True,
        )
        headers = {CORRELATION_HEADER: correlation} if correlation else {}
        try:
            return adapter.request(method, f"/v1/{path}", headers=headers, **body)
        except Unreachable as error:
            raise Unreachable(f"Vault at {self.address} gave no answer to {path}: {error}") from None


def _done(reply: Reply, what: str) -> Reply:
    """Return *reply* if Vault did *what*. Raises Unreachable where no answer came, RigError where it was a no."""
    if reply.status is None:
        raise Unreachable(reply.error)
    if not reply.ok:
        raise RigError(f"Vault declined to {what}: HTTP {reply.status} {_in_a_line(reply.error)}")
    return reply


def _json(response: Any) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _errors(body: Mapping[str, Any]) -> str:
    return "; ".join(str(error) for error in body.get("errors") or ())


def _refusal(body: Mapping[str, Any], text: str) -> str:
    """Return Vault's words for a no. A status that says it all (a sealed Vault's health) comes without words."""
    return _errors(body) if body else text[:500]


def _in_a_line(words: str) -> str:
    """Return Vault's words for a sentence of ours: it lists several errors, or one, in lines."""
    return " ".join(words.split())


def _visible(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an answer that says something, without anything that could be used."""
    part = body.get("auth") or body.get("data") or {k: v for k, v in body.items() if k not in ("errors", "auth")}
    if not isinstance(part, dict):
        return {}
    return {name: value for name, value in part.items() if name not in _TOKEN_FIELDS}


def _without_values(reply: Reply) -> Reply:
    import msgspec

    data = reply.data.get("data")
    keys = sorted(data) if isinstance(data, dict) else []
    return msgspec.structs.replace(reply, data={"keys": keys} if keys else {})
