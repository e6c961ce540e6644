# PID 1 of the guest's initramfs, after a few lines that set what is in capitals here and export it.
# It builds the guest's / as a tmpfs over the host's /, and ends as the shell that runs one command.

mount() { /bin/busybox mount "$@"; }
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
# Twice, so that their order does not matter.
for module in /mods/* /mods/*; do insmod "$module" 2>/dev/null; done
until [ -c /dev/vport0p3 ]; do sleep 0.02; done
echo up >/dev/vport0p3

mount -t virtiofs -o ro host /lower &&
    mount -t tmpfs -o mode=755,size=75% rw /rw &&
    mkdir /rw/up /rw/work &&
    mount -t overlay -o lowerdir=/lower,upperdir=/rw/up,workdir=/rw/work root /new &&
    cd /new || reboot -f
mkdir -p lib/modules
[ -e "lib/modules/$VERSION" ] || ln -s "$KERNEL/lib/modules/$VERSION" lib/modules # no mount below /usr

# What is shown of the directories that the guest has for itself is kept aside while those are mounted.
for dir in $SHOW; do
    mkdir -p "/hold$dir"
    mount --bind "/new$dir" "/hold$dir"
done
mount -t proc proc proc
mount -t sysfs sys sys
mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t mqueue mqueue dev/mqueue
for dir in dev/shm tmp; do mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$dir"; done
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
# A file system with idmapped mounts and with user.* attributes: overlay has no idmapped mounts, tmpfs since 6.3.
[ -b /dev/vda ] && mount -t ext4 /dev/vda var/tmp && chmod 1777 var/tmp
[ -b /dev/vdb ] && swapon /dev/vdb
mkdir -p run/lock run/guest "run/user/$ID"
for dir in $SHOW; do
    mkdir -p "/new$dir"
    mount --move "/hold$dir" "/new$dir"
done

ln -s /proc/self/fd dev/fd
for pair in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${pair%:*}" "dev/${pair#*:}"; done
[ -e sbin/modprobe ] || ln -s "$BUSYBOX" sbin/modprobe
chmod 666 dev/fuse dev/net/tun 2>/dev/null

if [ "$ID" != 0 ]; then
    sed -i "1i guest:x:$ID:$ID::/home/guest:/bin/sh" etc/passwd # the first entry for this uid, so it wins
    sed -i "1i guest:x:$ID:" etc/group
    for file in etc/subuid etc/subgid; do echo guest:1000000:65536 >>"$file"; done
    mkdir -p home/guest
    chown "$ID:$ID" home/guest "run/user/$ID"
    chmod 700 "run/user/$ID"
    chmod a+x root
    dir=$DIRECTORY
    while [ "$dir" ]; do
        chmod a+x "/new$dir"
        dir=${dir%/*}
    done
fi

# One level for the guest as a whole, and below it what is delegated: the processes are in a leaf, so that the group
# above it can share out its controllers (cgroups(7), "no internal processes").
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 sys/fs/cgroup
cd sys/fs/cgroup || reboot -f
read -r all <cgroup.controllers
mkdir guest
for dir in . guest; do echo "+${all// / +}" >"$dir/cgroup.subtree_control"; done
mkdir guest/cmd
all=$(cat /sys/kernel/cgroup/delegate)
for dir in guest cmd; do
    cd "$dir"
    chown -f "$ID:$ID" . $all
done

cd /new/run/guest || reboot -f
cp /bin/busybox .
mkfifo -m 600 out err
chown "$ID:$ID" out err
ip link set lo up
hostname guest
mount --make-rshared /new
ulimit -c 0
ulimit -Hn 524288
# The 5 seconds: what outlives the command may hold the pipes.
exec switch_root /new /run/guest/busybox sh -c 'cd /run/guest
cat out >/dev/vport0p1 & o=$!
cat err >/dev/vport0p2 & e=$!
(echo 0 >/sys/fs/cgroup/guest/cmd/cgroup.procs; cd "$DIRECTORY" && eval "exec $SWITCH $COMMAND") </dev/null >out 2>err
code=$?
(sleep 5; kill $o $e) &
wait $o $e
sync
echo $code >/dev/vport0p3
reboot -f'
