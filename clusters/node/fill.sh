# Runs in a container of the node's base: puts Kubernetes $1 in, and the images of /mnt/images.tar, of which $2 is pause.
set -eu
install -m 755 /mnt/kubernetes /usr/bin/kubelet
ln -s kubelet /usr/bin/kubeadm
ln -s kubelet /usr/bin/kubectl
printf 'v%s' "$1" >/kind/version
sed -i "s#^\( *sandbox_image = \).*#\1\"$2\"#" /etc/containerd/config.toml
sh /mnt/import.sh /mnt/images.tar
