# The frame: a control group for the host to be, and its removal at the end. Runs in a mount namespace of
# its own, so what is mounted here nobody else sees. $D is a directory of this host alone.
set -e
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$D/cgroup"
group="$D/cgroup/$(basename "$D")"
mkdir "$group"
echo $$ > "$group/cgroup.procs"
setpriv --pdeathsig KILL --bounding-set=-sys_time,-sys_module,-sys_boot,-sys_rawio,-syslog,-wake_alarm \
    unshare --pid --fork --mount --cgroup --uts --ipc --kill-child sh -c "$INNER" inner || true
echo $$ > "$D/cgroup/cgroup.procs"
find "$group" -depth -type d -exec rmdir {} +
