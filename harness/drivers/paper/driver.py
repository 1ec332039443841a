"""Plans made real on paper: no server, every answer worked out from what this project knows of Vault.

For tests, for planning and for the first five minutes. It can be told to grant, refuse or stay silent. It proves
nothing about Vault: what it answers is what `knowledge` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from harness import wait
from harness.drivers import service_accounts
from harness.drivers.paper import checks
from harness.drivers.paper.agents import PaperAgents
from harness.drivers.paper.answers import Script
from harness.drivers.paper.checks import ca_of, key_of
from harness.drivers.paper.engines import PaperEngines
from harness.drivers.paper.kubernetes import PaperKubernetes
from harness.drivers.paper.nodes import PaperNodes
from harness.drivers.paper.seals import PaperSeals
from harness.drivers.paper.state import (
    Common,
    Config,
    Token,
    VaultToken,
    copied,
    forget_keys,
    host_of,
    issued_to,
    without_config,
)
from harness.drivers.paper.storage import PaperStorage
from harness.drivers.paper.storms import PaperStorms
from harness.drivers.service_accounts import Account, token_event
from harness.errors import RigError
from harness.knowledge import kubernetes_auth, vault_policies
from harness.knowledge.versions import at_least
from harness.record import events
from harness.record.journal import Journal
from harness.rig.rig import ClusterFacts, Credentials, Endpoint, IssuedToken, Reopen, Reply, Rig
from harness.scenario import driver_traits
from harness.scenario.course import Move, Serve
from harness.scenario.mount_kinds import KUBERNETES
from harness.scenario.plan import Plan
from harness.scenario.values import addressed
from harness.secret import Secret
from harness.wait import now

_NO_SCRIPT: Final[Script] = {}


class PaperDriver:
    """Answers from knowledge; *script* overrides single answers, *dies_at* is a version that ends after its swap."""

    name = driver_traits.PAPER.name
    traits = driver_traits.PAPER

    def __init__(self, script: Script = _NO_SCRIPT, dies_at: str = "") -> None:
        self._script = script
        self._dies_at = dies_at

    @contextmanager
    def up(self, plan: Plan, run_id: str, journal: Journal) -> Iterator[Rig]:
        """Yield a system on paper at the plan's first version."""
        del run_id
        with wait.nothing_changes():
            yield PaperRig(plan, journal, self._script, self._dies_at)


class PaperRig(PaperKubernetes, PaperStorage, PaperEngines, PaperSeals, PaperNodes, PaperAgents, PaperStorms):
    """One system on paper, and a Vault of it. It is its own Vault client: there is nothing in between.

    Each further Vault is another one of these, over the same clusters and accounts.
    """

    def __init__(
        self, plan: Plan, journal: Journal, script: Script, dies_at: str, name: str = "", common: Common | None = None
    ) -> None:
        """*name* is that of its Vault. *common* is what the Vaults of one system share; the first of them makes it."""
        PaperStorage.__init__(self)
        PaperNodes.__init__(self)
        PaperAgents.__init__(self)
        self._topology, self._journal, self._script, self._dies_at = plan.resolved, journal, script, dies_at
        self._name = self._topology.name_of(name)
        self._spec = self._topology.vaults[self._name]
        PaperSeals.__init__(self)
        self._home = self._spec.cluster
        self._pod, *_ = self._topology.pod_purposes(self._name)
        self._called = self._topology.told_apart(self._name)
        served = (step for step in plan.steps if isinstance(step, Serve))
        self._served: Serve = next(step for step in served if step.vault == self._called)
        self._sealed, self._dead = True, ""
        self._connected: set[tuple[str, str]] = set()
        """the mounts that have a connection to an API server, each with its address"""
        self._shown: set[str] = set()
        self._vault_tokens: dict[str, VaultToken] = {}
        self._ever_given: dict[str, VaultToken] = {}
        self._entities: dict[tuple[str, str], dict[str, str | None]] = {}
        self._policies: dict[str, list[vault_policies.Rule]] = {}
        self._secrets: set[str] = set()
        self._snapshot: tuple[dict[str, Config], dict[str, VaultToken], set[str]] = ({}, {}, set())
        self._common = common or Common(service_accounts.wanted(self._topology))
        self._numbers, self._pending = self._common.numbers, self._common.pending
        self._accounts, self._tokens = self._common.accounts, self._common.tokens
        self._vaults: dict[str, PaperRig] = {self._name: self}
        if common is not None:
            return
        for cluster, wanted in self._topology.clusters.items():
            issuers = addressed(wanted.issuers, host_of(cluster))
            self._common.add(cluster, wanted, issuers, key_of(cluster, wanted.signing_algorithm))
            up = events.ClusterUp(
                cluster=cluster,
                version=wanted.kubernetes,
                issuer=issuers[0],
                issuers=issuers,
                publishes_keys=wanted.publishes_keys,
            )
            journal.write(up)
        self._tokens |= {one.purpose: self._issue(one) for one in self._accounts if not one.on_demand}
        for other in list(self._topology.vaults)[1:]:
            self._vaults[other] = PaperRig(plan, journal, script, dies_at, other, self._common)

    @property
    def _configs(self) -> dict[str, Config]:
        return self._common.configs.setdefault(self._name, {})

    @_configs.setter
    def _configs(self, configs: dict[str, Config]) -> None:
        self._common.configs[self._name] = configs

    def system(self, vault: str = "") -> PaperRig:
        """Return a Vault by its name."""
        if vault not in ("", *self._vaults):
            raise RigError(f"there is no Vault {vault}; there are {', '.join(self._vaults)}")
        return self._vaults[self._topology.name_of(vault)]

    @property
    def vault(self) -> PaperRig:
        """Return the way to ask Vault."""
        return self

    @property
    def setup(self) -> PaperRig:
        """Return the way to write into Vault."""
        return self

    # --- the system around Vault

    def cluster(self, name: str) -> ClusterFacts:
        """Return a cluster."""
        version, issuer = self._common.kubernetes[name], self._common.issuers[name][0]
        keys = tuple(self._common.keys[name])
        return ClusterFacts(name, version, host_of(name), self._ca(name), issuer, keys)

    def proxy(self, cluster: str, word: str) -> Endpoint:
        """Return a proxy."""
        return Endpoint(checks.proxy_of(cluster, word), ca_of(checks.proxy_of(cluster, word)))

    def await_clusters(self) -> None:
        """Return at once: paper is always ready."""

    def await_token_file(self) -> None:
        """Return at once: paper is always ready."""

    def app_token(self, app: str) -> IssuedToken:
        """Return the app's token."""
        return self._tokens[f"app:{app}"].issued

    def stranger_token(self, app: str, probe: str) -> IssuedToken:
        """Return a token that is not the app's."""
        return self._tokens[f"{probe}:{app}"].issued

    def reviewer_token(self, mount: str, kind: str, seconds: int) -> IssuedToken:
        """Return the token to store as the mount's reviewer."""
        purpose = f"reviewer:{mount}"
        if kind == "pod-token":
            pod, *_ = self._topology.pod_purposes(self._topology.mounts[mount].vault)
            copy = msgspec.structs.replace(self._tokens[pod].issued, purpose=purpose)
            self._journal.write(token_event(copy))
            return copy
        if kind != "requested":
            return self._tokens[purpose].issued
        account = next(one for one in self._accounts if one.purpose == purpose)
        unbound = msgspec.structs.replace(account, long_lived=False, on_demand=True, token_seconds=seconds)
        token = self._tokens[f"{purpose} {next(self._numbers)}"] = self._issue(unbound)
        return token.issued

    def open_to_all(self) -> None:
        """Do nothing: on paper there is nobody else."""

    def swap(self, served: Serve) -> None:
        """Put the next version in place; Vault's Pod is replaced and its old token dies."""
        self.make_devices(served)
        self._served, self._sealed = served, True
        forget_keys(self._configs)
        self._put_in_place(served, self._pod)
        self._revoke_by_clock()
        self._unseal_itself()

    def _put_in_place(self, served: Serve, pod: str) -> None:
        self.connect_anew(starts=True)
        self._insist_that_it_starts(served)
        self.revoke_ended()
        old = self._tokens.pop(pod, None)
        account = old.account if old is not None else None
        if isinstance(served, Move):
            self._home = served.place.cluster
            account = service_accounts.moved(self._accounts, pod, served.place)
        if account is not None:
            self._tokens[pod] = self._issue(account)
        if old is not None:
            old.alive = False
            new = self._tokens[pod].issued if account is not None else None
            self._journal.write(
                events.PodReplaced(
                    cluster=old.account.cluster,
                    old_pod=old.issued.pod,
                    old_uid=old.issued.pod_uid,
                    new_pod=new.pod if new else "",
                    new_uid=new.pod_uid if new else "",
                    vault=served.vault,
                    node=served.node,
                )
            )

    def expect_way_back(self, served: Serve) -> None:
        """Do nothing: on paper nothing takes time."""

    def swap_over_snapshot(self, served: Serve) -> float:
        """Put another version in place over what the snapshot has."""
        self.swap(served)
        self._bring_back()
        return 0.0

    def take_snapshot(self, again: Reopen) -> int:
        """Keep the configs, the roles and the tokens that there are."""
        del again
        self._snapshot = (copied(self._configs), dict(self._vault_tokens), set(self._secrets))
        return 0

    def restore_snapshot(self, again: Reopen) -> None:
        """Bring them back."""
        del again
        self._bring_back()

    def _bring_back(self) -> None:
        configs, tokens, secrets = self._snapshot
        self._configs, self._secrets = copied(configs), set(secrets)
        # a batch token is in no storage: whoever has the keys by which it was made knows it
        batch = {text: held for text, held in self._ever_given.items() if held.kind == "batch"}
        self._vault_tokens = {**tokens, **batch}

    def settle(self, *, stored: bool) -> None:
        """Return at once: paper has no caches."""

    def broken(self) -> str | None:
        """Return nothing: paper does not break."""

    def vault_died(self) -> str | None:
        """Return a sentence if the script ended Vault."""
        return self._dead or None

    # --- Vault, asked

    def health(self, *, standby: bool = False) -> Reply:
        """Answer as an active or a sealed Vault."""
        del standby
        clock = {"server_time_utc": int(now()) + self._ahead} if self._ahead else {}
        return self._reply(503 if self._sealed else 200, data={"sealed": self._sealed, "initialized": True, **clock})

    def read_auth_config(self, mount: str) -> Reply:
        """Return the config as written."""
        reviews, first = self._topology.mounts[mount].of_kind.reviews, self._read_first(mount)
        if reviews and first and (unshown := checks.unshown(self._served.version, self._configs[mount], self._seen_ca)):
            return self._reply(*unshown)
        config, hidden = self._configs[mount], ("token_reviewer_jwt", "kubernetes_ca_cert")
        shown = {k: v for k, v in config.fields.items() if k not in hidden}
        if reviews and at_least(self._served.version, kubernetes_auth.KNOWS_ISSUER_OPTION):
            shown["disable_iss_validation"] = config.validation_disabled
        return self._reply(200, data=shown)

    def read_role(self, mount: str, role: str, folder: str = "role") -> Reply:
        """Return the role as written."""
        del folder
        found, named = self._configs[mount].roles.get(role.lower()), self._aliases(mount, "")
        return self._reply(404) if found is None else self._reply(200, data={**named, **found})

    def _aliases(self, mount: str, by: str) -> dict[str, str]:
        return checks.aliases(self._served.version, self._topology.mounts[mount].kind, by)

    def read_path(self, path: str) -> Reply:
        """Answer as kv-v2, asked by the administrator."""
        return self._reply(200) if path in self._secrets else self._reply(404)

    def write_back(self, path: str, fields: Mapping[str, Any]) -> Reply:
        """Take what was read, and with it what paper does not show of a config: its CA."""
        mount, _, role = path.removeprefix("auth/").partition("/role/")
        if role:
            if declined := checks.declined(self._served.version, fields):
                return self._reply(400, declined)
            self.write_role(mount, role, fields)
            return self._reply(204)
        mount = mount.removesuffix("/config")
        kept = self._configs[mount].fields
        if checks.undecoded(self._served.version, str(kept.get("kubernetes_ca_cert", ""))):
            return self._reply(400, kubernetes_auth.NO_CA)
        self.write_auth_config(mount, {**fields, **{k: v for k, v in kept.items() if k == "kubernetes_ca_cert"}})
        return self._reply(204)

    # --- Vault, told

    def initialise(self, shares: int, threshold: int, *, recovery: bool = False) -> Sequence[Secret]:
        """Return keys; one of them opens paper."""
        del threshold
        self._sealed = not recovery
        return [Secret(f"paper-key-{number:020d}") for number in range(shares)]

    def enable_kv(self, path: str, version: int) -> None:
        """Do nothing: every secret is there."""
        del path, version

    def write_secret(self, path: str, values: Mapping[str, Secret], *, version: int) -> None:
        """Take note of it. What the apps read is there anyhow."""
        del values, version
        self._secrets.add(path)

    def write_policy(self, name: str, text: str) -> None:
        """Keep what the policy says."""
        self._policies[name.lower()] = vault_policies.read(name, text)

    def enable_auth(self, mount: str, kind: str = KUBERNETES) -> str:
        """Return an accessor."""
        return f"auth_{kind}_{mount}"

    def write_role(self, mount: str, name: str, fields: Mapping[str, Any], folder: str = "role") -> None:
        """Keep the role, and of a user the password. What is not written stays as it was."""
        del folder
        kept, config = dict(fields), self._configs.setdefault(mount, without_config())
        password = kept.pop("password", None)
        if isinstance(password, Secret):
            config.secrets[name.lower()] = Credentials(name.lower(), password)
        before = config.roles.get(name.lower(), {})
        config.roles[name.lower()] = {**self._aliases(mount, "serviceaccount_uid"), **before, **kept}

    # --- tokens of service accounts

    def _find(self, jwt: Secret) -> Token | None:
        """Return the token that *jwt* is; None where nobody issued it."""
        return next((token for token in self._tokens.values() if token.issued.jwt == jwt), None)

    def _named(self, jwt: Secret) -> Token:
        """Return the token that an altered *jwt* claims to be: all but its signature."""
        head = jwt.reveal().rpartition(".")[0]
        return next(token for token in self._tokens.values() if token.issued.jwt.reveal().startswith(head + "."))

    def _issue(self, account: Account) -> Token:
        issuers, (key, *_) = self._common.issuers[account.cluster], self._common.keys[account.cluster]
        token = issued_to(account, next(self._numbers), issuers, key, self._topology)
        self._journal.write(token_event(token.issued))
        return token
