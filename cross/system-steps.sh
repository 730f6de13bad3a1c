#!/bin/sh
# What cross/system.sh has done in its machine, as root: a first time, and again after the power was pulled.
set -eu
export HOME=/root
unit=barnacle-gateway.service
# So that the client comes as one from elsewhere, and has to be paired.
here=10.9.9.1
agent_dir=/root/agent
followed=/run/followed

say() { echo "steps: $*"; }
fail() {
    trap - EXIT
    journalctl --no-pager -b -u $unit -n 40
    systemctl status --no-pager $unit user@1001.service || true
    say "FAILED: $*"
    exit 1
}
trap 'fail "at exit $?"' EXIT
# Waits until a command succeeds.
until_true() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "never came true: $*"
        sleep 0.1
    done
}
agent() { what=$1; shift; OPENCLAW_STATE_DIR=$agent_dir /root/client "$what" --url ws://$here:18789 --timeout 30000 "$@"; }
of() { systemctl show --value -p "$1" $unit; }
logged() { journalctl -b -u $unit -o cat | grep -q -- "$1"; }
alices() { runuser -u alice -- env HOME=/home/alice barnacle "$@"; }
bobs() { runuser -u bob -- env HOME=/home/bob XDG_RUNTIME_DIR=/run/user/1001 barnacle "$@"; }
attached() {
    kill -0 $follower || fail "$1: the client that was attached went away: $(cat $followed)"
    agent status >/dev/null || fail "$1: refused"
}
config() {
    mkdir -p "/home/$1/.openclaw"
    printf '%s\n' "{ gateway: { mode: 'local', port: $2, bind: 'custom', customBindHost: '$here'," \
        "auth: { token: '$1s-shared-token' }, nodes: { pairing: { autoApproveLocal: false } } } }" >"/home/$1/.openclaw/openclaw.json"
    chown -R "$1:" "/home/$1/.openclaw"
}

if [ -e /root/before ]; then
    until_true agent status
    [ "$(of ActiveState)" = active ] || fail "it is $(of ActiveState)"
    say "back by itself: $(journalctl -b -u $unit -o short-monotonic | sed -n 's/^\(\[[^]]*\]\).*listening on \(.*\)/listening \1 after power-on, on \2/p' | head -n 1); the device is in by its key alone"
    until_true bobs status
    [ -z "$(loginctl list-sessions --no-legend)" ] || fail "someone logged in: $(loginctl list-sessions)"
    say "and so is bob's own, who lingers: nobody has logged in"
    barnacle gateway uninstall
    [ "$(of ActiveState)" = inactive ] || fail "it still runs"
    dpkg --purge barnacle >/dev/null
    until_true test ! -e /usr/bin/barnacle
    say 'done'
    trap - EXIT
    exit
fi

say "$(systemctl --version | head -n 1), $(uname -sr), $(awk '/MemTotal/ { print $2, $3 }' /proc/meminfo) of memory"
config alice 18789
config bob 18790
dpkg -i /root/this.deb >/dev/null
# The client is a program of its own, whatever happens to the gateway's.
cp /usr/bin/barnacle /root/client
barnacle gateway install --run-as alice
[ "$(of ActiveState)/$(of NRestarts)" = active/0 ] || fail "it is $(of ActiveState)"
logged 'listening on' || fail "the journal does not have it"
say "installed and ready: $(of Type), process $(of MainPID) of $(of User), watched every $(of WatchdogUSec), $(systemd-analyze security --no-pager $unit | tail -n 1)"

agent status --token alices-shared-token >/run/refused 2>&1 && fail "an unknown device was let in"
alices devices approve "$(sed -n 's/.*devices approve \([0-9a-f-]*\).*/\1/p' /run/refused | head -n 1)"
agent status >/dev/null || fail "the paired device was refused"
OPENCLAW_STATE_DIR=$agent_dir /root/client logs -f --url ws://$here:18789 >$followed 2>&1 & follower=$!
until_true grep -q . $followed
for round in 1 2 3; do
    systemctl restart $unit
    attached "systemctl restart, $round"
    systemctl reload $unit
    attached "systemctl reload, $round"
done
say "three times restarted and reloaded by systemctl: the client that was attached still is"

pid=$(of MainPID)
this=$(/root/client --version | awk '{ print $2 }')
dpkg -i /root/next.deb >/dev/null
went_on() { journalctl -b -u $unit -o cat | sed -n 's/.*: Barnacle \([^ ]*\) handed over from .*/\1/p' | tail -n 1; }
attached upgrade
next=$(went_on)
[ "$next" != "$this" ] || fail "it is not the new version"
dpkg -i /root/this.deb >/dev/null
attached rollback
[ "$(went_on)" = "$this" ] || fail "it is still $(went_on)"
[ "$(of MainPID)" = "$pid" ] || fail "another process: $(of MainPID), not $pid"
say "upgraded to $next and rolled back by dpkg, in process $pid: still attached"

kill -9 "$pid"
until_true agent status
[ "$(of NRestarts)" = 1 ] || fail "started again $(of NRestarts) times"
say "killed: started again, and the device is in by its key alone"
kill $follower 2>/dev/null || true

# Another program on its port, which no new start fixes.
systemctl stop $unit
HOME=/root/other barnacle gateway --port 18789 --allow-unconfigured >/run/other 2>&1 & other=$!
until_true grep -q 'listening on' /run/other
systemctl start $unit 2>/dev/null || true
until_true test "$(of ActiveState)" = failed
[ "$(of ExecMainStatus)/$(of NRestarts)" = 78/0 ] || fail "exit $(of ExecMainStatus), $(of NRestarts) restarts"
logged 18789 || fail "the journal does not name the port"
kill $other
wait $other || true
systemctl start $unit
until_true agent status
say "a port that is taken: exit 78, not tried again; started once it was free"

loginctl enable-linger bob
until_true test -S /run/user/1001/systemd/private
bobs gateway install
until_true bobs status
say "bob has one of his own, and lingers"
touch /root/before
sync -f /root/before
say 'done'
sleep infinity
