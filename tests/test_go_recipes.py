"""One table decides what is built for a version, and what cannot be built is refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.artifacts import go_recipes, templates
from harness.errors import MissingPrerequisite

released = st.builds("{}.{}.{}".format, st.integers(0, 3), st.integers(0, 40), st.integers(0, 30))


def test_a_recipe_names_the_release_and_what_it_needs_beyond_itself() -> None:
    made = go_recipes.recipe("vault", "1.7.0")
    assert made.go_mod == (
        "module server\n"
        "\n"
        "go 1.16\n"
        "\n"
        "require github.com/hashicorp/vault v1.7.0\n"
        "require github.com/hashicorp/vault/api v1.1.0\n"
        "replace github.com/sethvargo/go-limiter => github.com/sethvargo/go-limiter v0.2.2\n"
    )
    assert made.main_go == (
        'package main\n\nimport (\n\t"os"\n\n\t"github.com/hashicorp/vault/command"\n)\n\n'
        "func main() { os.Exit(command.Run(os.Args[1:])) }\n"
    )


def test_a_release_that_was_tagged_as_dev_is_stamped_as_a_release() -> None:
    assert go_recipes.recipe("vault", "1.8.0").flags[-1].endswith("/sdk/version.VersionPrerelease=")


def test_every_part_of_kubernetes_has_the_version_of_the_whole() -> None:
    """Staging modules are published as 0.x, and without the stamp the server would not know its own version."""
    made = go_recipes.recipe("kube-apiserver", "1.32.0")
    replaced = [line.split() for line in made.go_mod.splitlines() if line.startswith("replace")]
    assert {(words[1] == words[3], words[4]) for words in replaced} == {(True, "v0.32.0")}
    assert ["replace", "k8s.io/api", "=>", "k8s.io/api", "v0.32.0"] in replaced
    for stamp in ("gitVersion=v1.32.0", "gitMajor=1", "gitMinor=32"):
        assert f" -X k8s.io/component-base/version.{stamp}" in made.flags[-1]


@pytest.mark.parametrize(
    ("version", "extra"),
    [
        ("1.4.6", ""),
        ("1.5.0", "vault/api v1.0.5-"),
        ("1.9.2", "auth/userpass"),
        ("1.9.3", ""),
        ("1.11.12", ""),
        ("1.12.3", "vault/api v1.8.1"),
        ("1.17.6", "signedxml"),
        ("1.18.3", "go-proxyproto"),
        ("1.21.2", "Jeffail/keyring"),
    ],
)
def test_a_version_gets_what_its_line_needs(version: str, extra: str) -> None:
    """A line reaches up to the next one in the table, and 1.11 comes after 1.9."""
    after = go_recipes.recipe("vault", version).go_mod.partition(f"vault v{version}\n")[2]
    assert extra in after
    assert bool(after) == bool(extra)


@pytest.mark.parametrize(
    ("product", "version", "reason"),
    [
        ("vault", "1.2.4", "before 1.3"),
        ("vault", "1.4.7", "refuses a module"),
        ("vault", "1.14.2", "panics"),
        ("vault", "1.20.0", "refuses a module"),
        ("vault", "2.0.0", "release server or a registry"),
        ("vault", "2.0.4", "release server or a registry"),
        ("vault", "1.15.0+ent", "edition"),
        ("vault", "1.15.0-rc1", "pre-release"),
        ("kube-apiserver", "1.23.17", "generated file"),
        ("kube-apiserver", "1.27.0", "refuses a module"),
        ("etcd", "3.4.27", "before 3.5"),
        ("kubernetes", "1.23.17", "generated file"),
        ("kubernetes", "1.32.4", "refuses a module"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_reason(product: str, version: str, reason: str) -> None:
    with pytest.raises(MissingPrerequisite, match=reason):
        go_recipes.recipe(product, version)


@given(product=st.sampled_from([each for each in go_recipes.products() if each != "pause"]), version=released)
def test_every_release_has_a_recipe_or_a_reason(product: str, version: str) -> None:
    """No version falls through the table, and those offered instead can themselves be built."""
    try:
        text = go_recipes.recipe(product, version).go_mod
    except MissingPrerequisite as reason:
        text = f"{reason} v{version}\n"
    assert len(text) > 20
    assert f" v{version}\n" in text
    for neighbour in go_recipes.neighbours(product, version):
        assert go_recipes.recipe(product, neighbour).version == neighbour != version


def test_all_of_kubernetes_is_one_program_that_stands_in_a_file() -> None:
    """With the same modules and stamps as the API server alone, and a question that needs no name of its own."""
    made, server = go_recipes.recipe("kubernetes", "1.31.0"), go_recipes.recipe("kube-apiserver", "1.31.0")
    assert (made.go_mod, made.flags) == (server.go_mod, server.flags)
    assert made.main_go == templates.text("node/kubernetes.go")
    for command in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubeadm"):
        assert f'"{command}":' in made.main_go
    assert go_recipes.question("kubernetes") == ("kubelet", "--version")


def test_a_program_of_our_own_needs_no_module_and_knows_its_version() -> None:
    made = go_recipes.recipe("pause", go_recipes.PAUSE)
    assert made.go_mod == "module server\n\ngo 1.22\n\n"
    assert made.main_go == templates.text("node/pause.go")
    assert made.flags[-1].endswith(f" -X main.version={go_recipes.PAUSE}")


@pytest.mark.parametrize("version", ["1.18.0", "1.19.0", "1.21.2"])
def test_a_vault_that_is_built_trimmed_says_what_it_lacks(version: str) -> None:
    """With Vault's own tag, and the Kubernetes auth method put back, without which there is nothing to rehearse."""
    made = go_recipes.recipe("vault", version)
    assert made.flags[0] == "-tags=minimal"
    assert made.main_go == templates.text("vault-trimmed/main.go")
    assert 'known.SetMapIndex(reflect.ValueOf("kubernetes"), backend)' in made.main_go
    assert "of the secrets engines kv, pki, ssh and transit" in made.trimmed


def test_a_vault_that_is_built_whole_says_nothing_of_that() -> None:
    made = go_recipes.recipe("vault", "1.17.0")
    assert (made.trimmed, made.flags[0]) == ("", "-trimpath")


def test_the_neighbours_of_a_version_are_the_nearest_known_to_run() -> None:
    assert go_recipes.neighbours("vault", "1.14.2") == ["1.13.0", "1.15.0"]
    assert go_recipes.neighbours("vault", "1.21.4") == ["1.21.2"]
    assert go_recipes.neighbours("vault", "1.0.0") == ["1.3.0"]


def test_a_digest_stands_for_the_recipe_and_the_go_that_follows_it() -> None:
    made = go_recipes.recipe("vault", "1.9.2")
    assert made.digest("go1.26.8") == go_recipes.recipe("vault", "1.9.2").digest("go1.26.8")
    others = [made.digest("go1.26.9"), go_recipes.recipe("vault", "1.9.3").digest("go1.26.8")]
    assert made.digest("go1.26.8") not in others


@pytest.mark.parametrize(
    ("product", "version", "told", "right"),
    [
        ("vault", "1.7.0", "Vault v1.7.0", True),
        ("vault", "1.7.0", "Vault v1.7.0 ('4e222b85c40a810b74400ee3c54449479e32bb9f')", True),
        ("vault", "1.15.0+ent", "Vault v1.15.0+ent (0123abc), built 2023-09-22T16:53:10Z", True),
        ("vault", "1.15.0", "Vault v1.15.0+ent (0123abc)", False),
        ("vault", "1.8.0", "Vault v1.8.0-dev", False),
        ("vault", "1.1.0", "Vault v1.11.0", False),
        ("kube-apiserver", "1.32.0", "Kubernetes v1.32.0", True),
        ("kube-apiserver", "1.32.0", "Kubernetes v0.0.0-master+$Format:%H$", False),
        ("etcd", "3.5.16", "etcd Version: 3.5.16\nGit SHA: f20bbad\nGo Version: go1.22.7", True),
        ("etcd", "3.5.16", "", False),
        ("kind", "0.30.0", "kind v0.30.0 go1.26.8 linux/amd64", True),
        ("kind", "0.30.0", "kind v0.30.1-alpha+0123 go1.26.8 linux/amd64", False),
        ("kubernetes", "1.31.0", "Kubernetes v1.31.0", True),
        ("coredns", "1.11.3", "CoreDNS-1.11.3\nlinux/amd64, go1.26.8, ", True),
        ("coredns", "1.11.3", "CoreDNS-1.11.1\nlinux/amd64, go1.26.8, ", False),
        ("pause", "1.0.0", "pause 1.0.0", True),
        ("pause", "1.0.0", "pause unknown", False),
    ],
)
def test_only_the_exact_version_is_an_answer(product: str, version: str, told: str, right: bool) -> None:
    assert go_recipes.answers(product, version, told) is right
