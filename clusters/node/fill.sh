# Runs in a container of the node's base: puts Kubernetes $1 in, and the images of /mnt/images.tar, of which $2 is pause.
set -eu
install -m 755 /mnt/kubernetes /usr/bin/kubelet
ln -s kubelet /usr/bin/kubeadm
ln -s kubelet /usr/bin/kubectl
printf 'v%s' "$1" >/kind/version
sed -i "s#^\( *sandbox_image = \).*#\1\"$2\"#" /etc/containerd/config.toml

# The images only have to be known: whatever part of containerd runs pods may as well fail here.
printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >/tmp/containerd.toml
containerd --config /tmp/containerd.toml >/mnt/containerd.log 2>&1 &
containerd=$!
tries=0
until ctr version >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" = 300 ]; then
        tail -n 5 /mnt/containerd.log
        exit 1
    fi
    sleep 0.1
done
ctr -n k8s.io images import --all-platforms --no-unpack /mnt/images.tar
kill "$containerd"
wait "$containerd" || true
rm -rf /run/containerd /tmp/containerd.toml
