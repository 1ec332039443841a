# Runs in the root of the fresh Debian, with kind's own files laid over it: what every Kubernetes version shares.
set -eu
umask 022
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

chmod 755 /kind /kind/bin /kind/bin/* /usr/local/bin/*
mkdir -p /etc/kubernetes/manifests /kind/manifests /opt/cni/bin

# systemd: only what a node needs, as in kind's own recipe
rm -f /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service
rm -f /lib/systemd/system/multi-user.target.wants/* /lib/systemd/system/local-fs.target.wants/*
rm -f /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl*
rm -f /lib/systemd/system/basic.target.wants/* /etc/systemd/system/*.wants/*
echo 'ReadKMsg=no' >>/etc/systemd/journald.conf
systemctl enable kubelet.service containerd.service undo-mount-hacks.service
systemctl mask systemd-binfmt.service

# containerd is Debian's. Nothing raises a limit or lowers an OOM score: engines in containers may not.
sed -i 's#/usr/local/bin/containerd#/usr/bin/containerd#; s/^OOMScoreAdjust/#&/' /etc/systemd/system/containerd.service
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
ctr oci spec | jq '
  .hooks.createContainer = [{path: "/kind/bin/mount-product-files.sh"}]
  | del(.process.rlimits)
  | .process.capabilities |= map_values(map(select(. != "CAP_SYS_RESOURCE")))' >/etc/containerd/cri-base.json

# one bridge for the pods of a single node, instead of kind's own network, which comes as an image
mv /usr/lib/cni/bridge /usr/lib/cni/host-local /usr/lib/cni/loopback /usr/lib/cni/portmap /opt/cni/bin/
rm -rf /usr/lib/cni
mkdir -p /etc/cni/net.d
cp /root/10-bridge.conflist /etc/cni/net.d/
rm /root/10-bridge.conflist

# small: what only people or apt read, and the runtimes that nothing here uses
rm -rf /usr/share/doc /usr/share/info /usr/share/locale /usr/share/man /usr/share/zoneinfo /usr/share/perl5
rm -rf /var/cache/apt /var/lib/apt/lists /var/cache/debconf /var/log/* /debootstrap
rm -f /usr/bin/containerd-shim /usr/bin/containerd-shim-runc-v1 /usr/bin/containerd-stress
rm -f /etc/machine-id /var/lib/dbus/machine-id
: >/etc/machine-id
mkdir -p /var/cache/apt/archives/partial /var/lib/apt/lists/partial
