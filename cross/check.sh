#!/usr/bin/env bash
# Says whether target/release-set is what may be released: of every target of cross/targets the same files and no others,
# each binary static, within its budget, for pages of up to 64 KiB, without a trace of the machine that built it, each
# package with that very binary, and all of them with their checksum.
#
#   cross/check.sh                      the whole set
#   cross/check.sh --binary aarch64…    only these targets' binaries, whatever else is there
set -euo pipefail
cd "$(dirname "$0")/.."
source=$PWD
cd "${CARGO_TARGET_DIR:-target}/release-set"
targets=$source/cross/targets
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$source/Cargo.toml" | head -1)
budget=$((4 * 1024 * 1024))
mapfile -t all < <(awk '!/^#/ { print $1 }' "$targets")
whole=yes
if [ "${1:-}" = --binary ]; then whole=no && shift; else set -- "${all[@]}"; fi
bad=0
wrong() { echo "cross/check.sh: $*"; bad=1; }

if [ $whole = yes ]; then
    expected=$({
        echo SHA256SUMS
        echo install.sh
        for name in "${all[@]}"; do printf "barnacle-$version-$name%s\n" "" .deb; done
    } | sort)
    while read -r line; do
        wrong "$line"
    done < <(diff <(echo "$expected") <(find . -mindepth 1 -printf '%P\n' | sort) |
        sed -n 's/^< \(.*\)/\1 is missing/p; s/^> \(.*\)/\1 does not belong there/p')
    grep -qx "version: \"$version\"" "$source/cross/home-assistant/config.yaml" || wrong "cross/home-assistant has another version"
    cmp -s install.sh "$source/cross/install.sh" || wrong "install.sh is not that of the source"
    [ "$(awk '{ print $2 }' SHA256SUMS | sort)" = "$(grep -v SHA256SUMS <<<"$expected")" ] ||
        wrong "SHA256SUMS does not name each file once"
fi

for name; do
    file=barnacle-$version-$name
    [ -f "$file" ] || { wrong "$file is missing"; continue; }
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
    ! grep -qaE "${CARGO_HOME:-$HOME/.cargo}|$source|/rustup/toolchains" "$file" || wrong "$file names paths of this machine"
    # An armv7 instruction kills a Pi Zero. What the file names as more than v6 is ring's, which looks at the processor
    # first: cross/smoke.sh runs it, TLS included, on an ARM1176. Hardware floating point would be Debian's armhf.
    [ "$name" != armv6 ] || ! readelf -A "$file" | grep -q 'Tag_ABI_VFP_args' || wrong "$file is not for v6"
    grep -q " $file\$" SHA256SUMS || wrong "$file has no checksum"
    if [ $whole = no ] || [ ! -f "$file.deb" ]; then continue; fi
    dpkg-deb --fsys-tarfile "$file.deb" | tar -xO ./usr/bin/barnacle | cmp -s - "$file" ||
        wrong "$file.deb holds another binary: cross/deb.sh $name"
done
sha256sum --check --quiet SHA256SUMS || bad=1
[ $bad = 0 ] && echo "cross/check.sh: $* are as they should be"
exit $bad
