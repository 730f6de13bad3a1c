#!/usr/bin/env bash
# Pulls the power of an emulated board, in the middle of what it does, and looks whether what it acknowledged is there:
#
#   cross/power.sh [virt|cortex-a72|raspi3b] [<pulls>]
#
# The board has an SD card with ext4. Devices pair and the configuration is edited, one change after the other; each is
# acknowledged on the console. At some moment the emulator is killed; the same card is put into the next, which has to
# find every acknowledged change, on a card that holds nothing it was not told to write.
#
# Needs what cross/board.sh does, mke2fs (Debian: e2fsprogs) and qemu-img (qemu-utils). Takes cross/board.sh's --quick.
set -euo pipefail
cd "$(dirname "$0")/.."
quick=()
[ "${1:-}" != --quick ] || { quick=(--quick); shift; }
board=${1:-virt} pulls=${2:-4}
for tool in mke2fs qemu-img; do
    command -v $tool >/dev/null || { echo "cross/power.sh: $tool is missing (Debian: apt-get install e2fsprogs qemu-utils)" >&2; exit 1; }
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

mkdir -p "$tmp"/card/.openclaw "$tmp"/with/keys
cat >"$tmp/card/.openclaw/openclaw.json" <<'CONFIG'
{
  // by hand
  "gateway": { "mode": "local", "auth": { "token": "power-shared-token" },
    "nodes": { "pairing": { "autoApproveLocal": false } } }
}
CONFIG
mke2fs -q -t ext4 -d "$tmp/card" "$tmp/card.0" 64M >/dev/null
for n in {1..64}; do head -c 32 /dev/urandom >"$tmp/with/keys/$n"; done
: >"$tmp/with/acknowledged"

format=raw
for ((pull = 1; pull <= pulls + 1; pull++)); do
    # A new image over the last: only what is flushed into this one is there when QEMU is gone.
    qemu-img create -q -f qcow2 -o cluster_size=4k -F $format -b "$tmp/card.$((pull - 1))" "$tmp/card.$pull"
    format=qcow2
    changes=$((2 + RANDOM % 4))
    code=0
    if [ $pull -le "$pulls" ]; then touch "$tmp/with/pulled"; else rm -f "$tmp/with/pulled" && changes=0; fi
    cross/board.sh "$board" "${quick[@]}" --card "$tmp/card.$pull" --with "$tmp/with" --pull $changes \
        cross/power-steps.sh | tee "$tmp/console" || code=$?
    expected=0
    [ $pull -gt "$pulls" ] || expected=137
    [ $code = $expected ] || exit 1
    sed -n 's/^power: begins \([0-9]*\).*/begun \1/p; s/^power: acknowledged \([a-z]*\) \([0-9]*\).*/\1 \2/p' \
        "$tmp/console" >>"$tmp/with/acknowledged"
    [ $pull -gt "$pulls" ] || echo "cross/power.sh: pull $pull of $pulls, after: $(tail -n 1 "$tmp/with/acknowledged")"
done
echo "cross/power.sh: $pulls pulls, $(grep -c '^[de][^g]' "$tmp/with/acknowledged") acknowledged changes, nothing lost"
