#!/bin/sh
# A gateway's first hour, on a board or an emulated processor: it starts, a client pairs, is served while the
# configuration is edited and the program restarts, and gets in by its key alone after a kill -9.
#
#   BARNACLE="qemu-aarch64-static target/release-set/barnacle-0.1.0-aarch64" sh cross/steps.sh
#
# For a network of its own (cross/smoke.sh and cross/board.sh give it one): it adds an address to the loopback
# device, so that the client comes as one from elsewhere. Busybox is enough.
#
# The kernel's command line may ask for worse: steps.clock (the board has no clock: it is 1970, and now while a client
# is attached), steps.offline (at last no address but loopback), steps.readonly (the root is read-only, at last the
# state as well), steps.random (the kernel is short of random numbers at first).
set -eu
: "${BARNACLE:=barnacle}"
# How long an emulator of a slow board may take for one step, in tenths of a second.
patience=300
here=10.9.9.1
HOME=$(mktemp -d) && export HOME
journal=$HOME/journal
agent_dir=$HOME/agent && mkdir "$agent_dir"

say() { echo "steps: $*"; }
fail() {
    say "FAILED: $*"
    sed 's/^/  journal: /' "$journal" "$HOME"/followed* 2>/dev/null || true
    exit 1
}
# Waits until a command succeeds.
until_true() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt $patience ] || fail "never came true: $*"
        sleep 0.1
    done
}
logged() { grep -q -- "$1" "$journal"; }
start() { $BARNACLE gateway --bind $here --verbose >>"$journal" 2>&1 & gateway=$!; }
agent() { what=$1; shift; OPENCLAW_STATE_DIR=$agent_dir $BARNACLE "$what" --url ws://$here:18789 --timeout 30000 "$@"; }
pid_told() { $BARNACLE status | sed -n 's/.* process \([0-9]*\).*/\1/p'; }
# Whether the kernel's command line asks for it.
asked() { grep -qw "steps.$1" /proc/cmdline; }
is_on_tmpfs() { [ "$(stat -f -c %T "$HOME" 2>/dev/null)" = tmpfs ]; }
memory() { awk '/^VmRSS|^VmHWM|^RssAnon/ { printf "%s %s kB  ", $1, $2 }' "/proc/$gateway/status"; }

say "$($BARNACLE --version) on $(uname -mr), $(awk '/MemTotal/ { print $2, $3 }' /proc/meminfo) of memory," \
    "pages of $(awk '/KernelPageSize/ { print $2, $3; exit }' /proc/self/smaps)"
if asked clock; then
    [ "$(date +%Y)" = 1970 ] || date -s @600 >/dev/null
    say "clock: $(date)"
fi
if asked readonly; then
    mount -o remount,ro /
    touch /root/x 2>/dev/null && fail "the root can be written"
    say "root: read-only"
fi
[ ! -e /proc/cgroups ] || ! grep -qw cgroup_disable=memory /proc/cmdline ||
    say "control groups, and whether they are there: $(awk '!/#/ { print $1 "=" $4 }' /proc/cgroups | tr '\n' ' ')"
[ -e /proc/net/if_inet6 ] || say "no IPv6"

ip link set lo up
ip addr add $here/32 dev lo

mkdir "$HOME/.openclaw"
printf '%s\n' '{' '  // by hand' '  "gateway": { "mode": "local", "auth": { "token": "steps-shared-token" },' \
    '    "nodes": { "pairing": { "autoApproveLocal": false } } }' '}' > "$HOME/.openclaw/openclaw.json"
start
until_true logged 'listening on'
if logged 'waiting for the kernel.s random numbers'; then
    # 18789, in state LISTEN.
    port=$(grep -c ':4965 .* 0A ' /proc/net/tcp) key=$(ls "$HOME/.openclaw/barnacle/key" 2>/dev/null || true)
    if ! logged 'the kernel has random numbers'; then
        [ "$port" -gt 0 ] || fail "the port is not open"
        [ -z "$key" ] || fail "a key was made without random numbers"
        say "no random numbers yet: the port is open, nothing is made of them"
    fi
elif asked random; then
    fail "this kernel is not short of random numbers"
fi
# shellcheck disable=SC2086
until_true $BARNACLE status
! logged 'the kernel has random numbers' || say "$(sed -n 's/.*\(the kernel has random.*\)/\1/p' "$journal")"
say "started: $(sed -n 's/.*· \([0-9.]* ms\) to listen.*/\1/p' "$journal") to listen; $(memory)"

agent status --token steps-shared-token >"$HOME/refused" 2>&1 && fail "an unknown device was let in"
request=$(sed -n 's/.*devices approve \([0-9a-f-]*\).*/\1/p' "$HOME/refused" | head -n 1)
[ -n "$request" ] || fail "no request to approve: $(cat "$HOME/refused")"
$BARNACLE devices approve "$request"
agent status >/dev/null || fail "the paired device was refused"
say "paired: request $request, then in by its key alone"

agent logs -f >"$HOME/followed" 2>&1 & follower=$!
until_true grep -q . "$HOME/followed"
sed 's/"local",/"local", "handshakeTimeoutMs": 9000,/' "$HOME/.openclaw/openclaw.json" >"$HOME/edited"
cat "$HOME/edited" >"$HOME/.openclaw/openclaw.json"
until_true logged 'reloaded: +gateway.handshakeTimeoutMs'
say "edited: $(sed -n 's/.*\(reloaded: +gateway.hand.*\)/\1/p' "$journal")"

if asked clock; then
    date -s @1790000000 >/dev/null
    agent status >/dev/null || fail "refused after the clock jumped"
    kill -0 $follower || fail "the client that was attached went away: $(cat "$HOME/followed")"
    say "clock: $(date); who was attached still is, and by its key alone it gets in"
fi

if $BARNACLE gateway restart >"$HOME/restart" 2>&1; then
    until_true logged 'took over\|handed over\|carried over'
    say "restarted: process $gateway, now $(pid_told); $(memory)"
elif [ "${BARNACLE#qemu-}" != "$BARNACLE" ] && grep -q 'Exec format error\|exit 127' "$HOME/restart"; then
    say "not restarted in place: this system runs such a binary through an emulator alone"
else
    fail "$(cat "$HOME/restart")"
fi
kill -0 $follower || fail "the client that was attached went away: $(cat "$HOME/followed")"
agent status >/dev/null || fail "refused after the restart"
until_true grep -q 'reloaded: +gateway.hand' "$HOME/followed"
say "the client that was attached still is"
kill $follower

$BARNACLE config set gateway.tls.enabled true >/dev/null
until_true logged 'reloaded: +gateway.tls'
# Its own certificate, made and used by the TLS library's code for this processor.
$BARNACLE status >"$HOME/status" || fail "no TLS: $(cat "$HOME/status")"
say "TLS: $(head -n 1 "$HOME/status")"
grep -q 'wss://' "$HOME/status" || fail "it is not encrypted"
$BARNACLE config set gateway.tls.enabled false >/dev/null
until_true logged 'reloaded: .*gateway.tls.*[0-9] connections'

kill -9 $gateway
wait $gateway 2>/dev/null || true
: >"$journal"
start
until_true logged 'listening on'
agent status >/dev/null || fail "refused after a kill -9"
say "killed and started again: $(sed -n 's/.*\(· [0-9]* devices\{0,1\} paired.*\)/\1/p' "$journal"); in by its key alone"
stop() {
    kill $gateway
    wait $gateway || fail "it did not stop well: $?"
}
stop

if asked readonly; then
    mount -o bind "$HOME/.openclaw" "$HOME/.openclaw"
    mount -o remount,ro,bind "$HOME/.openclaw"
    : >"$journal"
    start
    until_true logged 'listening on'
    agent status >/dev/null || fail "refused with state that is read-only"
    logged 'paired devices are served, new pairings are refused' || fail "it does not say what it cannot do"
    say "state: read-only. It says: $(sed -n 's/.* WARN \(.*new pairings.*\)/\1/p' "$journal")"
    agent_dir=$HOME/stranger && mkdir "$agent_dir"
    agent status --token steps-shared-token >"$HOME/refused" 2>&1 && fail "a device was paired that cannot be kept"
    say "a new device is told: $(tr '\n' ' ' <"$HOME/refused")"
    agent_dir=$HOME/agent
    $BARNACLE config set gateway.handshakeTimeoutMs 9001 >"$HOME/refused" 2>&1 && fail "it was edited"
    say "an edit is told: $(tail -n 1 "$HOME/refused")"
    $BARNACLE gateway restart >"$HOME/restart" 2>&1 || fail "$(cat "$HOME/restart")"
    agent status >/dev/null || fail "refused after a restart with state that is read-only"
    stop
    umount "$HOME/.openclaw"
fi

if asked offline; then
    ip addr del $here/32 dev lo
    : >"$journal"
    # It is to listen on an address that is gone.
    start
    until_true logged 'listening on'
    here=127.0.0.1
    agent status >/dev/null || fail "refused on loopback"
    sed -n 's/.* WARN \(.*\)/\1/p' "$journal" | grep 10.9.9.1 >"$HOME/warned" || fail "nothing is said of the address"
    say "no network: in by loopback. It says: $(cat "$HOME/warned")"
    here=10.9.9.1
    ip addr add $here/32 dev lo
    agent status >/dev/null || fail "refused at the address that came late"
    say "network: in by $here, without a reload"
    stop
fi

if is_on_tmpfs; then
    $BARNACLE doctor >"$HOME/doctor" 2>&1 || true
    grep 'is on a file system in memory\|is on tmpfs\|do not survive a reboot' "$HOME/doctor" >"$HOME/found" ||
        fail "doctor does not say that nothing survives: $(cat "$HOME/doctor")"
    say "doctor: $(head -n 1 "$HOME/found")"
fi
rm -rf "$HOME"
say passed
