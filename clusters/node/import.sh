# Runs in a container of a node, or of one that is being made: has containerd know the images of the archives $@.
#
# They are unpacked here, once, and not in every cluster at its start: in /mnt, because one overlay cannot lie upon
# another. Whatever part of containerd runs pods may as well fail here.
set -eu
# /mnt is a folder of whoever has this made, who cannot remove what root writes there.
trap 'rm -rf /mnt/containerd /mnt/*.log' EXIT
mkdir -p /var/lib/containerd /mnt/containerd
cp -a /var/lib/containerd/. /mnt/containerd/
printf 'version = 2\nroot = "/mnt/containerd"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >/tmp/containerd.toml
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
for archive; do
    ctr -n k8s.io images import "$archive"
done
# What is unpacked needs its packed layers no more, and every cluster begins with a copy of all this. Their files would
# go later.
blobs=/mnt/containerd/io.containerd.content.v1.content/blobs/sha256
find "$blobs" -size +256k -printf 'sha256:%f\n' | xargs -r ctr -n k8s.io content rm >/mnt/removed.log
kill "$containerd"
wait "$containerd" || true
find "$blobs" -size +256k -delete
rm -rf /run/containerd /tmp/containerd.toml
# Nor does it need copies of its own of what is only read: so that lies where all clusters see the same files.
snapshots=io.containerd.snapshotter.v1.overlayfs/snapshots
mkdir -p /kind/layers
for layer in "/mnt/containerd/$snapshots"/*; do
    number=${layer##*/}
    if [ ! -e "/var/lib/containerd/$snapshots/$number" ]; then
        # Fails where a layer takes something of another away: an overlay can hold no such mark for another overlay.
        cp -a --preserve=xattr "$layer/fs" "/kind/layers/$number"
        rm -rf "$layer/fs"
        ln -s "/kind/layers/$number" "$layer/fs"
    fi
done
cp -au /mnt/containerd/. /var/lib/containerd/
