#!/usr/bin/env bash
# The outage as an engineer would look for it by hand on two kind clusters: Vault is a StatefulSet in one of them.
# usage: by-hand-kind.sh KIND KUBERNETES NODE-IMAGE VAULT-IMAGE VAULT-IMAGE...
# KUBERNETES is a binary of all commands, or kubectl; the images are in the engine's store; the first Vault writes the
# config. Needs curl, jq and docker; prints a line for each version and leaves nothing behind.
set -euo pipefail
kind=$1; node=$3; work=$(mktemp -d); ln -s "$2" "$work/kubectl"; kubectl=$work/kubectl; shift 3
export KUBECONFIG=$work/kubeconfig
suffix=$$; platform=by-hand-platform-$suffix; apps=by-hand-apps-$suffix
trap '"$kind" delete clusters "$platform" "$apps" >/dev/null 2>&1; rm -rf "$work"' EXIT
kubelet=''; [ -d /sys/fs/cgroup/memory ] && kubelet='failCgroupV1: false'
cat >"$work/kind.yaml" <<K
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {disableDefaultCNI: ${BY_HAND_NO_CNI:-true}}
kubeadmConfigPatches: ["kind: KubeletConfiguration\n$kubelet\n"]
K
until_true() { for _ in $(seq 600); do "$@" && return; sleep 0.1; done; echo "gave up waiting: $*" >&2; exit 1; }
for c in "$platform" "$apps"; do "$kind" create cluster --name "$c" --image "$node" --config "$work/kind.yaml" --wait 60s -q; done
for image in "$@"; do "$kind" load docker-image --name "$platform" "$image" -q; done
P="$kubectl --context kind-$platform" A="$kubectl --context kind-$apps"
$P apply -f - >/dev/null <<K
apiVersion: v1
kind: ServiceAccount
metadata: {name: vault}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: vault}
data:
  config.hcl: |
    storage "raft" {
      path = "/data"
      node_id = "n1"
      performance_multiplier = "1"
    }
    listener "tcp" {
      address = "0.0.0.0:8200"
      tls_disable = true
    }
    disable_mlock = true
    api_addr = "http://127.0.0.1:8200"
    cluster_addr = "http://127.0.0.1:8201"
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: vault}
spec:
  serviceName: vault
  selector: {matchLabels: {app: vault}}
  template:
    metadata: {labels: {app: vault}}
    spec:
      serviceAccountName: vault
      terminationGracePeriodSeconds: 5
      containers:
      - name: vault
        image: $1
        imagePullPolicy: Never
        command: [/bin/vault, server, -config, /config/config.hcl]
        ports: [{containerPort: 8200, hostPort: 8200}]
        volumeMounts: [{name: data, mountPath: /data}, {name: config, mountPath: /config}, {name: tmp, mountPath: /tmp}]
      volumes: [{name: data, hostPath: {path: /var/vault, type: DirectoryOrCreate}}, {name: tmp, emptyDir: {}}, {name: config, configMap: {name: vault}}]
K
address() { docker inspect -f '{{.NetworkSettings.Networks.kind.IPAddress}}' "$1-control-plane"; }
vault=http://$(address "$platform"):8200
listening() { curl -s --max-time 1 "$vault/v1/sys/seal-status" | grep -q "\"initialized\":$1"; }
active() { [ "$(curl -s --max-time 1 -o /dev/null -w '%{http_code}' "$vault/v1/sys/health")" = 200 ]; }
unseal() { until_true listening true; curl -s -o /dev/null -XPUT "$vault/v1/sys/unseal" -d "{\"key\":\"$key\"}"; until_true active; }
as_root() { curl -s -H "X-Vault-Token: $root" "$@"; }
$P rollout status statefulset/vault --timeout 60s >/dev/null; until_true listening false
init=$(curl -s -XPUT "$vault/v1/sys/init" -d '{"secret_shares":1,"secret_threshold":1}')
key=$(jq -r '.keys[0]' <<<"$init"); root=$(jq -r .root_token <<<"$init")
unseal
$A create namespace apps >/dev/null; $A -n apps create serviceaccount web >/dev/null
$A create clusterrolebinding web --clusterrole system:auth-delegator --serviceaccount apps:web >/dev/null
client=$($A -n apps create token web)
as_root "$vault/v1/sys/auth/kubernetes" -d '{"type":"kubernetes"}'
ca=$($A config view --raw -o "jsonpath={.clusters[?(@.name==\"kind-$apps\")].cluster.certificate-authority-data}" | base64 -d)
jq -n --arg ca "$ca" --arg host "https://$(address "$apps"):6443" \
  '{kubernetes_host: $host, kubernetes_ca_cert: $ca, issuer: "https://kubernetes.default.svc.cluster.local"}' |
  as_root "$vault/v1/auth/kubernetes/config" -d @-
as_root "$vault/v1/auth/kubernetes/role/web" \
  -d '{"bound_service_account_names":"web","bound_service_account_namespaces":"apps","policies":"default","ttl":"1h"}'
login() { echo "$(curl -s "$vault/v1/sys/health" | jq -r .version): HTTP $(curl -s -o /dev/null -w '%{http_code}' "$vault/v1/auth/kubernetes/login" -d "{\"role\":\"web\",\"jwt\":\"$client\"}")"; }
login; shift
for image in "$@"; do
  $P set image statefulset/vault vault="$image" >/dev/null
  $P rollout status statefulset/vault --timeout 120s >/dev/null; unseal; sleep 0.3; login
done
