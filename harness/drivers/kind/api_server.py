"""The API server of a kind cluster, started anew: by its manifest on the node, which the kubelet goes by."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from harness import wait
from harness.drivers.kind.cluster import KindCluster
from harness.errors import Unreachable

_MANIFEST: Final = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_ASIDE: Final = "/etc/kubernetes/kube-apiserver.yaml"
_SECONDS: Final = 240
_PIDS: Final = (
    'for p in /proc/[0-9]*; do if [ "$(cat $p/comm 2>/dev/null)" = kube-apiserver ]; then echo ${p#/proc/}; fi; done; '
    "echo ."
)
_ISSUER: Final = re.compile(r"^ *- .*--service-account-issuer=.*\n", re.MULTILINE)
_ANNOTATION: Final = "rehearsal/started-anew"


def has_issuers(cluster: KindCluster, issuers: Sequence[str]) -> bool:
    """Does its manifest have just these issuers, in this order?"""
    return [line.strip() for line in _ISSUER.findall(cluster.read("cat", _MANIFEST))] in _written(issuers)


def start_anew(cluster: KindCluster, issuers: Sequence[str]) -> None:
    """Have the kubelet start the API server anew, with these *issuers* of service account tokens.

    Returns when that serves. What of other issuers the Pods of the cluster's own hold is refused until their kubelet
    renews it. Raises NotReady if it takes too long, and RigError where the node cannot be told.
    """
    before, logs = _running(cluster), cluster.api_server_logs()
    text = changed(cluster.read("cat", _MANIFEST), issuers, before)
    # the kubelet takes whatever lies in the folder of manifests for one: it gets this file whole
    cluster.run("sh", "-c", f"cat > {_ASIDE} && mv {_ASIDE} {_MANIFEST}", stdin=[text.encode()])
    _await(cluster, lambda: not _serves(cluster), "be stopped by the kubelet")
    # to end well it would wait half a minute for those who watch; what it had answered is in its store
    cluster.run("sh", "-c", f"kill -KILL {' '.join(before)} || true")
    _await(cluster, lambda: not {*_running(cluster)} & {*before} and _serves(cluster), "serve anew")
    cluster.follow_new_logs(logs)


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


def _running(cluster: KindCluster) -> list[str]:
    """Return the process numbers of API servers on the node, once there is one."""
    return wait.until(
        lambda: cluster.read("sh", "-c", _PIDS).split()[:-1] or None,
        what=f"an API server to run on the node of {cluster.name}",
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
