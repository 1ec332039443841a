"""What a record says about its topology and its configs, put so that a rule can ask for it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from harness.analysis import correlation, moves, stopping
from harness.analysis.correlation import Evidence, EvidenceLine, Joined, Review
from harness.knowledge import kubernetes_auth, token_store, versions
from harness.knowledge.kubernetes_auth import Bearer, Stored
from harness.record.events import (
    ClusterChanged,
    ClusterUp,
    ConfigWritten,
    MomentBegan,
    RoleWritten,
    StepEnded,
    TokenIssued,
    VaultServing,
)
from harness.record.journal import NotARecord, Record
from harness.record.observation import Observation
from harness.scenario import course, plan, role_spec, topology, values
from harness.scenario.app_spec import AppSpec
from harness.scenario.course import AnyStep, Look, Move, RollBack, Serve
from harness.scenario.moments import BEFORE
from harness.scenario.topology import Asked, MountSpec, Topology, VaultSpec

_NO_EVIDENCE = Evidence()
T = TypeVar("T")


class Facts:
    """A record, read for judging. Nothing here changes it, and nothing here reaches outside it.

    Raises NotARecord where its scenario is none.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        planned = record.started.plan
        try:
            self.topology: Topology = planned.topology or _typed(topology.recorded(record.started.scenario))
            self.asked: Asked = planned.asked or topology.asked_of(record.started.scenario)
        except (LookupError, ValueError, TypeError, AttributeError, StopIteration) as error:
            raise NotARecord(f"{record.directory} is no record of a run: its scenario is none ({error!r})") from error
        self.steps = planned.steps or plan.steps_of(planned.stages)
        self.moments = {moment.label: moment for moment in course.moments(self.steps)}
        self.observations: list[Observation] = stopping.trusted(record)
        self._bearers: dict[tuple[str, str, str], Bearer] = {}
        self._firsts: dict[str, dict[tuple[str, str, str], Observation]] = {}

    @cached_property
    def evidence(self) -> Joined:
        """Return the evidence of every observation that has any."""
        return correlation.join(self.record)

    @property
    def first_moment(self) -> str:
        """Return the label of the moment before anything was changed."""
        return next(iter(self.moments), BEFORE)

    @cached_property
    def undertaking(self) -> str:
        """Return what is done after the first look, in two words: not every course upgrades something."""
        first = next((number for number, step in enumerate(self.steps) if isinstance(step, Look)), 0)
        done = [step for step in self.steps[first:] if not isinstance(step, Look)]
        served = {(step.vault, step.node): step.version for step in self.steps[:first] if isinstance(step, Serve)}
        if any(isinstance(step, Serve) and served.get((step.vault, step.node)) != step.version for step in done):
            return "the upgrade"
        if any(isinstance(step, Move) for step in done):
            return "the move"
        return "the restart" if done and all(isinstance(step, Serve) for step in done) else "the course"

    def steps_before(self, moment: str) -> list[AnyStep]:
        """Return the steps between the moment of this label and the moment before it."""
        between: list[AnyStep] = []
        for step in self.steps:
            if isinstance(step, Look):
                if step.moment.label == moment:
                    return between
                between = []
            else:
                between.append(step)
        return []

    def between(self, earlier: str, later: str) -> Iterator[AnyStep]:
        """Yield the steps from the moment of one label to that of a later one."""
        on = False
        for step in self.steps:
            if isinstance(step, Look):
                if on and step.moment.label == later:
                    return
                on = on or step.moment.label == earlier
            elif on:
                yield step

    def moment_after(self, index: int) -> str:
        """Return the label of the first moment after the step at *index* and before Vault is replaced again, or ""."""
        for step in self.steps[index + 1 :]:
            if isinstance(step, Look):
                return step.moment.label
            if isinstance(step, Serve):
                return ""
        return ""

    @cached_property
    def writes(self) -> dict[str, list[tuple[int, ConfigWritten]]]:
        """Return every config that each mount had, in order, each with the line of the record that tells it."""
        found: dict[str, list[tuple[int, ConfigWritten]]] = {}
        for line, written in self.record.numbered(ConfigWritten):
            found.setdefault(written.mount, []).append((line, written))
        return found

    def written_at(self, seen: Observation) -> tuple[int, ConfigWritten] | None:
        """Return the config that the mount of *seen* had then, with its line in the record; None: it had none yet.

        A mount's config may be written again later, which explains nothing of what was seen before; and a snapshot that
        is put in place brings back the config of its time.
        """
        found = _latest(self._held.get(seen.mount, []), self.line_of[seen.id])
        return found[1] if found is not None else None

    @cached_property
    def _held(self) -> dict[str, list[tuple[int, tuple[int, ConfigWritten]]]]:
        """Return what config each mount came to have, in order: at which line, and the config with its own line.

        A mount that a snapshot does not know has none afterwards, and nobody asks of one that is not there.
        """
        held: dict[str, list[tuple[int, tuple[int, ConfigWritten]]]] = {}
        now: dict[str, tuple[int, ConfigWritten]] = {}
        then: dict[str, tuple[int, ConfigWritten]] = {}
        ways = iter([step for step in self.steps if isinstance(step, RollBack)])
        for line, event in self.record.numbered(ConfigWritten, StepEnded):
            if isinstance(event, ConfigWritten):
                now[event.mount] = (line, event)
                held.setdefault(event.mount, []).append((line, now[event.mount]))
                continue
            mine = self.topology.mounts_of(event.vault)
            if event.do == "snapshot":
                then = {mount: config for mount, config in then.items() if mount not in mine}
                then |= {mount: config for mount, config in now.items() if mount in mine}
            elif event.do == "restore" or (event.do == "roll-back" and _is_over_snapshot(next(ways, None))):
                now = {mount: config for mount, config in now.items() if mount not in mine}
                for mount, config in then.items():
                    if mount in mine:
                        now[mount] = config
                        held[mount].append((line, config))
        return held

    @cached_property
    def tokens(self) -> list[tuple[int, TokenIssued]]:
        """Return every service account token that was issued, with its line in the record."""
        return list(self.record.numbered(TokenIssued))

    @cached_property
    def token_file(self) -> dict[str, bool]:
        """Return, by moment, whether a pod token was readable for the first Vault."""
        return {began.moment: began.token_file for began in self.record.of(MomentBegan)}

    def token_file_at(self, seen: Observation) -> bool:
        """Return whether a pod token was readable for the Vault that *seen* was asked of."""
        if len(self.topology.vaults) == 1 and not seen.node:
            return self.token_file.get(seen.moment, False)
        name = self.topology.name_of(seen.vault)
        served = [
            (line, one.token_file)
            for line, one in self._served
            if self.topology.name_of(one.vault) == name and (not seen.node or one.node in ("", seen.node))
        ]
        found = _latest(served, self.line_of[seen.id])
        return found is not None and found[1]

    @cached_property
    def _served(self) -> list[tuple[int, VaultServing]]:
        return list(self.record.numbered(VaultServing))

    @cached_property
    def line_of(self) -> dict[int, int]:
        """Return the line of the record on which each observation stands, by the observation's number."""
        return dict(zip((seen.id for seen in self.observations), self.record.numbers(Observation), strict=True))

    def first(self, probe: str, app: str, moment: str, item: str = "") -> Observation | None:
        """Return the first answer to a probe for an app at a moment (with *item*: about that), or None."""
        if probe not in self._firsts:
            asked = [seen for seen in self.observations if seen.probe == probe]
            self._firsts[probe] = {(o.app, o.moment, about): o for o in reversed(asked) for about in ("", o.item)}
        return self._firsts[probe].get((app, moment, item))

    @cached_property
    def of_app(self) -> dict[str, list[Observation]]:
        """Return every answer to each app, in order. Of a thousand apps each has few among all."""
        found: dict[str, list[Observation]] = {}
        for seen in self.observations:
            found.setdefault(seen.app, []).append(seen)
        return found

    @cached_property
    def sidecars(self) -> dict[str, list[Observation]]:
        """Return, by app, what the agent that runs on beside it was found to do, in order."""
        return {app: [seen for seen in of_it if seen.probe == "sidecar"] for app, of_it in self.of_app.items()}

    @cached_property
    def of_mount(self) -> dict[tuple[str, str], list[Observation]]:
        """Return, by (mount, moment), every answer of a mount then, in order."""
        found: dict[tuple[str, str], list[Observation]] = {}
        for seen in self.observations:
            found.setdefault((seen.mount, seen.moment), []).append(seen)
        return found

    @cached_property
    def configs_read(self) -> dict[tuple[str, str], Observation]:
        """Return, by (mount, moment), the last answer to a read of the mount's config."""
        return {(seen.mount, seen.moment): seen for seen in self.observations if seen.probe == "auth-config"}

    @cached_property
    def reads_lost(self) -> dict[tuple[str, str], Observation]:
        """Return, by (app, moment), the first read with an old token that is refused then and was granted before."""
        reads = [seen for seen in self.observations if seen.probe == "old-token-read"]
        granted = {
            (seen.app, seen.item) for seen in reads if seen.moment == self.first_moment and seen.answer == "granted"
        }
        lost = [seen for seen in reads if seen.answer == "refused" and (seen.app, seen.item) in granted]
        return {(seen.app, seen.moment): seen for seen in reversed(lost)}

    @cached_property
    def _tokens_for(self) -> dict[str, list[tuple[int, TokenIssued]]]:
        found: dict[str, list[tuple[int, TokenIssued]]] = {}
        for line, token in self.tokens:
            found.setdefault(token.purpose, []).append((line, token))
        return found

    def evidence_of(self, seen: Observation) -> Evidence:
        """Return what belongs to one observation; where nothing was found, an Evidence that is empty."""
        return self.evidence.get(seen.id, _NO_EVIDENCE)

    def review_of(self, seen: Observation) -> Review | None:
        """Return the TokenReview of one observation, or None. Of all evidence, this alone is asked for everywhere."""
        return self.evidence.review(seen.id)

    def app(self, name: str) -> AppSpec:
        """Return an app of the topology."""
        return self.topology.apps[name]

    def mount(self, path: str) -> MountSpec:
        """Return an auth mount of the topology."""
        return self.topology.mounts[path]

    def role(self, app: str) -> role_spec.RoleSpec:
        """Return the role that an app logs in with."""
        return self.topology.role_of(app)

    @cached_property
    def _roles_written(self) -> dict[tuple[str, str], RoleWritten]:
        return {(written.mount, written.role): written for written in self.record.of(RoleWritten)}

    def token_ttl(self, app: str) -> tuple[int, str]:
        """Return for how many seconds a Vault token of *app* lives without renewal, and how that is known.

        What Vault said of such a token comes first, then what was written to the role, then Vault's own default.
        """
        written = self._roles_written.get((self.app(app).mount, self.app(app).role))
        role = self.role(app)
        given = role.period or role.ttl or (str(written.fields.get("token_ttl", "")) if written else "")
        # without a ttl it lives until its fixed end, if that is nearer than Vault's default
        given = given or role.explicit_max_ttl or ""
        why = "" if given else "Vault's own default, as the role has no ttl"
        for probe in ("token-lookup", "old-token-lookup"):
            seen = self.first(probe, app, self.first_moment)
            said: Any = seen.detail.get("creation_ttl") if seen is not None else None
            if isinstance(said, int) and said > 0:
                return said, why
        return values.seconds(given or token_store.DEFAULT_TTL), why

    def subject(self, app: str) -> str:
        """Return the Kubernetes user that an app's token stands for."""
        return self.app(app).subject

    def vault_at(self, mount: str, moment: str) -> VaultSpec:
        """Return the Vault at which there is this auth mount, as it is at the look of a label: it may move."""
        name = self.topology.mounts[mount].vault
        return self._placed.get(moment, self.topology.vaults)[name]

    @cached_property
    def _placed(self) -> dict[str, dict[str, VaultSpec]]:
        return moves.by_moment(self.steps, self.topology)

    def moved(self, seen: Observation) -> Move | None:
        """Return the move of the Vault of *seen* between the look before and the look at which it was seen, if any."""
        mine = self.topology.told_apart(self.topology.mounts[seen.mount].vault) if seen.mount else ""
        done = self.steps_before(seen.moment)
        return next((step for step in done if isinstance(step, Move) and step.vault == mine), None)

    def vault_subject(self, mount: str, moment: str) -> str:
        """Return the Kubernetes user of the Pod of that Vault at which this mount is, or nothing where it has none."""
        return self.vault_at(mount, moment).subject

    def reviewer_subject(self, mount: str) -> str:
        """Return the Kubernetes user of the long-lived reviewer, or nothing where none was chosen."""
        return self.mount(mount).reviewer_subject

    def stored(self, seen: Observation) -> Stored:
        """Return what the config of the mount of *seen* held as reviewer then, from its provenance."""
        found = self.written_at(seen)
        return self.stored_by(found[1]) if found else ""

    def stored_by(self, config: ConfigWritten) -> Stored:
        """Return what a config holds as reviewer once it is written; nothing where its mount has no reviewers."""
        if not self.mount(config.mount).of_kind.reviews:
            return ""
        return kubernetes_auth.stored_reviewer(
            config.version,
            token_file=config.token_file,
            explicit="token_reviewer_jwt" in config.fields,
            disable_local=config.fields.get("disable_local_ca_jwt") is True,
        )

    def local_disabled(self, seen: Observation) -> bool:
        """Did the config of the mount of *seen* say disable_local_ca_jwt then?"""
        found = self.written_at(seen)
        return found is not None and found[1].fields.get("disable_local_ca_jwt") is True

    def expected_issuer(self, seen: Observation) -> str:
        """Return the issuer that a login must have by its mount's config, or nothing where none is demanded."""
        found = self.written_at(seen)
        if found is None:
            return ""
        _, config = found
        given = config.fields.get("disable_iss_validation")
        disabled = kubernetes_auth.validation_disabled(config.version, given=given if isinstance(given, bool) else None)
        issuer = str(config.fields.get("issuer", ""))
        return kubernetes_auth.expected_issuer(seen.version, issuer=issuer, validation_disabled=disabled)

    def bearer(self, seen: Observation) -> Bearer:
        """Return whose token Vault should present for a login, by the knowledge alone."""
        which = (seen.version, seen.mount, f"{seen.moment} {seen.node}")
        if which not in self._bearers:
            self._bearers[which] = kubernetes_auth.bearer(
                seen.version,
                stored=self.stored(seen),
                token_file=self.token_file_at(seen),
                disable_local=self.local_disabled(seen),
            )
        return self._bearers[which]

    def reviewer(self, seen: Observation) -> str:
        """Return who reviewed a login, from the API server's audit log: client, vault, long-lived or requested (an
        account of its own, with a stored token of that kind), nobody (the bearer was not accepted), another user by
        name, or nothing where no TokenReview was seen.
        """
        review = self.review_of(seen)
        if review is None:
            return ""
        if not review.user or review.status == 401:
            return "nobody"
        vaults = self.vault_subject(seen.mount, seen.moment)
        if review.user == vaults == self.reviewer_subject(seen.mount):
            # one account with two tokens: only that of the Pod says which Pod it is bound to
            return "vault" if review.pod_uid else "requested" if self._requested(seen) else "long-lived"
        stored = "requested" if self._requested(seen) else "long-lived"
        known = {vaults: "vault", self.reviewer_subject(seen.mount): stored, seen.subject: "client"}
        return known.get(review.user, review.user)

    def _requested(self, seen: Observation) -> bool:
        found = self.written_at(seen)
        return found is not None and found[1].reviewer == "requested"

    def stored_token(self, line: int, config: ConfigWritten) -> tuple[int, TokenIssued] | None:
        """Return the token that a config, written on *line*, has stored as its reviewer, with its own line.

        None where it stores none, or the record does not tell of it.
        """
        if self.stored_by(config) == "frozen":
            return self._pods_token(config.mount, line)
        mine, held = self._tokens_for.get(f"reviewer:{config.mount}", []), config.fields.get("token_reviewer_jwt")
        return next((told for told in reversed(mine) if told[1].token == held), None)

    def _pods_token(self, mount: str, line: int) -> tuple[int, TokenIssued] | None:
        """Return the last token before a *line* that a Pod of a mount's Vault was given."""
        pods = self.topology.pod_purposes(self.mount(mount).vault)
        found = (_latest(self._tokens_for.get(pod, ()), line) for pod in pods)
        return max(filter(None, found), key=lambda told: told[0], default=None)

    def stored_exhibit(self, told: tuple[int, TokenIssued]) -> EvidenceLine:
        """Return the line on which a stored reviewer's token was issued: whose it is, its Pod, its end."""
        line, token = told
        pod = f", bound to the Pod {token.pod} ({token.pod_uid})" if token.pod else ""
        until = day_and_time(token.expires) if token.expires else "for ever"
        return EvidenceLine("token", f"the stored token of {token.subject}{pod}: until {until}", line, token.cluster)

    def answer_line(self, seen: Observation) -> EvidenceLine:
        """Return what was answered, in the answerer's words."""
        return EvidenceLine("answer", f"HTTP {seen.status} {seen.error}".strip(), self.line_of[seen.id])

    def config_line(self, seen: Observation) -> EvidenceLine | None:
        """Return the line on which the mount's config was written that held when *seen* was, with its provenance."""
        found = self.written_at(seen)
        if found is None:
            return None
        line, config = found
        given = ", ".join(f"{name}={value}" for name, value in config.fields.items())
        file = "a pod token file was readable" if config.token_file else "no pod token file was there"
        said = f"auth/{config.mount}/config written by {versions.called(config.version)}, {file}: {given}"
        return EvidenceLine("config", said, line)

    def token_line(self, seen: Observation) -> EvidenceLine | None:
        """Return what the service account token of a login says about itself."""
        found = self.login_token(seen)
        return self.exhibit(found) if found is not None else None

    @staticmethod
    def exhibit(told: tuple[int, TokenIssued]) -> EvidenceLine:
        """Return the line on which a token was issued: what it says about itself."""
        line, token = told
        until = day_and_time(token.expires) if token.expires else "for ever"
        until += f", signed with {token.algorithm}" if token.algorithm not in ("", topology.RS256) else ""
        audiences = ", ".join(token.audiences)
        said = f"issuer {token.issuer}, audiences {audiences}, until {until}"
        return EvidenceLine("token", f"the token of {token.subject}: {said}", line, token.cluster)

    def login_token(self, seen: Observation) -> tuple[int, TokenIssued] | None:
        """Return the service account token that an app's login presented, with its line in the record."""
        return _latest(self._tokens_for.get(f"app:{seen.app}", ()), self.line_of[seen.id])

    def token_of(self, seen: Observation) -> TokenIssued | None:
        """Return the service account token that an app's login presented."""
        found = self.login_token(seen)
        return found[1] if found else None

    def bearer_token(self, seen: Observation) -> tuple[int, TokenIssued] | None:
        """Return the token that Vault should present to the API server for a login, with its line in the record."""
        bearer, config, line = self.bearer(seen), self.written_at(seen), self.line_of[seen.id]
        if bearer == "client":
            return self.login_token(seen)
        if bearer == "local":
            return self._pods_token(seen.mount, line)
        return self.stored_token(*config) if config is not None else None

    @cached_property
    def without_right(self) -> dict[str, tuple[str, ...]]:
        """Return, by mount, the accounts of its apps that may not review tokens, each once."""
        apps = self.topology.apps.values()
        may = {(app.cluster, app.service_account) for app in apps if app.may_review_tokens}
        of = {app.mount: dict[str, None]() for app in apps}
        for app in (one for one in apps if (one.cluster, one.service_account) not in may):
            of[app.mount][app.service_account] = None
        return {mount: tuple(accounts) for mount, accounts in of.items()}

    def issuers(self, cluster: str, seen: Observation) -> tuple[int, tuple[str, ...]] | None:
        """Return the issuers whose tokens a cluster accepted then, that with which it signed first, and the line of the
        record that tells them. None: the record does not.
        """
        return _latest(self._issuers.get(cluster, []), self.line_of[seen.id])

    @cached_property
    def _issuers(self) -> dict[str, list[tuple[int, tuple[str, ...]]]]:
        found: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
        for line, one in self.record.numbered(ClusterUp, ClusterChanged):
            alone = () if isinstance(one, ClusterChanged) else (one.issuer,)
            found.setdefault(one.cluster, []).append((line, one.issuers or alone))
        return found

    @staticmethod
    def issuers_line(cluster: str, told: tuple[int, tuple[str, ...]]) -> EvidenceLine:
        """Return the line that tells which issuers a cluster has."""
        line, (first, *others) = told
        beside = f", and accepts {', '.join(others)} as well" if others else ", and accepts no other issuer"
        return EvidenceLine("cluster", f"the API server of {cluster} signs with {first}{beside}", line, cluster)

    def same_cluster(self, mount: str, moment: str) -> bool:
        """Is Vault in the cluster that this mount asks, at the look of a label?"""
        return self.vault_at(mount, moment).cluster == self.mount(mount).cluster


def _is_over_snapshot(step: RollBack | None) -> bool:
    return step is not None and step.over == "snapshot"


def _latest(told: Sequence[tuple[int, T]], line: int) -> tuple[int, T] | None:
    """Return the last of what was *told*, in the order of the record, that stands before a line of it."""
    before = bisect_left(told, line, key=lambda one: one[0])
    return told[before - 1] if before else None


def _typed(read: Topology) -> Topology:
    """Return *read*, every part of which is of the type it says. Raises msgspec.ValidationError where one is not."""
    return msgspec.convert(msgspec.to_builtins(read), Topology)


def day_and_time(at: float) -> str:
    """Return a time as people write it, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds").removesuffix("+00:00") + " UTC"
