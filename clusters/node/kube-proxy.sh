# Runs in a container of the node's base: packs what kube-proxy calls, with every library of it, into /mnt/kube-proxy.tar
set -eu
root=$(mktemp -d)
for program in /usr/sbin/xtables-nft-multi /usr/sbin/conntrack /usr/bin/kmod /usr/sbin/nft /usr/bin/dash; do
    for file in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
        mkdir -p "$root$(dirname "$file")"
        cp -L "$file" "$root$file"
    done
done
cp -r --parents /usr/lib/*/xtables "$root"
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore iptables-nft ip6tables-nft; do
    ln -s xtables-nft-multi "$root/usr/sbin/$name"
done
mkdir -p "$root/bin"
ln -s /usr/bin/dash "$root/bin/sh"
ln -s ../bin/kmod "$root/usr/sbin/modprobe"
tar -C "$root" --sort=name --owner=0 --group=0 --mtime=@0 -cf /mnt/kube-proxy.tar .
rm -rf "$root"
