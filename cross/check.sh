#!/usr/bin/env bash
# Says whether target/release-set is what may be released: every target of cross/targets and no other, each static,
# within its budget, for pages of up to 64 KiB, without a trace of the machine that built it, and of its checksum.
#
#   cross/check.sh [<target>...]
set -euo pipefail
cd "$(dirname "$0")/.."
cd "${CARGO_TARGET_DIR:-target}/release-set"
targets=$OLDPWD/cross/targets
budget=$((4 * 1024 * 1024))
[ $# -gt 0 ] || set -- $(awk '!/^#/ { print $1 }' "$targets")
bad=0
wrong() { echo "cross/check.sh: $*"; bad=1; }

for name; do
    file=$(ls barnacle-*-"$name" 2>/dev/null) && [ "$(wc -l <<<"$file")" = 1 ] || { wrong "$name: not exactly one file"; continue; }
    read -r _ _ _ _ machine _ < <(grep "^$name " "$targets")
    head=$(readelf -hlWd "$file" 2>/dev/null)
    grep -q "Machine: .*$machine" <<<"$head" || wrong "$file is not for $machine"
    ! grep -qE ' INTERP |\(NEEDED\)' <<<"$head" || wrong "$file needs other files to run"
    while read -r align; do
        [ $((align)) -ge 65536 ] || wrong "$file: a segment is aligned to $align only"
    done < <(awk '$1 == "LOAD" { print $NF }' <<<"$head")
    ! readelf -SW "$file" | grep -qE '\.symtab|\.debug_|build-id' || wrong "$file is not stripped"
    size=$(stat -c %s "$file")
    [ "$size" -le $budget ] || wrong "$file has $size bytes, more than $budget"
    ! grep -qaE "${CARGO_HOME:-$HOME/.cargo}|$(dirname "$targets")|/rustup/toolchains" "$file" || wrong "$file names paths of this machine"
    grep -q " $file\$" SHA256SUMS || wrong "$file has no checksum"
    # An armv7 instruction kills a Pi Zero: nothing in the file may ask for more than v6.
    [ "$name" != armv6 ] || readelf -A "$file" | grep -qE 'Tag_CPU_arch: v[56]' || wrong "$file is not for v6"
done
sha256sum --check --quiet SHA256SUMS || bad=1
[ $bad = 0 ] && echo "cross/check.sh: $* are as they should be"
exit $bad
