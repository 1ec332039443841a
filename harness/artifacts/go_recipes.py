"""What it takes to build a server from the Go modules that its makers publish, version by version.

Pure data and what follows from it: what a version needs beyond itself was found by trying, and stands in one table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from harness.artifacts import templates
from harness.errors import MissingPrerequisite
from harness.knowledge import versions

PAUSE: Final = "1.0.0"
"""The version of the program of ours that holds a pod's namespaces open."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a build contains, apart from the Go that builds it."""

    product: str
    version: str
    go_mod: str
    main_go: str
    flags: tuple[str, ...]
    usual: str
    trimmed: str = ""
    """what such a build leaves out of the release, in words; empty: nothing"""

    def digest(self, go: str) -> str:
        """Return eight hexadecimal digits that change whenever this recipe or *go*, the version of Go, does."""
        parts = (self.product, self.version, self.go_mod, self.main_go, *self.flags, go)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class _ReleaseLine:
    """What the versions from *since* up to the next line have in common."""

    since: str
    go: str = "1.22"
    extra: tuple[str, ...] = ()
    missing: str = ""
    tags: str = ""
    main: str = ""
    """another main.go than the product's"""
    trimmed: str = ""
    """what its builds leave out, in words; empty: nothing"""
    stamps: tuple[str, ...] = ()
    """variables that its linker sets beside the product's"""


@dataclass(frozen=True, slots=True)
class _Product:
    """How one product is built and how it tells its version. In its texts, {version} is 1.32.0 and {rest} is 32.0."""

    module: str
    """nothing for a program of our own, which needs no module"""
    main: str
    """the text of its main.go, or the name of a file under clusters/ that holds it"""
    lines: tuple[_ReleaseLine, ...]
    usual: str
    tells: tuple[str, ...]
    prefix: str
    stamps: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_MAIN: Final = """\
package main

import (
	{imports}
)

func main() {{ {call} }}
"""
_OS: Final = '"os"\n\n\t'
_LIMITER: Final = "replace github.com/sethvargo/go-limiter => github.com/sethvargo/go-limiter v0.2.2"
_SIGNED: Final = "replace github.com/ma314smith/signedxml v1.1.1 => github.com/moov-io/signedxml v1.1.1"
_PROXY: Final = "replace github.com/pires/go-proxyproto v1.0.0 => github.com/peteski22/go-proxyproto v1.0.0"
_KEYRING: Final = "replace github.com/99designs/keyring => github.com/Jeffail/keyring v1.2.3"
_TRIMMED: Final[Mapping[str, Any]] = {
    "tags": "minimal",
    "main": "vault-trimmed/main.go",
    "trimmed": "made with Vault's own tag `minimal`: of the auth methods it has approle, cert, jwt, kubernetes, oidc "
    "and userpass, of the secrets engines kv, pki, ssh and transit, of the storages raft and inmem (no file), and no "
    "database plugin",
}
"""How Vault is built from 1.18 on: whole, its cloud plugins need modules that are not to be had in one build."""

_VAULT_1_5: Final = (
    "replace github.com/hashicorp/vault/api v1.0.5-0.20200630205458-1a16f3c699c6 "
    "=> github.com/hashicorp/vault/api v1.1.0"
)
_VAULT_1_9: Final = "replace github.com/hashicorp/vault/api/auth/{0} => github.com/hashicorp/vault/api/auth/{0} v0.1.0"
_STAGING: Final = _words(
    "api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap "
    "code-generator component-base component-helpers controller-manager cri-api cri-client csi-translation-lib "
    "dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy "
    "kube-scheduler kubectl kubelet legacy-cloud-providers metrics mount-utils pod-security-admission "
    "sample-apiserver sample-cli-plugin sample-controller"
)
_STAMP: Final = "k8s.io/component-base/version"
_OLD_STAMP: Final = "k8s.io/client-go/pkg/version"
"""What /version answers by, as long as the aggregator took it from there (kube-aggregator v0.24.0 apiserver.go)."""
_CHECKSUM: Final = "the module proxy or the checksum database refuses a module that this release needs"
_KUBERNETES_STAMPS: Final = (
    f"{_STAMP}.gitVersion=v{{version}}",
    f"{_STAMP}.gitMajor=1",
    f"{_STAMP}.gitMinor={{minor}}",
    f"{_STAMP}.gitTreeState=clean",
)
_REPLACED: Final = tuple(f"replace k8s.io/{name} => k8s.io/{name} v0.{{rest}}" for name in _STAGING)
_KUBERNETES_LINES: Final = (
    _ReleaseLine("0.0.0", missing="the published module of Kubernetes before 1.24 lacks a generated file (openapi)"),
    _ReleaseLine("1.24.0", extra=_REPLACED, stamps=(f"{_OLD_STAMP}.gitVersion=v{{version}}",)),
    _ReleaseLine("1.29.0", extra=_REPLACED),
)

_PRODUCTS: Final[Mapping[str, _Product]] = {
    "vault": _Product(
        module="github.com/hashicorp/vault",
        main=_MAIN.format(
            imports=f'{_OS}"github.com/hashicorp/vault/command"', call="os.Exit(command.Run(os.Args[1:]))"
        ),
        lines=(
            _ReleaseLine("0.0.0", missing="Vault before 1.3 was not published so that Go can build it as a module"),
            _ReleaseLine("1.3.0", go="1.16"),
            _ReleaseLine(
                "1.5.0",
                go="1.16",
                extra=(_VAULT_1_5,),
            ),
            _ReleaseLine("1.6.0", go="1.16", extra=("require github.com/hashicorp/vault/api v1.1.0", _LIMITER)),
            _ReleaseLine("1.8.0", go="1.16", extra=(_LIMITER,)),
            _ReleaseLine("1.9.0", go="1.16", extra=(_VAULT_1_9.format("approle"), _VAULT_1_9.format("userpass"))),
            _ReleaseLine("1.9.3", go="1.16"),
            # From go 1.22 on, requirements of requirements that nothing imports are never read.
            _ReleaseLine("1.10.0"),
            _ReleaseLine("1.12.0", extra=("require github.com/hashicorp/vault/api v1.8.1",)),
            _ReleaseLine("1.13.0"),
            _ReleaseLine(
                "1.14.0",
                missing="a Vault 1.14 that is built so panics at start (an operation without its ExistenceCheck): the "
                "published sdk with which it compiles has a check that the release's own had not",
            ),
            _ReleaseLine(
                "1.15.0",
                extra=(
                    "require github.com/hashicorp/vault/sdk v0.10.2",
                    "require github.com/hashicorp/vault/api v1.11.0",
                ),
            ),
            _ReleaseLine("1.16.0", extra=(_SIGNED, "require github.com/hashicorp/vault/sdk v0.12.0")),
            _ReleaseLine(
                "1.17.0",
                extra=(
                    _SIGNED,
                    "require github.com/hashicorp/vault-plugin-auth-cf v0.18.0",
                    "require github.com/hashicorp/vault-plugin-secrets-openldap v0.13.1",
                    "require github.com/hashicorp/vault-plugin-secrets-terraform v0.9.0",
                ),
            ),
            _ReleaseLine(
                "1.18.0",
                extra=(
                    _SIGNED,
                    _PROXY,
                    "require github.com/hashicorp/vault-plugin-auth-azure v0.19.1",
                    "require github.com/hashicorp/vault-plugin-secrets-openldap v0.14.3",
                ),
                **_TRIMMED,
            ),
            _ReleaseLine("1.19.0", extra=(_SIGNED, _PROXY, _KEYRING), **_TRIMMED),
            _ReleaseLine(
                "2.0.0",
                missing=f"{_CHECKSUM} (seen for 2.0.0); Vault 2.x is to be had from the release server or a registry",
            ),
        ),
        usual="1 to 5 minutes",
        tells=("version",),
        prefix="Vault v",
        # Some releases were tagged while they still called themselves -dev.
        stamps=("github.com/hashicorp/vault/sdk/version.VersionPrerelease=",),
        runs=_words(
            "1.3.0 1.4.0 1.5.0 1.6.0 1.7.0 1.8.0 1.9.2 1.9.3 1.10.0 1.11.0 1.12.0 1.13.0 1.15.0 1.16.3 1.17.0 1.18.0 "
            "1.19.0 1.21.2"
        ),
        refused=dict.fromkeys(
            _words("1.4.7 1.5.4 1.5.9 1.8.12 1.10.11 1.12.11 1.13.13 1.16.0 1.20.0 1.21.4"), _CHECKSUM
        ),
    ),
    "openbao": _Product(
        module="github.com/openbao/openbao",
        main="",
        lines=(_ReleaseLine("0.0.0", missing="its module needs folders of its own source, which no other has"),),
        usual="never",
        tells=("version",),
        prefix="OpenBao v",
    ),
    "kube-apiserver": _Product(
        module="k8s.io/kubernetes",
        main=_MAIN.format(
            imports=f'{_OS}"k8s.io/component-base/cli"\n\tapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"',
            call="os.Exit(cli.Run(apiserver.NewAPIServerCommand()))",
        ),
        lines=_KUBERNETES_LINES,
        usual="3 to 6 minutes",
        tells=("--version",),
        prefix="Kubernetes v",
        stamps=_KUBERNETES_STAMPS,
        runs=("1.24.0", "1.29.15", "1.31.0", "1.32.0", "1.34.0"),
        refused=dict.fromkeys(("1.27.0", "1.32.4"), _CHECKSUM),
    ),
    "etcd": _Product(
        module="go.etcd.io/etcd/server/v3",
        main=_MAIN.format(imports=f'{_OS}"go.etcd.io/etcd/server/v3/etcdmain"', call="etcdmain.Main(os.Args)"),
        lines=(
            _ReleaseLine("0.0.0", missing="etcd before 3.5 was not published as a server module"),
            _ReleaseLine("3.5.0"),
        ),
        usual="half a minute",
        tells=("--version",),
        prefix="etcd Version: ",
        runs=("3.5.15", "3.5.16"),
    ),
    "consul": _Product(
        module="github.com/hashicorp/consul",
        main="consul/main.go",
        lines=(
            _ReleaseLine("0.0.0", missing="Consul before 1.15 was not tried as a module"),
            _ReleaseLine("1.15.0", extra=("require github.com/hashicorp/consul/api v1.22.0",)),
            _ReleaseLine("1.16.0", missing="Consul from 1.16 on was not tried as a module"),
        ),
        usual="3 to 6 minutes",
        tells=("version",),
        prefix="Consul v",
        runs=("1.15.4",),
    ),
    # Everything from here on is what kind clusters are made of.
    "kind": _Product(
        module="sigs.k8s.io/kind",
        main=_MAIN.format(imports='"sigs.k8s.io/kind/cmd/kind/app"', call="app.Main()"),
        lines=(_ReleaseLine("0.0.0"),),
        usual="half a minute",
        tells=("version",),
        prefix="kind v",
        runs=("0.30.0",),
    ),
    "kubernetes": _Product(
        module="k8s.io/kubernetes",
        main="node/kubernetes.go",
        lines=_KUBERNETES_LINES,
        usual="6 to 10 minutes",
        tells=("kubelet", "--version"),
        prefix="Kubernetes v",
        stamps=_KUBERNETES_STAMPS,
        runs=("1.31.0", "1.32.0"),
        refused=dict.fromkeys(("1.27.0", "1.32.4"), _CHECKSUM),
    ),
    "coredns": _Product(
        module="github.com/coredns/coredns",
        main=_MAIN.format(
            imports='_ "github.com/coredns/coredns/core/plugin"\n\t"github.com/coredns/coredns/coremain"',
            call="coremain.Run()",
        ),
        lines=(_ReleaseLine("0.0.0"),),
        usual="1 to 2 minutes",
        tells=("-version",),
        prefix="CoreDNS-",
        runs=("1.11.1", "1.11.3"),
    ),
    "pause": _Product(
        module="",
        main="node/pause.go",
        lines=(_ReleaseLine("0.0.0"),),
        usual="2 seconds",
        tells=("-v",),
        prefix="pause ",
        stamps=("main.version={version}",),
        runs=(PAUSE,),
    ),
}


def products() -> list[str]:
    """Return the names of all products, sorted."""
    return sorted(_PRODUCTS)


def recipe(product: str, version: str) -> Recipe:
    """Return how *version* of *product* is built. Raises MissingPrerequisite with the reason if it cannot be."""
    known = _PRODUCTS[product]
    if set(version) & set("+-"):
        raise MissingPrerequisite(f"only plain releases are built, and {version} is an edition or a pre-release")
    line = _line(known, version)
    if reason := known.refused.get(version, line.missing):
        raise MissingPrerequisite(reason)
    rest = version.partition(".")[2]
    words = {"version": version, "rest": rest, "minor": rest.partition(".")[0]}
    required = f"require {known.module} v{version}\n" if known.module else ""
    extra = "".join(f"{each.format(**words)}\n" for each in line.extra)
    main, tags = line.main or known.main, [f"-tags={line.tags}"] if line.tags else []
    stamps = "".join(f" -X {each.format(**words)}" for each in (*known.stamps, *line.stamps))
    return Recipe(
        product=product,
        version=version,
        go_mod=f"module server\n\ngo {line.go}\n\n{required}{extra}",
        main_go=templates.text(main) if main.endswith(".go") else main,
        # The linker's new check would refuse what older dependencies do to the runtime of Go.
        flags=(*tags, "-trimpath", f"-ldflags=-s -w -checklinkname=0{stamps}"),
        usual=known.usual,
        trimmed=line.trimmed,
    )


def _line(known: _Product, version: str) -> _ReleaseLine:
    return [line for line in known.lines if versions.at_least(version, line.since)][-1]


def neighbours(product: str, version: str) -> list[str]:
    """Return the versions next to *version*, at most one older and one newer, that were built so and seen to run."""
    runs = versions.ascending(_PRODUCTS[product].runs)
    older = [each for each in runs if versions.parse(each) < versions.parse(version)]
    newer = [each for each in runs if versions.parse(each) > versions.parse(version)]
    return older[-1:] + newer[:1]


def seen_to_run(product: str, version: str) -> bool:
    """Was *version* of *product* built so, and seen to run?"""
    return version in _PRODUCTS[product].runs


def question(product: str) -> tuple[str, ...]:
    """Return the arguments with which the binary of *product* is asked for its version."""
    return _PRODUCTS[product].tells


def answers(product: str, version: str, told: str) -> bool:
    """Is *told*, what the binary of *product* said about itself, the answer of exactly *version*?"""
    words = told.partition(_PRODUCTS[product].prefix)[2].split()
    # a build that knows no commit has the date of its making behind a comma: Vault v1.21.2, built 2025-...
    return bool(words) and words[0].rstrip(",") == version
