#!/usr/bin/env bash
# Builds the commit that is checked out twice, the second time from a clone elsewhere, with Cargo's home and the output
# elsewhere too, and compares the bytes:
#
#   cross/reproduce.sh                  every target of cross/targets
#   cross/reproduce.sh aarch64 armv6    only these
#
# What target/release-set has of it is the first build. Packages are compared as well.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "cross/reproduce.sh: $*" >&2; exit 1; }
set_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}/release-set")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
[ -z "$(git status --porcelain)" ] || fail "what is not committed is in no clone: commit it first"
mapfile -t all < <(awk '!/^#/ { print $1 }' cross/targets)
[ $# -gt 0 ] || set -- "${all[@]}"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

git clone --quiet . "$tmp/at/another/place"
home=${CARGO_HOME:-$HOME/.cargo}
mkdir -p "$tmp/cargo"
# What was downloaded is not downloaded again; it is unpacked anew.
cp -r "$home/registry" "$tmp/cargo/" && rm -rf "$tmp/cargo/registry/src"
differ=0
for name; do
    file=barnacle-$version-$name
    cross/build.sh "$name" >/dev/null
    cross/deb.sh "$name" >/dev/null
    (cd "$tmp/at/another/place" && export CARGO_HOME=$tmp/cargo CARGO_TARGET_DIR=$tmp/out &&
        cross/build.sh "$name" >/dev/null && cross/deb.sh "$name" >/dev/null)
    for each in "$file" "$file.deb"; do
        if cmp "$set_dir/$each" "$tmp/out/release-set/$each"; then
            echo "$each: the same bytes twice ($(sha256sum "$set_dir/$each" | cut -c -16)…)"
        else
            differ=1
        fi
    done
    rm -rf "$tmp/out/cross"
done
exit $differ
