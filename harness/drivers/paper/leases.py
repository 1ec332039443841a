"""The leases of a Vault on paper: how many there are, and whether it can list them at its start."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count, islice

from harness.drivers.paper.answers import PaperAnswers
from harness.knowledge import lease_lists
from harness.rig.leases import Listed, Many, Weight
from harness.rig.rig import Reply
from harness.scenario.topology import VaultSpec


class PaperLeases(PaperAnswers):
    """The part of a Vault on paper that has leases."""

    _spec: VaultSpec
    _leases: int = 0

    def make_leases(self, wanted: int) -> Many:
        """Have so many more."""
        self._leases += wanted
        return Many(tuple(f"accessor-{number}" for number in islice(count(), wanted)))

    def revoke_leases(self, accessors: Sequence[str]) -> Many:
        """Have so many fewer."""
        self._leases -= len(accessors)
        return Many(tuple(accessors))

    def revoke_all_leases(self) -> Reply:
        """Have none, unless they cannot be listed for it."""
        if self._unlisted:
            return self._reply(400, self._unlisted)
        self._leases = 0
        return self._reply(204)

    def list_leases(self) -> Listed:
        """Answer as this version would: over etcd it may take more than it can."""
        return Listed(
            self._reply(400, self._unlisted) if self._unlisted else self._reply(200 if self._leases else 404), 0
        )

    def irrevocable_leases(self) -> Reply:
        """Answer that paper knows nothing of it."""
        return self._reply(404)

    def given_up_leases(self) -> Reply:
        """Answer that paper knows nothing of them."""
        return self._reply(404)

    def weigh(self) -> Weight:
        """Return how large the list would be in etcd: paper weighs nothing else."""
        if self._spec.storage != "etcd":
            return Weight()
        return Weight(
            etcd_keys=self._leases * lease_lists.KEY_BYTES,
            etcd_whole=self._leases * lease_lists.whole_bytes(self._spec.source),
        )

    def vault_log(self, lines: int) -> Sequence[str]:
        """Return what the log would say of the leases at a start."""
        del lines
        if not self._unlisted:
            return [json.dumps({"@level": "info", "@module": "expiration", "@message": "lease restore complete"})]
        error = f'failed to scan for leases: list failed at path "": {self._unlisted}'
        entry = {"@level": "error", "@module": "expiration", "@message": "error restoring leases", "error": error}
        return [json.dumps(entry), json.dumps({"@level": "error", "@module": "core", "@message": "shutting down"})]

    @property
    def _unlisted(self) -> str:
        """Return why it cannot list its leases; "" where it can."""
        most = self._spec.max_receive_size or lease_lists.DEFAULT_LIMIT
        size = lease_lists.answer_bytes(self._served.version, self._leases, self._spec.source)
        if self._spec.storage != "etcd" or size <= most:
            return ""
        return f"rpc error: code = ResourceExhausted desc = grpc: received message larger than max ({size} vs. {most})"
