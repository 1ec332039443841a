"""Steps as what a person keeps under version control: complete `vault write` lines, and Terraform.

Placeholders in <...> stand for what only the operator knows: addresses, and an issuer that the cluster chose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from harness.scenario import values
from harness.scenario.course import AnyStep, Grant, MakeReviewer, PublishKeys, WriteConfig, WritePolicy, WriteRole
from harness.scenario.mount_kinds import ASKED_AT, JWT, PROVIDER
from harness.scenario.role_spec import SPANS, RoleField
from harness.scenario.topology import Topology

_SPANS: Final = {f"token_{name}" for name in SPANS}

PUBLISHING: Final = (
    "kubectl create clusterrolebinding reads-issuer-keys --clusterrole=system:service-account-issuer-discovery "
    "--group=system:unauthenticated"
)
"""The command that lets anybody read the keys of a cluster's tokens, and its discovery document."""

_ORDER: Final = ("kubernetes_host", "kubernetes_ca_cert", "token_reviewer_jwt", "issuer")
"""The fields of a config that people look for first."""


def lines(steps: Sequence[AnyStep], wanted: Topology) -> Iterator[str]:
    """Yield what there is to be after *steps* as commands, whole and each on one line."""
    for step in steps:
        match step:
            case MakeReviewer():
                yield from _reviewer(step)
            case Grant():
                yield binding(*step.service_account.split("/"))
            case PublishKeys(to_anybody=True):
                yield PUBLISHING
            case WriteConfig():
                if step.fields.get("token_reviewer_jwt"):
                    yield _token_file(step, steps)
                yield f"vault write auth/{step.mount}/config {_words(_config(step, wanted, paste=True))}"
            case WriteRole():
                yield role_command(step.spec.of_kind.place_of(step.mount, step.role), step.spec.fields)
            case WritePolicy():
                yield f"echo {_ansi_quoted(step.text)} | vault policy write {step.name} -"
            case _:
                continue


def terraform(steps: Sequence[AnyStep], wanted: Topology) -> str:
    """Return the same as Terraform resources, or "" where *steps* do nothing that Terraform would write."""
    return "\n".join(filter(None, (_block(step, steps, wanted) for step in steps)))


# --- command lines ----------------------------------------------------------------------------------------------------


def _reviewer(step: MakeReviewer) -> Iterator[str]:
    space, name = step.service_account.split("/")
    yield f"kubectl create namespace {space} --dry-run=client -o yaml | kubectl apply -f -"
    yield f"kubectl --namespace {space} create serviceaccount {name} --dry-run=client -o yaml | kubectl apply -f -"
    yield token_secret(space, name)


def binding(space: str, name: str) -> str:
    """Return the command that lets an account review tokens. Its name has the namespace: accounts' names recur."""
    return (
        f"kubectl create clusterrolebinding {space}-{name}-reviews-tokens --clusterrole=system:auth-delegator "
        f"--serviceaccount={space}:{name}"
    )


def token_secret(space: str, name: str) -> str:
    """Return the command that makes a Secret which Kubernetes fills with a token that never ends."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": f"{name}-token",
            "namespace": space,
            "annotations": {"kubernetes.io/service-account.name": name},
        },
    }
    return f"echo '{json.dumps(secret)}' | kubectl apply -f -"


def requested_token(space: str, name: str, audiences: Sequence[str]) -> str:
    """Return the command that requests a token of an account; `cluster` is the API server's own audience."""
    known = {"cluster": "<the audience of the API server, such as https://kubernetes.default.svc.cluster.local>"}
    wanted = " ".join(f"--audience={_quoted(known.get(one, one))}" for one in audiences)
    return f"kubectl --namespace {space} create token {name} {wanted}"


def _token_file(step: WriteConfig, steps: Iterable[AnyStep]) -> str:
    """Return the command that puts the reviewer's token into a file: no command line is to show it."""
    made = _made(step, steps)
    if made is None:
        return "# reviewer.jwt holds the token of the reviewer that is stored now: no read of the config shows it"
    space, name = made.service_account.split("/")
    return (
        f"(umask 077; kubectl --namespace {space} get secret {name}-token -o jsonpath='{{.data.token}}' | base64 -d "
        "> reviewer.jwt)"
    )


def _made(step: WriteConfig, steps: Iterable[AnyStep]) -> MakeReviewer | None:
    return next((one for one in steps if isinstance(one, MakeReviewer) and one.mount == step.mount), None)


def _config(step: WriteConfig, wanted: Topology, *, paste: bool) -> dict[str, str]:
    """Return the fields of a config as text, the usual ones first."""
    cluster = wanted.mounts[step.mount].cluster
    known = {
        "kubernetes_host": f"<the address of the API server of {cluster}, such as https://10.0.0.1:6443>",
        "kubernetes_ca_cert": "@ca.crt" if paste else 'file("ca.crt")',
        "issuer": f"<the issuer of the tokens of {cluster}>",
        "bound_issuer": f"<the issuer of the tokens of {cluster or 'the identity provider'}>",
    }
    ordered = sorted(step.fields, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    fields = {}
    for name in ordered:
        value = step.fields[name]
        if name in ASKED_AT:
            whose = cluster if value == "cluster" else value
            path = "/openid/v1/jwks" if name == "jwks_url" else ""
            fields[name] = f"<the address of the API server of {whose}, such as https://10.0.0.1:6443>{path}"
        elif name in ASKED_AT.values():
            fields[name] = "@ca.crt" if paste else 'file("ca.crt")'
        elif isinstance(value, tuple):
            fields[name] = ("@sa.pub" if paste else 'file("sa.pub")') if value else ""
        elif value == "cluster" or (name, value) == ("bound_issuer", PROVIDER):
            fields[name] = known[name]
        elif name == "token_reviewer_jwt":
            fields[name] = "@reviewer.jwt"
        else:
            fields[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return fields


_CERTIFICATES: Final = {"ca": "client-ca.crt", "own": "client.crt"}
"""By what a role of a cert mount trusts: the file with its certificate."""


def role_command(path: str, fields: Mapping[str, RoleField]) -> str:
    """Return the command that writes these *fields* of the role at a *path*; what is a mapping has to come as JSON."""
    if isinstance(file := fields.get("certificate"), str):
        fields = {**fields, "certificate": f"@{_CERTIFICATES[file]}"}
    if any(isinstance(value, dict) for value in fields.values()):
        return f"echo {_quoted(json.dumps(fields))} | vault write {path} -"
    return f"vault write {path} {_words({name: _as_word(value) for name, value in fields.items()})}"


def _in_a_text(said: object) -> str:
    """Return the value of a claim, or several, as Terraform has them: in one text, with commas."""
    several = said if isinstance(said, list | tuple) else (said,)
    return ",".join(str(one).lower() if isinstance(one, bool) else str(one) for one in several)


def _as_word(value: RoleField) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(fields: Mapping[str, str]) -> str:
    return " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[A-Za-z0-9_@.,:/-]+", value) else "'" + value.replace("'", "'\\''") + "'"


def _ansi_quoted(text: str) -> str:
    """Return *text* quoted for bash on one line, whatever lines it has."""
    escaped = text.strip().replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"$'{escaped}'" if escaped != text.strip() else f"'{escaped}'"


# --- Terraform --------------------------------------------------------------------------------------------------------


def _block(step: AnyStep, steps: Iterable[AnyStep], wanted: Topology) -> str:
    match step:
        case WriteConfig():
            return _config_block(step, steps, wanted)
        case WriteRole():
            return _role_block(step)
        case WritePolicy():
            return _resource("vault_policy", step.name, {"name": _string(step.name), "policy": _heredoc(step.text)})
        case Grant() | PublishKeys(to_anybody=True):
            return _binding_block(step) if isinstance(step, Grant) else _publishing_block(step)
        case MakeReviewer():
            return _reviewer_blocks(step)
        case _:
            return ""


def _config_block(step: WriteConfig, steps: Iterable[AnyStep], wanted: Topology) -> str:
    if wanted.mounts[step.mount].kind == JWT:
        return _jwt_block(step, wanted)
    fields = {"backend": _string(step.mount)}
    literal = _config(step, wanted, paste=False)
    for name, value in literal.items():
        if name == "pem_keys":
            fields[name] = f"[{value}]"
        elif name == "kubernetes_ca_cert" and value.startswith("file("):
            fields[name] = value
        elif name == "token_reviewer_jwt":
            made = _made(step, steps)
            fields[name] = (
                '"<the token of the reviewer that is stored now>"'
                if made is None
                else f'kubernetes_secret_v1.{_label(made.service_account)}.data["token"]'
            )
        else:
            fields[name] = str(step.fields[name]).lower() if isinstance(step.fields[name], bool) else _string(value)
    return _resource("vault_kubernetes_auth_backend_config", step.mount, fields)


_ROLES: Final = {
    "kubernetes": "vault_kubernetes_auth_backend_role",
    "jwt": "vault_jwt_auth_backend_role",
    "approle": "vault_approle_auth_backend_role",
    "cert": "vault_cert_auth_backend_role",
}
"""What Terraform calls a role of each kind of mount. A user of userpass is no resource of its own, but a path."""


def _jwt_block(step: WriteConfig, wanted: Topology) -> str:
    said = _config(step, wanted, paste=False)
    more = {name: _string(value) for name, value in said.items() if name != "jwt_validation_pubkeys"}
    keys = {"path": _string(step.mount), "type": '"jwt"'}
    if "jwt_validation_pubkeys" in step.fields:
        keys["jwt_validation_pubkeys"] = '[file("sa.pub")]'
    more |= {name: 'file("ca.crt")' for name in ASKED_AT.values() if name in more}
    return _resource("vault_jwt_auth_backend", step.mount, keys | more)


def _role_block(step: WriteRole) -> str:
    if step.spec.kind not in _ROLES:
        return _user_block(step)
    called = "name" if step.spec.of_kind.by_certificate else "role_name"
    fields = {"backend": _string(step.mount), called: _string(step.role)}
    for name, value in step.spec.fields.items():
        if name == "audience" and not value:
            continue
        if name == "certificate":
            fields[name] = f'file("{_CERTIFICATES[str(value)]}")'
        elif isinstance(value, dict):
            pairs = (f"{_string(key)} = {_string(_in_a_text(said))}" for key, said in value.items())
            fields[name] = "{ " + ", ".join(pairs) + " }" if value else "{}"
        elif isinstance(value, tuple):
            fields[name] = json.dumps(list(value))
        elif name in _SPANS:
            fields[name] = str(values.seconds(str(value)))
        else:
            fields[name] = _string(value) if isinstance(value, str) else _as_word(value)
    return _resource(_ROLES[step.spec.kind], f"{step.mount}_{step.role}", fields)


def _user_block(step: WriteRole) -> str:
    """Return a user of userpass: what is left out, such as the password, stays as it is in Vault."""
    fields = {
        "path": _string(step.spec.of_kind.place_of(step.mount, step.role)),
        "ignore_absent_fields": "true",
        "disable_delete": "true",
        "data_json": f"jsonencode({_literal(json.dumps(step.spec.fields, ensure_ascii=False))})",
    }
    return _resource("vault_generic_endpoint", f"{step.mount}_{step.role}", fields)


def _binding_block(step: Grant) -> str:
    space, name = step.service_account.split("/")
    return (
        f'# in cluster {step.cluster}\nresource "kubernetes_cluster_role_binding" "{_label(step.service_account)}" {{\n'
        f'  metadata {{\n    name = "{space}-{name}-reviews-tokens"\n  }}\n'
        '  role_ref {\n    api_group = "rbac.authorization.k8s.io"\n    kind      = "ClusterRole"\n'
        '    name      = "system:auth-delegator"\n  }\n'
        f'  subject {{\n    kind      = "ServiceAccount"\n    name      = "{name}"\n'
        f'    namespace = "{space}"\n  }}\n}}\n'
    )


def _publishing_block(step: PublishKeys) -> str:
    return (
        f'# in cluster {step.cluster}\nresource "kubernetes_cluster_role_binding" "reads_issuer_keys" {{\n'
        '  metadata {\n    name = "reads-issuer-keys"\n  }\n'
        '  role_ref {\n    api_group = "rbac.authorization.k8s.io"\n    kind      = "ClusterRole"\n'
        '    name      = "system:service-account-issuer-discovery"\n  }\n'
        '  subject {\n    api_group = "rbac.authorization.k8s.io"\n    kind      = "Group"\n'
        '    name      = "system:unauthenticated"\n  }\n}\n'
    )


def _reviewer_blocks(step: MakeReviewer) -> str:
    space, name = step.service_account.split("/")
    label, home = _label(step.service_account), f"kubernetes_namespace.{_label(space)}.metadata[0].name"
    return (
        f'# in cluster {step.cluster}\nresource "kubernetes_namespace" "{_label(space)}" {{\n'
        f'  metadata {{\n    name = "{space}"\n  }}\n}}\n\n'
        f'resource "kubernetes_service_account" "{label}" {{\n'
        f'  metadata {{\n    name      = "{name}"\n    namespace = {home}\n  }}\n}}\n\n'
        f'# the token then stands in the state of Terraform\nresource "kubernetes_secret_v1" "{label}" {{\n'
        f'  metadata {{\n    name      = "{name}-token"\n    namespace = {home}\n'
        '    annotations = {\n      "kubernetes.io/service-account.name" = '
        f"kubernetes_service_account.{label}.metadata[0].name\n    }}\n  }}\n"
        '  type                           = "kubernetes.io/service-account-token"\n'
        "  wait_for_service_account_token = true\n}\n"
    )


def _resource(kind: str, name: str, fields: Mapping[str, str]) -> str:
    longest = max(map(len, fields))
    body = "".join(f"  {field:{longest}} = {value}\n" for field, value in fields.items())
    return f'resource "{kind}" "{_label(name)}" {{\n{body}}}\n'


def _label(name: str) -> str:
    """Return *name* as the name of a resource: letters, digits and underscores, a letter first."""
    label = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return label if re.match(r"[A-Za-z_]", label) else f"_{label}"


def _heredoc(text: str) -> str:
    return f"<<-EOT\n{_literal(text.strip())}\nEOT"


def _string(text: str) -> str:
    return _literal(json.dumps(text, ensure_ascii=False))


def _literal(text: str) -> str:
    """Return *text* with nothing in it that Terraform would replace."""
    return text.replace("${", "$${").replace("%{", "%%{")
