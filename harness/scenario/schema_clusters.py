"""What a scenario can say of a Kubernetes cluster: a part of `schema`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.scenario.schema_roles import Part
from harness.scenario.values import Issuers, LabelKey, LabelValue, Name, VersionText


class Cluster(Part):
    """One Kubernetes control plane."""

    kubernetes: VersionText = Field(description="The Kubernetes version, such as 1.32.0.")
    nodes: int = Field(
        default=1,
        ge=1,
        le=9,
        description="Nodes, the control plane's included. Processes have no kubelets, and so none.",
    )
    namespace_labels: dict[Name, dict[LabelKey, LabelValue]] = Field(
        default_factory=dict, description="Labels of namespaces, by the namespace."
    )
    issuers: Issuers | None = Field(
        default=None,
        description="--service-account-issuer of its API server: the first signs, the others are accepted. address: "
        "where it answers, as OIDC discovery wants it. Left out: https://kubernetes.default.svc.cluster.local, as "
        "kubeadm has it.",
    )
    publishes_keys: bool = Field(
        default=False,
        description="May anybody read the keys of its tokens and its discovery document? Else service accounts alone "
        "may, and no Vault can: true binds system:service-account-issuer-discovery to system:unauthenticated.",
    )
    signing_algorithm: Literal["RS256", "ES256", "ES384", "ES512"] = Field(
        default="RS256",
        description="With which its service account tokens are signed: by a key of RSA, as kubeadm makes it, or by one "
        "on the curve P-256, P-384 or P-521.",
    )
