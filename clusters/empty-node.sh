# Runs on a node of a kept cluster: ends what earlier rehearsals have left there. Their Pods, in the namespaces $4 and on,
# are deleted already, and the kubelet takes what they ran down as soon as it has ended. One Pod stays, where there is
# one: $2 of the namespace $1, whose data are in the folder $3.
set -eu
spared_space=$1 spared=$2 data=$3
shift 3
running=$(mktemp)
theirs() {
    [ "$#" -gt 0 ] || return 0
    # all in one command: each takes a while to start
    for namespace; do
        shift
        but=
        [ "$namespace" != "$spared_space" ] || but=",labels.\"io.kubernetes.pod.name\"!=\"$spared\""
        set -- "$@" "labels.\"io.kubernetes.pod.namespace\"==\"$namespace\"$but$kind"
    done
    ctr -n k8s.io containers ls -q "$@" | sort | comm -12 - "$running"
}
look() { ctr -n k8s.io tasks ls -q | sort >"$running"; }
look
kind=',labels."io.cri-containerd.kind"=="container"'
for container in $(theirs "$@"); do
    ctr -n k8s.io tasks kill -s KILL "$container" 2>/dev/null || true
done
kind=
tries=0
while left=$(theirs "$@") && [ -n "$left" ]; do
    tries=$((tries + 1))
    if [ "$tries" = 150 ]; then
        echo "still running: $(echo "$left" | tr '\n' ' ')"
        exit 1
    fi
    sleep 0.1
    look
done
# Whom a course kept from the API server.
if iptables -w -D INPUT -p tcp --dport 6443 -j REHEARSAL 2>/dev/null; then
    iptables -w -F REHEARSAL
    iptables -w -X REHEARSAL
fi
# The small disks of audit devices.
awk '$2 ~ "^/var/lib/rehearsal/" {print $2}' /proc/mounts | while read -r disk; do umount -l "$disk"; done
# Every run has data of its own.
for folder in "$running" /var/lib/rehearsal/*; do
    [ "$folder" = "$data" ] || rm -rf "$folder"
done
