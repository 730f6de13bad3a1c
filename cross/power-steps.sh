#!/bin/sh
# One boot of a board whose power will be pulled (cross/power.sh): every device that was ever acknowledged attaches,
# every acknowledged edit of the configuration is there, and then one change after the other is begun and acknowledged
# on the console. What the console said before the power went is in /acknowledged; the clients' keys are in /keys.
set -eu
here=10.9.9.1
journal=/tmp/journal
say() { echo "power: $*"; }
fail() { say "FAILED: $*"; sed 's/^/  journal: /' "$journal"; exit 1; }
# A client from elsewhere, by its key alone; the change under way is on disk when it says so.
agent() { n=$1; shift; OPENCLAW_STATE_DIR=/tmp/agents/$n barnacle "$@" --url ws://$here:18789 --timeout 30000; }

ip addr add $here/32 dev lo
for key in /keys/*; do
    mkdir -p "/tmp/agents/${key##*/}/barnacle"
    cp "$key" "/tmp/agents/${key##*/}/barnacle/cli.key"
done
card=/dev/vda
[ -b $card ] || card=/dev/mmcblk0
mkdir /card
# Nothing but what is synced is safe for a minute.
mount -t ext4 -o noatime,commit=60 $card /card
export HOME=/card
left=$(cd /card/.openclaw && find . -name '*.tmp*' | tr '\n' ' ')
barnacle gateway --bind $here --verbose >"$journal" 2>&1 & gateway=$!
tries=0
until barnacle status >/tmp/status 2>&1; do
    tries=$((tries + 1))
    { [ $tries -lt 300 ] && kill -0 $gateway; } || fail "it does not start again"
    sleep 0.1
done
! grep -qE ' (WARN|ERROR) ' "$journal" || fail "the state is not whole"

devices=0 edits=0 last=0
while read -r what n; do
    case $what in
        begun) last=$n ;;
        device) devices=$((devices + 1)); agent "$n" status >/tmp/attached 2>&1 || fail "device $n was acknowledged: $(cat /tmp/attached)" ;;
        edit) edits=$n ;;
    esac
done </acknowledged
[ "$edits" = 0 ] || [ "$(barnacle config get gateway.handshakeTimeoutMs)" -ge $((9000 + edits)) ] ||
    fail "edit $edits was acknowledged: $(barnacle config get gateway.handshakeTimeoutMs)"
say "all $devices acknowledged devices attach, edit $edits is there${left:+; begun and never finished: $left}"

[ -f /pulled ] || exit 0
while :; do
    last=$((last + 1))
    say "begins $last"
    agent $last status --token power-shared-token >/tmp/refused 2>&1 && fail "an unknown device was let in"
    request=$(sed -n 's/.*devices approve \([0-9a-f-]*\).*/\1/p' /tmp/refused | head -n 1)
    [ -n "$request" ] || fail "no request to approve: $(cat /tmp/refused)"
    barnacle devices approve "$request" >/dev/null || fail "not approved"
    say "acknowledged device $last"
    barnacle config set gateway.handshakeTimeoutMs $((9000 + last)) >/dev/null || fail "not edited"
    say "acknowledged edit $last"
done
