#!/usr/bin/env bash
# Runs the binaries of target/release-set under their emulated processors (qemu-user):
#
#   cross/smoke.sh                      all that are there
#   cross/smoke.sh aarch64 armv6        only these
#   cross/smoke.sh --quick armv6        that of cross/build.sh --quick
#
# Needs qemu-user-static (Debian), and a kernel that lets a user have a network of their own (or root).
set -euo pipefail
cd "$(dirname "$0")/.."
set_dir=${CARGO_TARGET_DIR:-target}/release-set
[ "${1:-}" != --quick ] || { set_dir=${set_dir%/*}/quick-set && shift; }
mapfile -t all < <(awk '!/^#/ { print $1 }' cross/targets)
[ $# -gt 0 ] || set -- "${all[@]}"
for name; do
    binary=$(realpath "$set_dir"/barnacle-*-"$name")
    read -r _ _ _ _ _ _ emulator < <(grep "^$name " cross/targets)
    command -v "${emulator%% *}" >/dev/null || { echo "cross/smoke.sh: ${emulator%% *} is missing" >&2; exit 1; }
    echo "== $name: $emulator"
    BARNACLE="$emulator $binary" unshare --user --map-root-user --net --pid --fork --mount-proc sh cross/steps.sh
done
