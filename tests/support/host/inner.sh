# Process 1 of the host to be. A systemd that boots empties /tmp, sets clocks and rewrites files: it must
# have nothing of the machine it is started on. So it gets a root of its own, in memory, with the machine's
# /usr read-only, and none of the distribution's units; and it is not started if anything else is writable.
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$D/root"
cd "$D/root"
# Mounts of their own, or systemd would mount the machine's devices there.
mkdir dev run tmp
for dir in dev run tmp; do mount -t tmpfs tmpfs $dir; done
mkdir -p dev/pts dev/shm etc/systemd/system etc/systemd/user home/barnacle-test old opt proc root sys usr var/lib/systemd/linger var/log
mkdir var/tmp
chmod 1777 tmp var/tmp
ro_bind() { mount --bind "$1" "$2" && mount -o remount,bind,ro "$2"; }
if [ -n "${PACKAGES:-}" ]; then
    # What a package changes of it stays in memory.
    mkdir -p var/usr/over var/usr/work var/lib/dpkg/info var/lib/dpkg/updates
    touch var/lib/dpkg/status
    mount -t overlay -o "lowerdir=/usr,upperdir=$D/root/var/usr/over,workdir=$D/root/var/usr/work" overlay usr
else
    ro_bind /usr usr
fi
for dir in bin sbin lib lib32 lib64; do
    if [ -L "/$dir" ]; then cp -P "/$dir" "$dir"; elif [ -d "/$dir" ]; then mkdir "$dir" && ro_bind "/$dir" "$dir"; fi
done
touch opt/barnacle
ro_bind "$PROGRAM" opt/barnacle
[ -z "${BESIDE:-}" ] || { mkdir "opt/${BESIDE##*/}" && ro_bind "$BESIDE" "opt/${BESIDE##*/}"; }
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 dev/tty c 5 0
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t proc proc proc
ro_bind proc/sys proc/sys
[ ! -e proc/sysrq-trigger ] || ro_bind proc/sysrq-trigger proc/sysrq-trigger
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup

printf 'root:x:0:0::/root:/bin/sh\nbarnacle-test:x:%s:%s::/home/barnacle-test:/bin/sh\n' "$ID" "$ID" > etc/passwd
printf 'root:x:0:\nbarnacle-test:x:%s:\n' "$ID" > etc/group
printf 'passwd: files\ngroup: files\n' > etc/nsswitch.conf
printf '127.0.0.1 localhost %s\n' "$(uname -n)" > etc/hosts
echo 00000000000000000000000000000001 > etc/machine-id
for target in sysinit basic sockets network multi-user default shutdown exit; do
    printf '[Unit]\nDefaultDependencies=no\n' | tee etc/systemd/system/$target.target > etc/systemd/user/$target.target
done
mkdir -p run/systemd/system run/systemd/journal "run/user/$ID" sys/fs/cgroup/user
chmod 700 "run/user/$ID"
chown -R "$ID:$ID" home/barnacle-test "run/user/$ID" sys/fs/cgroup/user

pivot_root . old
cd /
umount -l /old
rmdir /old
writable=
while read -r _ _ _ _ at options rest; do
    kind=${rest#*- }
    case "${kind%% *} $options" in
        overlay\ *) [ "${rest#*upperdir="$D"/root/}" != "$rest" ] || writable="$writable $at" ;;
        tmpfs\ * | devpts\ * | proc\ * | sysfs\ * | cgroup2\ * | *\ ro | *\ ro,*) ;;
        *) writable="$writable $at" ;;
    esac
done < /proc/self/mountinfo
if [ -n "$writable" ]; then
    echo "not started: of the machine's own, this is writable:$writable" >&2
    exit 1
fi
set -- PATH="$PATH" SYSTEMD_GENERATOR_PATH=/none
if [ "$SCOPE" = system ]; then
    exec env -i "$@" container=test SYSTEMD_UNIT_PATH=/etc/systemd/system \
        /usr/lib/systemd/systemd --system --unit=default.target --show-status=no
fi
echo $$ > /sys/fs/cgroup/user/cgroup.procs
setpriv --reuid "$ID" --regid "$ID" --clear-groups env -i "$@" HOME=/home/barnacle-test \
    SYSTEMD_UNIT_PATH="/home/barnacle-test/.config/systemd/user:/etc/systemd/user${PACKAGES:+:/usr/lib/systemd/user}" \
    XDG_RUNTIME_DIR="/run/user/$ID" /usr/lib/systemd/systemd --user
