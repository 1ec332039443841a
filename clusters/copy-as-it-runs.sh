# Runs on a node: makes the folder $3 hold what the folder $2 holds, and nothing else, while the container "vault" of the
# Pod with the UID $1 stands still. None of its threads is in a system call then: so a power cut would leave its files.
# Then it gets the signal $4: CONT has it go on.
set -eu
pid=
its='labels."io.kubernetes.pod.uid"=="'$1'",labels."io.kubernetes.container.name"=="vault"'
for container in $(ctr -n k8s.io containers ls -q "$its"); do
    # those that ended have no task, or one that does not run
    pid=${pid:-$(ctr -n k8s.io tasks ls | awk -v its="$container" '$1 == its && $3 == "RUNNING" {print $2}')}
done
[ -n "$pid" ] || { echo "Vault does not run in the Pod $1"; exit 1; }
trap 'kill -'"$4"' "$pid"' EXIT
kill -STOP "$pid"
tries=0
while sed 's/.*) //' /proc/"$pid"/task/*/stat | grep -qv '^T'; do
    tries=$((tries + 1))
    [ "$tries" -lt 1000 ] || { echo "Vault (process $pid of the node) does not stand still"; exit 1; }
    sleep 0.01
done
mkdir -p "$3"
find "$3" -mindepth 1 -delete
cp -a "$2/." "$3"
