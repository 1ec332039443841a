"""What is known of an installation becomes a scenario: plain data, and for each part a comment on where it is from.

What nobody said stands there as an assumption that is named one, or as a variant in `matrix`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from harness.importing import policy_texts, provenance, role_fields
from harness.importing.clusters import Clusters, same_pem
from harness.importing.installation import OUTSIDE, Installation, Known, MountPart
from harness.importing.naming import Names
from harness.importing.provenance import Way, Ways
from harness.knowledge import kubernetes_auth, versions
from harness.scenario import auth_config, endpoints, mount_kinds, places, storage_state
from harness.scenario.mount_kinds import JWT, KUBERNETES
from harness.scenario.schema import SCHEMA
from harness.scenario.yaml_document import Trail

ASSUMED_VERSION: Final = "1.11.0"
"""Where nobody could say which Vault serves."""

REVIEWER: Final = "reviewer"
PLACE: Final = "vault-runs"
"""The axes of what nobody can see."""

_OPEN: Final = "NOT READ: "


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What only whoever asks can say."""

    source: str | None = None
    target: str | None = None
    via: tuple[str, ...] = ()


class Composed(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario as plain data, and its comments by place."""

    document: dict[str, Any]
    comments: dict[Trail, list[str]]


def compose(known: Known, wishes: Wishes, names: Names) -> Composed:
    """Return the scenario of what is *known*."""
    return _Composer(known, wishes, names).composed()


class _Composer:
    """Puts a scenario together, part by part."""

    def __init__(self, known: Known, wishes: Wishes, names: Names) -> None:
        self._known, self._wishes, self._names = known, wishes, names
        self._said: Installation = known.said
        self._source = wishes.source or self._said.vault.version or ASSUMED_VERSION
        self._clusters = Clusters(self._said, names)
        self._comments: dict[Trail, list[str]] = {}
        self._auth: dict[str, Any] = {}
        self._apps: dict[str, Any] = {}
        self._ways: dict[str, Ways] = {}

    def composed(self) -> Composed:
        """Return the whole of it."""
        self._prefer_names()
        for path in sorted(self._said.mounts):
            self._mount(path, self._said.mounts[path])
        if not self._apps:
            self._nobody()
        vault = self._vault()
        policies = policy_texts.of(self._said, self._names, self._auth)
        self._reads(policies)
        course: dict[str, Any] = {} if self._wishes.target else {"course": [{"look": {}}]}
        if course:
            self._note(("course",), "Nobody said where the upgrade goes (--target): everything is looked at twice.")
        document = {
            "schema": SCHEMA,
            "description": self._description(),
            "clusters": self._clusters_of_it(),
            "vault": vault,
            "auth": self._auth,
            "apps": self._apps,
            **({"policies": policies.texts} if policies.texts else {}),
            **({"secrets": policies.engines} if policies.engines else {}),
            **course,
            **self._matrix(),
        }
        for trail, said in policies.comments.items():
            self._note(trail, *said)
        self._head()
        return Composed(document=document, comments=self._comments)

    def _note(self, trail: Trail, *said: str) -> None:
        if said := tuple(one for one in said if one):
            self._comments.setdefault(trail, []).extend(said)

    def _prefer_names(self) -> None:
        """Give names that can stay what they are to whom they belong, before anybody is renamed to them."""
        for path, mount in sorted(self._said.mounts.items()):
            self._names.prefer("mount", path)
            for role in sorted(mount.roles):
                self._names.prefer("role", role, path)
        for policy in sorted(self._said.policies):
            self._names.prefer("policy", policy)

    def _head(self) -> None:
        known, used = self._known, sorted({one for said in self._known.sources.values() for one in said})
        where = f"{', '.join(used)}" if used else "nothing that answered"
        self._note(
            (),
            f"Imported by `rehearse import` from {self._names.text(where)}. Read what is marked NOT READ or assumed.",
            *(f"Missing: {self._names.text(str(gap))}" for gap in known.gaps),
            *(f"Contradiction: {self._names.text(str(one))}" for one in known.conflicts),
            *(f"Note: {self._names.text(one)}" for one in known.notes),
        )
        if self._axes():
            self._note((), "What nobody can see from outside is in matrix: `rehearse matrix FILE` tries every variant.")
        if self._names.redacts:
            self._note((), "Names are replaced by pseudonyms (--redact): one name has one pseudonym, in every file.")

    def _description(self) -> str:
        goal = f"to {self._wishes.target}" if self._wishes.target else "to a version that is still to be chosen"
        return (
            f"An installation as it was read: {versions.called(self._source)}, {len(self._auth)} auth mounts, "
            f"{len(self._apps)} apps.\nWhat does the upgrade {goal} do to those who log in?\n"
        )

    # --- Vault and its clusters ---

    def _vault(self) -> dict[str, Any]:
        said, names = self._said.vault, self._names
        here: Trail = ("vault",)
        self._note(here, f"From {names.text(self._known.of('vault') or 'nobody')}.")
        found: dict[str, Any] = {"source": self._source}
        if self._wishes.target:
            found |= {"target": self._wishes.target} | ({"via": list(self._wishes.via)} if self._wishes.via else {})
        if said.version is None and self._wishes.source is None:
            self._note((*here, "source"), f"{_OPEN}which Vault serves. Write it here, or say --source.")
        found |= self._place()
        found["storage"] = self._storage()
        if said.seal not in (None, "shamir"):
            self._note(
                here, f"Sealed by {said.seal}: this rehearses it with keys. Of seals it can have `seal: transit`."
            )
        if said.shares and said.threshold and (1 < said.threshold <= said.shares or said.shares == 1):
            found |= {"shares": said.shares, "threshold": said.threshold}
        if said.tls is False:
            found["tls"] = False
        if (said.nodes or 1) > 1 or (said.ha and said.nodes is None):
            many = f"It is highly available ({said.nodes or 'several'} nodes); this rehearses one node"
            shared = found["storage"] in storage_state.SERVERS
            nodes = "`nodes: 2` rehearses two, over one " if shared else "`nodes: 3` rehearses three, over "
            self._note(here, f"{many}. {nodes}{found['storage'] if shared else 'raft'}.")
        if said.served:
            self._note(here, f"Versions that ran here, as sys/version-history has it: {', '.join(said.served)}.")
        return found

    def _storage(self) -> str:
        said = self._said.vault.storage
        fits = versions.at_least(self._source, versions.RAFT_SINCE)
        if said in ("file", *storage_state.SERVERS):
            return said
        if not fits:
            return "file"
        if said not in ("raft", None):
            self._note(("vault", "storage"), f"Its storage is {said}, which no rehearsal has: raft instead.")
        if said is None:
            self._note(("vault", "storage"), f"{_OPEN}Vault's storage; raft is assumed.")
        return "raft"

    def _place(self) -> dict[str, Any]:
        """Return where Vault runs, which is a variant where nobody could say."""
        said = self._said.vault
        if said.cluster == OUTSIDE:
            return {}
        name = self._clusters.of_vault
        found: dict[str, Any] = {"cluster": name}
        if said.cluster is None:
            self._note(
                ("vault", "cluster"),
                f"{_OPEN}where Vault runs. See `{PLACE}` in matrix; --vault-in CLUSTER or --vault-in outside says it.",
            )
        if said.service_account is not None:
            found["service-account"] = self._names.account(said.service_account)
        part = self._clusters.part(name)
        may = part.may_review(said.service_account or places.DEFAULT_ACCOUNT) if part else None
        if may is False:
            found["may-review-tokens"] = False
        elif may is None:
            self._note(("vault",), "Assumed: its account is bound to system:auth-delegator in its own cluster.")
        if said.token_file is False:
            found["token-file"] = False
        return found

    def _clusters_of_it(self) -> dict[str, Any]:
        found = {}
        for name in self._clusters.names:
            document, said = self._clusters.document(name)
            found[name] = document
            self._note(("clusters", name), *said)
        return found

    # --- mounts and apps ---

    def _mount(self, path: str, mount: MountPart) -> None:
        kind = mount.type or KUBERNETES
        name, trail = self._names.of("mount", path), ("auth", self._names.of("mount", path))
        cluster = self._clusters.of_mount(path) if mount_kinds.of(kind).of_account else None
        notes = [f"From {self._names.text(self._known.of('mounts', path) or 'nobody')}."]
        if told := self._names.told("mount", path):
            notes.append(f"In Vault it is auth/{told}.")
        found: dict[str, Any] = {} if kind == KUBERNETES else {"type": kind}
        if cluster is not None:
            found["cluster"] = cluster
        if kind == KUBERNETES:
            found |= self._reviewed(path, mount, cluster or "", notes)
        elif kind == JWT:
            found |= self._signed(mount, cluster, notes)
        roles = self._roles(path, mount, kind, cluster, trail, notes)
        if not roles:
            why = "none of its roles could be read, or be had in a scenario"
            self._note((), f"auth/{self._names.text(path)} is left out: {why}.")
            self._ways.pop(name, None)
            return
        self._note(trail, *notes)
        self._auth[name] = found | {"roles": roles}

    def _reviewed(self, path: str, mount: MountPart, cluster: str, notes: list[str]) -> dict[str, Any]:
        """Return the config of a Kubernetes mount, and how it came to be."""
        name = self._names.of("mount", path)
        found = provenance.ways(mount, self._said, self._source)
        self._ways[name] = found
        part = self._clusters.part(cluster)
        fields = provenance.fields(found.first, mount, self._source, part)
        fields = self._named(fields)
        if mount.config is None:
            notes.append(f"{_OPEN}its config; host, CA and issuer of the cluster are assumed.")
        else:
            fields["config"] = self._config(mount, cluster, fields["configured"]["by"], notes)
        if found.others:
            notes.append(
                f"Its reviewer is not seen: this is {found.first}, and {', '.join(found.others)} are variants."
            )
            notes.append(provenance.find_out(self._names.text(path), found, self._source))
        elif found.told:
            notes.append("Who reviews, or who wrote the config, was said by whoever imported it.")
        return fields

    def _named(self, fields: dict[str, Any]) -> dict[str, Any]:
        account = fields.get("reviewer-service-account")
        return fields | ({"reviewer-service-account": self._names.account(account)} if account else {})

    def _config(self, mount: MountPart, cluster: str, writer: str, notes: list[str]) -> dict[str, Any]:
        said, found = mount.config or {}, dict[str, Any]()
        notes.append(f"Its API server is {self._names.text(str(said.get('kubernetes_host')))}.")
        found |= self._host(str(said.get("kubernetes_host") or ""), cluster, notes)
        found |= self._authority(str(said.get("kubernetes_ca_cert") or ""), cluster, notes)
        if said.get("pem_keys"):
            found["pem_keys"] = ["cluster"]
            notes.append("Its pem_keys are taken for those of the cluster.")
        if issuer := said.get("issuer"):
            found["issuer"] = self._clusters.issuer_word(cluster, str(issuer))
        for field in ("disable_iss_validation", "use_annotations_as_alias_metadata"):
            value = said.get(field)
            wanted = value is not None if field == "disable_iss_validation" else value
            if wanted and versions.at_least(writer, kubernetes_auth.field_since(field)):
                found[field] = value
        return found or {"kubernetes_host": "cluster"}

    def _host(self, host: str, cluster: str, notes: list[str]) -> dict[str, Any]:
        """Return the address as it stands there, if it is a name that only Pods know and Vault is in none."""
        if not endpoints.inside(host):
            return {}
        if self._said.vault.cluster == OUTSIDE:
            notes.append("Only Pods know that name, and Vault is in no cluster: nobody logs in here.")
            return {"kubernetes_host": host}
        if self._clusters.of_vault != cluster:
            notes.append(
                f"For Vault, in {self._clusters.of_vault}, that is the API server of its own cluster, which knows no "
                f"token of {cluster}; the address of that of {cluster} is taken here."
            )
        return {}

    def _authority(self, pem: str, cluster: str, notes: list[str]) -> dict[str, Any]:
        if not pem:
            return {"kubernetes_ca_cert": "omit"}
        part = self._clusters.part(cluster)
        if part is None or part.ca is None:
            notes.append("Assumed: its CA is that of the cluster.")
            return {}
        if same_pem(pem, part.ca):
            return {}
        other = self._clusters.with_ca(pem)
        if other is None:
            notes.append("Its CA is not the one by which the cluster was reached here; that of the cluster is assumed.")
            return {}
        return {"kubernetes_ca_cert": other}

    def _signed(self, mount: MountPart, cluster: str | None, notes: list[str]) -> dict[str, Any]:
        """Return the config of a JWT mount."""
        said, found = mount.config or {}, dict[str, Any]()
        if said.get("oidc_discovery_url") or said.get("jwks_url"):
            if cluster is not None:
                self._clusters.publish(cluster)
                notes.append("Its keys come from a URL, taken for that of its cluster, which anybody may read then.")
                return {"config": {"jwks_url": "cluster"} | self._bound_issuer(said, cluster)}
            notes.append("Its keys come from a URL; a rehearsal has those of a provider of its own in the config.")
        keys = [self._clusters.key_word(cluster, str(one)) for one in said.get("jwt_validation_pubkeys") or ()]
        found["jwt_validation_pubkeys"] = list(dict.fromkeys(keys)) or ["cluster" if cluster else mount_kinds.PROVIDER]
        return {"config": found | self._bound_issuer(said, cluster)}

    def _bound_issuer(self, said: Mapping[str, Any], cluster: str | None) -> dict[str, Any]:
        issuer = said.get("bound_issuer")
        if not issuer:
            return {}
        # an issuer that is no cluster's is the rehearsal's own provider there, under a name of its own
        word = self._clusters.issuer_word(cluster, str(issuer)) if cluster else mount_kinds.PROVIDER
        return {"bound_issuer": word}

    def _roles(
        self, path: str, mount: MountPart, kind: str, cluster: str | None, trail: Trail, notes: list[str]
    ) -> dict[str, Any]:
        found = {}
        for role in sorted(mount.roles):
            made = role_fields.translate(kind, mount.roles[role], self._names)
            if made.impossible:
                notes.append(f"Role {self._names.text(role)} is left out: {made.impossible}.")
                continue
            name = self._names.of("role", role, path)
            here = (*trail, "roles", name)
            if told := self._names.told("role", role, path):
                self._note(here, f"In Vault it is {told}.")
            self._note(here, *(f"{one[0].upper()}{one[1:]}." for one in made.notes))
            found[name] = made.role
            self._app(path, role, mount.roles[role], kind, cluster, made.role)
        return found

    def _app(
        self, path: str, role: str, said: Mapping[str, Any], kind: str, cluster: str | None, made: dict[str, Any]
    ) -> None:
        """Add one app that logs in with a role."""
        alone = sum(role.lower() in map(str.lower, one.roles) for one in self._said.mounts.values()) == 1
        name = self._names.of("app", role if alone else f"{role}-{path}")
        entry: dict[str, Any] = {"mount": self._names.of("mount", path), "role": self._names.of("role", role, path)}
        if kind == KUBERNETES:
            entry |= self._account(said, cluster or "", ("apps", name))
        elif kind == JWT:
            name, entry = self._of_jwt(name, said, cluster, made, entry)
        if kind in (KUBERNETES, JWT):
            audience = made.get("audience") or next(iter(made.get("bound-audiences") or ()), None)
            entry |= {"audience": audience} if audience else {}
        self._apps[name] = entry

    def _account(self, said: Mapping[str, Any], cluster: str, trail: Trail) -> dict[str, Any]:
        part = self._clusters.part(cluster)
        fitting = role_fields.accounts_that_fit(said, part)
        account = fitting[0] if fitting else role_fields.wished(said)
        if part is not None and part.accounts is not None:
            if not fitting:
                self._note(trail, "No service account of the cluster fits its role: this one is made up.")
            elif len(fitting) > 1:
                self._note(trail, f"One of {len(fitting)} service accounts that fit its role.")
        may = part.may_review(account) if part else None
        if may is None:
            self._note(trail, "Assumed: its account may review tokens (is bound to system:auth-delegator).")
        found = {"cluster": cluster, "service-account": self._names.account(account)}
        return found | ({"may-review-tokens": True} if may is not False else {})

    def _of_jwt(
        self, name: str, said: Mapping[str, Any], cluster: str | None, made: dict[str, Any], entry: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Return the app of a JWT role: with the token of a service account, or one that is minted elsewhere."""
        if cluster is None:
            subject = str(made.get("bound-subject") or name)
            name = subject if role_fields.is_name(subject) else name
            if "bound-subject" in made:
                made["bound-subject"] = name  # whose token is minted has its name as subject
            return name, entry | {"token": "minted"}
        account = role_fields.account_of_subject(said.get("bound_subject"))
        if not account:
            account = f"apps/{name}"
            self._note(("apps", name), "Assumed: its service account; the role does not name one.")
        return name, entry | {"cluster": cluster, "service-account": self._names.account(account)}

    def _nobody(self) -> None:
        """Have something stand where no mount could be read, so that it can be filled in."""
        self._note(
            ("auth",), f"{_OPEN}any auth mount with a role. What stands here is an EXAMPLE, and nothing of yours."
        )
        cluster = self._clusters.any_cluster()
        role = {"service-accounts": ["example"], "namespaces": ["example"], "policies": ["example"]}
        self._auth["kubernetes"] = {"cluster": cluster, "roles": {"example": role}}
        self._apps["example"] = {
            "mount": "kubernetes", "role": "example", "cluster": cluster, "service-account": "example/example",
            "may-review-tokens": True,
        }  # fmt: skip

    def _reads(self, policies: policy_texts.Policies) -> None:
        """Have each app read secrets that its role's policies let it read."""
        for entry in self._apps.values():
            role = self._auth[entry["mount"]]["roles"][entry["role"]]
            if secrets := policies.readable(role.get("policies") or ()):
                entry["reads"] = secrets

    # --- what nobody can see ---

    def _axes(self) -> dict[str, Any]:
        axes: dict[str, Any] = {}
        if any(found.others for found in self._ways.values()):
            axes[REVIEWER] = self._reviewers()
        if self._said.vault.cluster is None:
            homes: dict[str, Any] = {"in-a-cluster-of-its-own": {}}
            for name in self._clusters.of_mounts():
                homes[f"in-{name}"] = {"vault.cluster": name}
            axes[PLACE] = homes | {"outside-any-cluster": {"vault.cluster": None}}
        return axes

    def _reviewers(self) -> dict[str, Any]:
        """Return the axis of reviewers: each value changes all mounts that may have it, since they are independent."""
        axis: dict[str, Any] = {"as-written": {}}
        paths = {self._names.of("mount", path): path for path in self._said.mounts}
        for way in provenance.WAYS:
            changes: dict[str, Any] = {}
            for name, found in self._ways.items():
                if way in found.others:
                    changes |= self._changes(name, self._said.mounts[paths[name]], way, found.first)
            if changes:
                axis[way] = changes
        return axis

    def _changes(self, name: str, mount: MountPart, way: Way, first: Way) -> dict[str, Any]:
        part = self._clusters.part(str(self._auth[name].get("cluster")))
        wanted = self._named(provenance.fields(way, mount, self._source, part))
        before = self._auth[name]
        keys = ("configured", "reviewer", "reviewer-service-account", "reviewer-may-review-tokens")
        changes = {f"auth.{name}.{key}": wanted.get(key) for key in keys if wanted.get(key) != before.get(key)}
        if first == "client-jwt" and way in auth_config.STORED:
            changes[f"auth.{name}.config.disable_local_ca_jwt"] = True
        return changes

    def _matrix(self) -> dict[str, Any]:
        axes = self._axes()
        if not axes:
            return {}
        copies = [way for way in ("copied", "pod-token") if way in axes.get(REVIEWER, {})]
        for value in axes.get(REVIEWER, {}):
            self._note(("matrix", "axes", REVIEWER, value), provenance.MEANING.get(value, ""))
        exclude: Sequence[Any] = ()
        if PLACE in axes and copies:
            where = {PLACE: "outside-any-cluster", REVIEWER: copies}
            exclude = [{"where": where, "because": "a Vault outside any cluster has no pod's token to copy"}]
        return {"matrix": {"axes": axes} | ({"exclude": list(exclude)} if exclude else {})}
