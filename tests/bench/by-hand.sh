#!/usr/bin/env bash
# The outage as an engineer would look for it by hand: two API servers, one Vault, a login at every version.
# usage: by-hand.sh ETCD KUBE-APISERVER VAULT VAULT...     the binaries; the first Vault writes the config
# Needs curl, jq, openssl and util-linux; prints a line for each version and leaves nothing behind.
set -euo pipefail
etcd=$1; api=$2; shift 2
port=${BY_HAND_PORT:-19100} # and the ten after it
work=$(mktemp -d); children=()
trap 'kill -9 "${children[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
until_true() { for _ in $(seq 1200); do "$@" && return; sleep 0.05; done; echo "gave up waiting for: $*" >&2; exit 1; }

api_up() { # api_up NAME ETCD-PORT API-PORT
  mkdir "$work/$1"; cd "$work/$1"
  local url=http://127.0.0.1:$2 peer=http://127.0.0.1:$(($2 + 1))
  "$etcd" --data-dir etcd --unsafe-no-fsync --listen-client-urls "$url" --advertise-client-urls "$url" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" >etcd.log 2>&1 &
  children+=($!)
  openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  echo 'admin,admin,1,"system:masters"' >tokens.csv
  printf '%s\n' 'apiVersion: audit.k8s.io/v1' 'kind: Policy' 'rules:' '- level: Metadata' \
    '  resources: [{group: authentication.k8s.io, resources: [tokenreviews]}]' '- level: None' >audit.yaml
  "$api" --etcd-servers "$url" --secure-port "$3" --bind-address 127.0.0.1 --cert-dir certs \
    --service-account-issuer "https://$1.example" --service-account-key-file sa.pub \
    --service-account-signing-key-file sa.key --authorization-mode RBAC --token-auth-file tokens.csv \
    --service-cluster-ip-range 10.0.0.0/24 --audit-policy-file audit.yaml --audit-log-path audit.log >api.log 2>&1 &
  children+=($!)
}
admin() { curl -sk -H 'Authorization: Bearer admin' -H 'Content-Type: application/json' "https://127.0.0.1:$1" "${@:2}"; }
ready() { [ "$(admin "$1/readyz")" = ok ]; } # a list of checks, some of them ok, is not ready yet
make() { admin "$1" -o /dev/null -d "$2"; }
account() { # account PORT NAMESPACE NAME
  make "$1/api/v1/namespaces" "{\"metadata\":{\"name\":\"$2\"}}"
  make "$1/api/v1/namespaces/$2/serviceaccounts" "{\"metadata\":{\"name\":\"$3\"}}"
}
token() { # token PORT NAMESPACE NAME
  admin "$1/api/v1/namespaces/$2/serviceaccounts/$3/token" -d '{"spec":{}}' | jq -r .status.token
}

platform=$((port + 2)); apps=$((port + 5)); vault=http://127.0.0.1:$((port + 6))
api_up platform "$port" "$platform"; api_up apps $((port + 3)) "$apps"
until_true ready "$platform"; until_true ready "$apps"
account "$platform" vault vault; account "$apps" apps web
make "$apps/apis/rbac.authorization.k8s.io/v1/clusterrolebindings" '{"metadata":{"name":"web"},
  "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:auth-delegator"},
  "subjects":[{"kind":"ServiceAccount","name":"web","namespace":"apps"}]}'

v=$work/vault; mkdir -p "$v/data" "$v/pod"; cd "$work"
token "$platform" vault vault | tr -d '\n' >"$v/pod/token"
cp platform/certs/apiserver.crt "$v/pod/ca.crt"; printf vault >"$v/pod/namespace"
client=$(token "$apps" apps web)
cat >"$v/config.hcl" <<H
storage "raft" {
  path = "$v/data"
  node_id = "n1"
  performance_multiplier = "1"
}
listener "tcp" {
  address = "127.0.0.1:$((port + 6))"
  tls_disable = true
}
disable_mlock = true
api_addr = "$vault"
cluster_addr = "http://127.0.0.1:$((port + 7))"
H
namespace=(unshare --mount); [ "$(id -u)" = 0 ] || namespace+=(--map-root-user)
pod=/run/secrets/kubernetes.io/serviceaccount # where Vault looks for its pod's token, and nowhere else
listening() { curl -s "$vault/v1/sys/seal-status" | grep -q sealed; }
active() { [ "$(curl -s -o /dev/null -w '%{http_code}' "$vault/v1/sys/health")" = 200 ]; }
start() { # start BINARY
  "${namespace[@]}" bash -c "mount -t tmpfs t /run && mkdir -p $pod && mount --bind $v/pod $pod &&
    exec env KUBERNETES_SERVICE_HOST=127.0.0.1 KUBERNETES_SERVICE_PORT=$platform $1 server -config $v/config.hcl" \
    >>"$v/log" 2>&1 &
  pid=$!; children+=("$pid"); until_true listening
}
unseal() { curl -s -o /dev/null -X PUT "$vault/v1/sys/unseal" -d "{\"key\":\"$key\"}"; until_true active; }
as_root() { curl -s -H "X-Vault-Token: $root" "$vault/v1/$1" -d "$2"; }
reviewed() { [ "$(wc -l <apps/audit.log)" -gt "$1" ]; }
login() {
  local reviews; reviews=$(wc -l <apps/audit.log)
  local status; status=$(curl -s -o /dev/null -w '%{http_code}' "$vault/v1/auth/kubernetes/login" -d "{\"role\":\"web\",\"jwt\":\"$client\"}")
  until_true reviewed "$reviews"
  echo "$(curl -s "$vault/v1/sys/health" | jq -r .version): HTTP $status, reviewed by $(tail -1 apps/audit.log | jq -r '.user.username // "nobody"')"
}

start "$1"
init=$(curl -s -X PUT "$vault/v1/sys/init" -d '{"secret_shares":1,"secret_threshold":1}')
key=$(jq -r '.keys[0]' <<<"$init"); root=$(jq -r .root_token <<<"$init")
unseal
as_root sys/auth/kubernetes '{"type":"kubernetes"}'
as_root auth/kubernetes/config "$(jq -n --arg host "https://127.0.0.1:$apps" --rawfile ca apps/certs/apiserver.crt \
  '{kubernetes_host: $host, kubernetes_ca_cert: $ca, issuer: "https://apps.example"}')"
as_root auth/kubernetes/role/web \
  '{"bound_service_account_names":"web","bound_service_account_namespaces":"apps","policies":"default","ttl":"1h"}'
login; shift
for binary in "$@"; do
  kill "$pid"; wait "$pid" 2>/dev/null || true
  start "$binary"; unseal; login
done
