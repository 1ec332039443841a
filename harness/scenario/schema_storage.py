"""What a scenario can say of where Vault has its data, and of what happens to that: parts of `schema`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.scenario.schema_roles import Part

StorageKind = Literal["raft", "file", "etcd", "consul", "postgresql"]
ToStorage = Literal["lose-leader", "defrag", "restart", "stop", "start"]
ToNode = Literal["lose-data", "lose-data-and-join", "foreign-data", "full-disk"]
Meanwhile = Literal[
    "lose-leader", "defrag", "restart", "stop", "lose-data", "lose-data-and-join", "foreign-data", "full-disk"
]
"""What happens in the middle of a hop: to the storage, or to the data of the node over raft that is replaced."""


class HasStorage(Part):
    """A Vault, which has its data somewhere."""

    storage: StorageKind = Field(
        default="raft",
        description="Vault's storage. etcd: a cluster of its own, of `etcd-members`; consul: a server of its own; "
        "postgresql: a new cluster of Debian's package; with kind they are processes of this machine as well.",
    )
    etcd_members: Literal[1, 3, 5] = Field(default=1, description="With storage etcd: so many members it has.")
    max_receive_size: int | None = Field(
        default=None,
        ge=65536,
        le=2**31 - 1,
        description="Bytes. With storage etcd: the largest answer that Vault takes from it, as in Vault's own "
        "configuration. Left out: 2 GiB.",
    )


class TouchesStorage(Part):
    """A step that does something to the servers that have Vault's data, or in the middle of which that happens."""

    storage: ToStorage | None = Field(
        default=None,
        description="To the servers of storage etcd, consul or postgresql: lose-leader (the etcd member that leads is "
        "killed, and stays away), defrag (all etcd members are defragmented at once), restart (one after the other), "
        "stop (all are), start (whichever is away is there again, over its data).",
    )
    meanwhile: Meanwhile | None = Field(
        default=None,
        description="For upgrade, restart and roll-back: binary, what happens to the storage in mid-hop: the old Vault "
        "is stopped, the new one has started, and is not unsealed yet. The words are those of `storage`. For upgrade, "
        "restart and start-node of one `node` of several over raft: what happens to its data while it is down. "
        "lose-data (its disk is empty, and its configuration has it join the others, retry_join), lose-data-and-join "
        "(and has nobody in it to join), foreign-data (it has those of a Vault that was initialised by itself there), "
        "full-disk (they stay, and no more can be written there; on processes and on paper).",
    )
