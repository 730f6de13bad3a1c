#!/usr/bin/env bash
# Debian packages of the release set, for Debian, Raspberry Pi OS and their children:
#
#   cross/deb.sh                        one beside every binary of target/release-set
#   cross/deb.sh aarch64 armv6          only of these
#   cross/deb.sh --of <binary> <target> <version> <file>
#
# The same binary gives the same bytes. Needs dpkg-deb; nothing is run, so any machine packs for any board.
set -euo pipefail
cd "$(dirname "$0")/.."
set_dir=${CARGO_TARGET_DIR:-target}/release-set
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
maintainer="The Barnacle authors <${BARNACLE_CONTACT:-barnacle@users.noreply.github.com}>"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fail() { echo "cross/deb.sh: $*" >&2; exit 1; }
put() { install -D -m "$1" "$2" "$tmp/root/$3"; }

pack() {
    local binary=$1 name=$2 version=$3 out=$4 arch
    arch=$(awk -v name="$name" '$1 == name { print $6 }' cross/targets)
    [ -n "$arch" ] || fail "no such target: $name (see cross/targets)"
    [ -f "$binary" ] || fail "build it first: cross/build.sh $name"
    rm -rf "$tmp/root"
    put 755 "$binary" usr/bin/barnacle
    put 644 cross/deb/barnacle-gateway.service usr/lib/systemd/user/barnacle-gateway.service
    put 644 cross/deb/barnacle.1 usr/share/man/man1/barnacle.1
    put 644 cross/deb/copyright usr/share/doc/barnacle/copyright
    put 644 cross/deb/lintian-overrides usr/share/lintian/overrides/barnacle
    printf 'barnacle (%s) stable; urgency=medium\n\n  * Version %s; see README.md of the source.\n\n -- %s  %s\n' \
        "$version" "$version" "$maintainer" "$(date -Rd "@$SOURCE_DATE_EPOCH")" >"$tmp/root/usr/share/doc/barnacle/changelog"
    gzip -9n "$tmp/root/usr/share/doc/barnacle/changelog" "$tmp/root/usr/share/man/man1/barnacle.1"
    local size
    size=$(find "$tmp/root" -type f -printf '%s\n' | awk '{ n += int(($1 + 1023) / 1024) } END { print n }')
    local control=$tmp/root/DEBIAN
    install -d -m 755 "$control"
    install -m 755 cross/deb/postinst cross/deb/prerm "$control"
    [ "$name" != armv7 ] || install -m 755 cross/deb/preinst-armv7 "$control/preinst"
    (cd "$tmp/root" && find usr -type f | sort | xargs md5sum) >"$control/md5sums"
    cat >"$control/control" <<EOF
Package: barnacle
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $size
Section: net
Priority: optional
Description: gateway for OpenClaw's agents that stays attached
 One static binary that speaks OpenClaw's WebSocket protocol (versions 3 and 4)
 on a small ARM board: a few megabytes of memory, one thread.
 .
 A device that was paired once stays attached through changes of the
 configuration, restarts and upgrades; only an explicit revoke ends its access.
EOF
    find "$tmp/root" -type d -exec chmod 755 {} +
    chmod 644 "$control"/{control,md5sums}
    find "$tmp/root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz --build "$tmp/root" "$out" >/dev/null
    echo "$out ($arch, $(stat -c %s "$out") bytes)"
}

if [ "${1:-}" = --of ]; then
    [ $# = 5 ] || fail "--of takes a binary, a target, a version and the file to write"
    pack "${@:2}"
    exit
fi
mapfile -t all < <(awk '!/^#/ { print $1 }' cross/targets)
[ $# -gt 0 ] || set -- "${all[@]}"
for name; do
    pack "$set_dir/barnacle-$version-$name" "$name" "$version" "$set_dir/barnacle-$version-$name.deb"
done
(cd "$set_dir" && rm -f SHA256SUMS && sha256sum -- * >SHA256SUMS)
