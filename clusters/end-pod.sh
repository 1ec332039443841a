# Runs on a node: ends what the Pod $2 of the namespace $1 runs there, and removes what it wrote. It is deleted already,
# and the kubelet takes the rest down as soon as that has ended; another Pod of this name may come then.
set -eu
running=$(mktemp)
its() {
    ctr -n k8s.io tasks ls -q | sort >"$running"
    ctr -n k8s.io containers ls -q \
        "labels.\"io.kubernetes.pod.namespace\"==\"$1\",labels.\"io.kubernetes.pod.name\"==\"$2\"$3" |
        sort | comm -12 - "$running"
}
end() {
    for container in $(its "$1" "$2" ',labels."io.cri-containerd.kind"=="container"'); do
        ctr -n k8s.io tasks kill -s KILL "$container" 2>/dev/null || true
    done
}
end "$1" "$2"
tries=0
while [ -n "$(its "$1" "$2" "")" ]; do
    # one that had yet to start, or that a kubelet started anew which has not heard of the end of its Pod yet
    end "$1" "$2"
    tries=$((tries + 1))
    if [ "$tries" = 300 ]; then
        echo "still running: $(its "$1" "$2" "" | tr '\n' ' ')"
        exit 1
    fi
    sleep 0.05
done
rm -rf "$running" /var/log/pods/"$1_$2"_*
