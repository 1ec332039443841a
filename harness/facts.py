"""What a record says about its topology and its configs, put so that a rule can ask for it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property

import msgspec

from harness import evidence, knowledge, plan
from harness.events import ConfigWritten, MomentBegan, TokenIssued
from harness.evidence import Evidence, Exhibit, Joined, Review
from harness.journal import Record
from harness.knowledge import Bearer, Stored
from harness.observation import BEFORE, Observation
from harness.scenario import App, Mount, Role, Scenario

_NO_EVIDENCE = Evidence()


class Facts:
    """A record, read for judging. Nothing here changes it, and nothing here reaches outside it."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.scenario = Scenario.model_validate_json(msgspec.json.encode(record.started.scenario))
        self.observations: list[Observation] = record.of(Observation)
        self._bearers: dict[tuple[str, str, str], Bearer] = {}
        self._firsts: dict[str, dict[tuple[str, str], Observation]] = {}

    @cached_property
    def evidence(self) -> Joined:
        """Return the evidence of every observation that has any."""
        return evidence.join(self.record)

    @cached_property
    def written(self) -> dict[str, tuple[int, ConfigWritten]]:
        """Return the config that each mount has, and the line of the record on which it was written."""
        return {e.mount: (n, e) for n, e in self.record.numbered(ConfigWritten)}

    @cached_property
    def tokens(self) -> list[tuple[int, TokenIssued]]:
        """Return every service account token that was issued, with its line in the record."""
        return list(self.record.numbered(TokenIssued))

    @cached_property
    def token_file(self) -> dict[str, bool]:
        """Return, by moment, whether a pod token was readable for Vault."""
        return {began.moment: began.token_file for began in self.record.of(MomentBegan)}

    @cached_property
    def line_of(self) -> dict[int, int]:
        """Return the line of the record on which each observation stands, by the observation's number."""
        return dict(zip((seen.id for seen in self.observations), self.record.numbers(Observation), strict=True))

    def first(self, probe: str, app: str, moment: str) -> Observation | None:
        """Return the first answer to a probe on behalf of an app at a moment, or None where it was not asked."""
        if probe not in self._firsts:
            asked = [seen for seen in self.observations if seen.probe == probe]
            self._firsts[probe] = {(seen.app, seen.moment): seen for seen in reversed(asked)}
        return self._firsts[probe].get((app, moment))

    @cached_property
    def reads_lost(self) -> dict[tuple[str, str], Observation]:
        """Return, by (app, moment), the first read with an old token that is refused then and was granted before."""
        reads = [seen for seen in self.observations if seen.probe == "old-token-read"]
        granted = {(seen.app, seen.item) for seen in reads if seen.moment == BEFORE and seen.answer == "granted"}
        lost = [seen for seen in reads if seen.answer == "refused" and (seen.app, seen.item) in granted]
        return {(seen.app, seen.moment): seen for seen in reversed(lost)}

    @cached_property
    def _app_tokens(self) -> dict[str, tuple[int, TokenIssued]]:
        # an app may be called "vault", which is the purpose of the token of Vault's own Pod
        apps = ((line, token) for line, token in self.tokens if token.purpose.startswith("app:"))
        return {token.purpose.removeprefix("app:"): (line, token) for line, token in apps}

    def evidence_of(self, seen: Observation) -> Evidence:
        """Return what belongs to one observation; where nothing was found, an Evidence that is empty."""
        return self.evidence.get(seen.id, _NO_EVIDENCE)

    def review_of(self, seen: Observation) -> Review | None:
        """Return the TokenReview of one observation, or None. Of all evidence, this alone is asked for everywhere."""
        return self.evidence.review(seen.id)

    def app(self, name: str) -> App:
        """Return an app of the scenario."""
        return self.scenario.apps[name]

    def mount(self, path: str) -> Mount:
        """Return an auth mount of the scenario."""
        return self.scenario.auth[path]

    def role(self, app: str) -> Role:
        """Return the role that an app logs in with."""
        entry = self.app(app)
        return self.mount(plan.mount_of(self.scenario, entry)).roles[entry.role]

    def subject(self, app: str) -> str:
        """Return the Kubernetes user that an app's token stands for."""
        space, name = self.app(app).service_account.split("/")
        return f"system:serviceaccount:{space}:{name}"

    @property
    def vault_subject(self) -> str:
        """Return the Kubernetes user of Vault's own Pod, or nothing where it has none."""
        account = plan.vault_account(self.scenario)
        return "system:serviceaccount:" + account.replace("/", ":") if account else ""

    def reviewer_subject(self, mount: str) -> str:
        """Return the Kubernetes user of the long-lived reviewer, or nothing where none was chosen."""
        if self.mount(mount).reviewer != "long-lived":
            return ""
        account = self.mount(mount).reviewer_service_account or plan.DEFAULT_REVIEWER_ACCOUNT
        return "system:serviceaccount:" + account.replace("/", ":")

    def stored(self, mount: str) -> Stored:
        """Return what the mount's config holds as reviewer, from its provenance."""
        if mount not in self.written:
            return ""
        _, config = self.written[mount]
        return knowledge.stored_reviewer(
            config.version,
            token_file=config.token_file,
            explicit="token_reviewer_jwt" in config.fields,
            disable_local=self.local_disabled(mount),
        )

    def local_disabled(self, mount: str) -> bool:
        """Does the mount's config say disable_local_ca_jwt?"""
        return mount in self.written and self.written[mount][1].fields.get("disable_local_ca_jwt") is True

    def bearer(self, seen: Observation) -> Bearer:
        """Return whose token Vault should present for a login, by the knowledge alone."""
        which = (seen.version, seen.mount, seen.moment)
        if which not in self._bearers:
            self._bearers[which] = knowledge.bearer(
                seen.version,
                stored=self.stored(seen.mount),
                token_file=self.token_file.get(seen.moment, False),
                disable_local=self.local_disabled(seen.mount),
            )
        return self._bearers[which]

    def reviewer(self, seen: Observation) -> str:
        """Return who reviewed a login, from the API server's audit log: client, vault, long-lived, nobody (the bearer
        was not accepted), another user by name, or nothing where no TokenReview was seen.
        """
        review = self.review_of(seen)
        if review is None:
            return ""
        if not review.user or review.status == 401:
            return "nobody"
        if review.user == self.vault_subject == self.reviewer_subject(seen.mount):
            # one account with two tokens: only that of the Pod says which Pod it is bound to
            return "vault" if review.pod_uid else "long-lived"
        known = {self.vault_subject: "vault", self.reviewer_subject(seen.mount): "long-lived", seen.subject: "client"}
        return known.get(review.user, review.user)

    def config_exhibit(self, mount: str) -> Exhibit:
        """Return the line on which a mount's config was written, with its provenance."""
        line, config = self.written[mount]
        given = ", ".join(f"{name}={value}" for name, value in config.fields.items())
        file = "a pod token file was readable" if config.token_file else "no pod token file was there"
        return Exhibit("config", f"auth/{mount}/config written by Vault {config.version}, {file}: {given}", line)

    def token_exhibit(self, seen: Observation) -> Exhibit | None:
        """Return what the service account token of a login says about itself."""
        if seen.app not in self._app_tokens:
            return None
        line, token = self._app_tokens[seen.app]
        until = day_and_time(token.expires) if token.expires else "for ever"
        audiences = ", ".join(token.audiences)
        text = f"the token of {token.subject}: issuer {token.issuer}, audiences {audiences}, until {until}"
        return Exhibit("token", text, line, token.cluster)

    def token_of(self, seen: Observation) -> TokenIssued | None:
        """Return the service account token that an app's login presented."""
        found = self._app_tokens.get(seen.app)
        return found[1] if found else None

    def same_cluster(self, mount: str) -> bool:
        """Is Vault in the cluster that this mount asks?"""
        return self.scenario.vault.cluster == self.mount(mount).cluster


def day_and_time(at: float) -> str:
    """Return a time as people write it, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds").removesuffix("+00:00") + " UTC"
