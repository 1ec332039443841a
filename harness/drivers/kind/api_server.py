"""The API server of a kind cluster: started anew, by its manifest on the node; its keys; and who may reach it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from harness import wait
from harness.drivers.kind.cluster import API_PORT, KindCluster
from harness.errors import Unreachable
from harness.host import pki

_MANIFEST: Final = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_ASIDE: Final = "/etc/kubernetes/kube-apiserver.yaml"
_SECONDS: Final = 240
_PIDS: Final = (
    'for p in /proc/[0-9]*; do if [ "$(cat $p/comm 2>/dev/null)" = "$1" ]; then echo ${p#/proc/}; fi; done; echo .'
)
_API_SERVER: Final = "kube-apiserver"
_CONTROLLERS: Final = "kube-controller"  # a kernel keeps 15 characters of kube-controller-manager
_KEYS: Final = "/etc/kubernetes/pki/sa"
_KEY: Final = re.compile(r"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----\n", re.DOTALL)
_CUT_OFF: Final = "REHEARSAL"
_CONNECT: Final = f"""
if iptables -w -D INPUT -p tcp --dport {API_PORT} -j {_CUT_OFF} 2>/dev/null; then
    iptables -w -F {_CUT_OFF}; iptables -w -X {_CUT_OFF}
fi
"""
_CUT: Final = f"""
set -eu
iptables -w -N {_CUT_OFF}
iptables -w -A {_CUT_OFF} -i lo -j RETURN
for known; do iptables -w -A {_CUT_OFF} -s "$known" -j RETURN; done
# as where nobody listens; connections that are there end, too
iptables -w -A {_CUT_OFF} -p tcp -j REJECT --reject-with tcp-reset
iptables -w -I INPUT -p tcp --dport {API_PORT} -j {_CUT_OFF}
"""
_ISSUER: Final = re.compile(r"^ *- .*--service-account-issuer=.*\n", re.MULTILINE)
_ANNOTATION: Final = "rehearsal/started-anew"


def is_as_made(cluster: KindCluster, issuers: Sequence[str]) -> bool:
    """Does the API server of a cluster that served another rehearsal have just these issuers, and one key?

    Of several keys the newest is the only one afterwards, once it is started anew.
    """
    own, *older = keys(cluster)
    if older:
        _write(cluster, f"{_KEYS}.pub", own)
    there = [line.strip() for line in _ISSUER.findall(cluster.read("cat", _MANIFEST))]
    return not older and there in _written(issuers)


def keys(cluster: KindCluster) -> tuple[str, ...]:
    """Return the public keys whose tokens it accepts, as PEM, the newest first.

    Out of its own file: where the issuer is no URL, an API server publishes no keys.
    """
    return tuple(_KEY.findall(cluster.read("cat", f"{_KEYS}.pub")))


def renew_key(cluster: KindCluster) -> None:
    """Have the next API server sign with a new key, and accept tokens of the old ones as well.

    What fills Secrets with tokens signs with it at once.
    """
    known = keys(cluster)
    directory = cluster.directory / f"key-{len(known) + 1}"
    directory.mkdir(mode=0o700)
    new = pki.TokenSigner(directory)
    _write(cluster, f"{_KEYS}.key", new.private.read_text())
    _write(cluster, f"{_KEYS}.pub", "".join([new.public_key, *known]))
    before = _running(cluster, _CONTROLLERS)
    cluster.run("sh", "-c", f"kill -KILL {' '.join(before)} || true")
    _await(cluster, lambda: not {*_running(cluster, _CONTROLLERS)} & {*before}, "have its controllers started anew")


def reach(cluster: KindCluster, *, reachable: bool) -> None:
    """Have the node refuse whoever asks its API server, but for nodes and this machine; or have it refuse nobody."""
    known = [cluster.gateway, *(node.address for node in cluster.kube.nodes())]
    cluster.run("sh", "-c", _CONNECT if reachable else _CUT, "sh", *known)


def _write(cluster: KindCluster, path: str, text: str) -> None:
    """Have a file of the node, which others read, hold *text*: all of it at once, and nobody else sees it meanwhile."""
    script = 'umask 077; cat > "$1.new" && mv "$1.new" "$1"'
    cluster.run("sh", "-c", script, "sh", path, stdin=[text.encode()])


def start_anew(cluster: KindCluster, issuers: Sequence[str]) -> None:
    """Have the kubelet start the API server anew, with these *issuers* of service account tokens.

    Returns when that serves. Whoever holds a token of another issuer is refused: `renew_own_tokens` is for the
    cluster's own. Raises NotReady if it takes too long, and RigError where the node cannot be told.
    """
    before, logs = _running(cluster, _API_SERVER), cluster.api_server_logs()
    text = changed(cluster.read("cat", _MANIFEST), issuers, before)
    # the kubelet takes whatever lies in the folder of manifests for one: it gets this file whole
    cluster.run("sh", "-c", f"cat > {_ASIDE} && mv {_ASIDE} {_MANIFEST}", stdin=[text.encode()])
    _await(cluster, lambda: not _serves(cluster), "be stopped by the kubelet")
    # to end well it would wait half a minute for those who watch; what it had answered is in its store
    cluster.run("sh", "-c", f"kill -KILL {' '.join(before)} || true")
    _await(cluster, lambda: not {*_running(cluster, _API_SERVER)} & {*before} and _serves(cluster), "serve anew")
    cluster.follow_new_logs(logs)


def renew_own_tokens(cluster: KindCluster) -> None:
    """Replace the Pods that the cluster has of its own, so that they get tokens of the issuer and the key of now.

    Those of an issuer or a key that is gone are refused for most of an hour, until their kubelet renews them, and
    kube-proxy would lead nobody to what is new meanwhile: whoever runs a cluster has to do the same. Returns once as
    many serve as did before. Raises as `start_anew`.
    """
    kube = cluster.kube
    old = [pod for pod in kube.own_pods() if pod.ready]
    for pod in old:
        kube.delete_pod(pod.namespace, pod.name, at_once=False)
    gone = {pod.uid for pod in old}

    def serve() -> bool:
        return sum(pod.ready and pod.uid not in gone for pod in kube.own_pods()) >= len(old)

    _await(cluster, serve, "have its own Pods replaced")


def _await(cluster: KindCluster, condition: Callable[[], bool], what: str) -> None:
    wait.until(
        condition,
        what=f"the API server of {cluster.name} to {what}",
        seconds=_SECONDS,
        every=0.1,
        died=cluster.died,
        advice="what the node's kubelet says of it is kept beside the record, in logs/",
    )


def _serves(cluster: KindCluster) -> bool:
    try:
        return cluster.kube.serves()
    except Unreachable:
        return False


def _running(cluster: KindCluster, program: str) -> list[str]:
    """Return the process numbers of a *program* on the node, once there is one."""
    return wait.until(
        lambda: cluster.read("sh", "-c", _PIDS, "sh", program).split()[:-1] or None,
        what=f"{program} to run on the node of {cluster.name}",
        seconds=_SECONDS,
        every=0.1,
        died=cluster.died,
    )


def changed(manifest: str, issuers: Sequence[str], mark: Sequence[str]) -> str:
    """Return a *manifest* with these *issuers*, and with a *mark* that makes it another one in any case."""
    without = re.sub(rf"^ *{re.escape(_ANNOTATION)}: .*\n", "", _ISSUER.sub("", manifest), flags=re.MULTILINE)
    with_mark = re.sub(
        r"^( *)annotations:\n", rf'\g<0>\1  {_ANNOTATION}: "{" ".join(mark)}"\n', without, count=1, flags=re.MULTILINE
    )
    flags = "".join(f"    {line}\n" for line in _written(issuers)[0])
    return re.sub(r"^    - kube-apiserver\n", lambda found: found[0] + flags, with_mark, count=1, flags=re.MULTILINE)


def _written(issuers: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the lines of a manifest for *issuers*, as they are written here, and as kubeadm writes them."""
    flags = [f"--service-account-issuer={issuer}" for issuer in issuers]
    return [f"- {json.dumps(flag)}" for flag in flags], [f"- {flag}" for flag in flags]
