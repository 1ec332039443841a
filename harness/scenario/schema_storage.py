"""What a scenario can say of where Vault has its data, and of what happens to that: parts of `schema`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.scenario.schema_roles import Part

StorageKind = Literal["raft", "file", "etcd", "postgresql"]


class HasStorage(Part):
    """A Vault, which has its data somewhere."""

    storage: StorageKind = Field(
        default="raft",
        description="Vault's storage. etcd: a cluster of its own, of `etcd-members`; postgresql: a new cluster of "
        "Debian's package; both on processes and on paper.",
    )
    etcd_members: Literal[1, 3, 5] = Field(default=1, description="With storage etcd: so many members it has.")
    max_receive_size: int | None = Field(
        default=None,
        ge=65536,
        le=2**31 - 1,
        description="Bytes. With storage etcd: the largest answer that Vault takes from it, as in Vault's own "
        "configuration. Left out: 2 GiB.",
    )
