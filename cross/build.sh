#!/usr/bin/env bash
# Static, stripped, reproducible release binaries:
#
#   cross/build.sh                      every target of cross/targets
#   cross/build.sh aarch64 armv6        only these
#   cross/build.sh --quick aarch64      for tests: built in a third of the time, with the checks of a debug build, and
#                                       put into target/quick-set
#   cross/build.sh --bench aarch64      the bench of benches/board, built the same way, into target/bench-set
#   cross/build.sh --core aarch64       without TLS, into target/core-set
#
# They go to target/release-set, with install.sh and SHA256SUMS. The same commit and compiler give the same bytes, wherever the
# source, Cargo's home and the output lie. CARGO, CARGO_HOME and CARGO_TARGET_DIR are honoured.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
cargo=${CARGO:-cargo}
home=${CARGO_HOME:-$HOME/.cargo}
work=${CARGO_TARGET_DIR:-target}/cross
profile=release what=(--bin barnacle) set_name=release-set features=()
case ${1:-} in
    --quick) profile=quick set_name=quick-set; shift ;;
    --bench)
        what=(--bench board) set_name=bench-set; shift
        # Cargo builds benches to unwind; a standard library from source has to be of the same kind.
        export CARGO_PROFILE_RELEASE_PANIC=unwind
        ;;
    --core) features=(--no-default-features) set_name=core-set; shift ;;
esac
set_dir=$(dirname "$work")/$set_name
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

fail() { echo "cross/build.sh: $*" >&2; exit 1; }

# Nothing of the machine may end up in the binary: not its paths, its clock or its locale.
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC CARGO_INCREMENTAL=0
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
# Kept until the sizes are counted, stripped below.
export CARGO_PROFILE_RELEASE_STRIP=none
# As released, so that it fits into a small memory. An emulator is slow whatever it runs.
export CARGO_PROFILE_QUICK_PANIC=abort CARGO_PROFILE_QUICK_OPT_LEVEL=1

# Debian's rustc-web has this machine's standard library alone. Another's is the package of the same name for that
# machine: fetched by lists of its own and unpacked, not installed.
debian_std() {
    local arch=$1 to=$2 version
    [ ! -e "$to/.whole" ] || return 0
    version=$(dpkg-query -W -f '${Version}' rustc-web 2>/dev/null) ||
        fail "neither rustup nor Debian's rustc-web is here; install Rust from https://rustup.rs"
    rm -rf "$to" && mkdir -p "$to"/{lists,cache/archives}/partial
    (
        cd "$to"
        apt() {
            "$@" -q -o Dir::State::lists="$PWD/lists" -o Dir::Cache="$PWD/cache" -o APT::Sandbox::User= \
                -o APT::Architecture="$arch" -o APT::Architectures="$arch"
        }
        apt apt-get update && apt apt-get download "libstd-rust-web-dev=$version" && dpkg-deb -x ./*.deb . && touch .whole
    ) >&2 || fail "Debian has no libstd-rust-web-dev $version for $arch; rustup has (https://rustup.rs)"
}

build() {
    local name=$1 triple=$2 linker=$3 std=$4
    local rustc sysroot host extra=() flags=()
    rustc=$(command -v rustc) || fail "Rust is missing; install it from https://rustup.rs (or Debian's rustc-web and cargo-web)"
    sysroot=$("$rustc" --print sysroot)
    host=$("$rustc" -vV | sed -n 's/^host: //p')
    # What of TLS is written in C (ring) needs no C library, so that of the other kind does.
    local cc=$linker
    case $name in aarch64) cc=aarch64-linux-gnu-gcc ;; x86_64) cc=gcc ;; esac
    command -v "$cc" >/dev/null ||
        fail "$name needs $cc (Debian: apt-get install gcc-${cc%-gcc} libc6-dev-$(deb_arch "$name")-cross)"
    export "CC_${triple//-/_}=$cc"

    unset RUSTC_BOOTSTRAP
    if ! command -v rustup >/dev/null && [ ! -d "$sysroot/lib/rustlib/src/rust/library" ]; then
        [ "$std" != source ] || fail "$name needs Rust's source, which rustup has (https://rustup.rs)"
        std=compiled
        if [ ! -d "$sysroot/lib/rustlib/$triple" ]; then
            # Debian's compiled library and linker, with glibc in the place of musl.
            triple=${triple/%-musl/-gnu} linker=$cc
            [ "$triple" = "$host" ] || {
                debian_std "$(deb_arch "$name")" "$(realpath -m "$work/debian-$name")"
                flags=("--sysroot=$(realpath -m "$work/debian-$name")/usr")
            }
            export "CC_${triple//-/_}=$cc"
        fi
    elif [ "$std" != source ]; then
        [ -d "$sysroot/lib/rustlib/$triple" ] || rustup target add "$triple"
    fi
    # A compiled standard library is for speed, and brings what prints a backtrace along, of names that are not in here.
    case $std,$set_name in source,* | size,release-set | size,core-set)
        [ -d "$sysroot/lib/rustlib/src/rust/library" ] || rustup component add rust-src
        # Only the standard library needs what is unstable; this crate is compiled as ever.
        export RUSTC_BOOTSTRAP=1
        extra=('-Zbuild-std=std,panic_abort')
        [ "$set_name" = bench-set ] || extra+=(-Zbuild-std-features=optimize_for_size)
        # musl is the compiled one's, and counts on numbers of 128 bits that are only in there.
        [ "$std" = source ] || flags+=(-C "link-arg=$(echo "$sysroot/lib/rustlib/$triple/lib"/libcompiler_builtins-*.rlib)")
        ;;
    esac

    flags+=(-C target-feature=+crt-static -C symbol-mangling-version=v0
        "--remap-path-prefix=$here=/barnacle" "--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rust")
    local sources
    for sources in "$home"/registry/src/*; do flags+=("--remap-path-prefix=$sources=/crates"); done
    # A Pi 5's kernel has pages of 16 KiB, and arm64 knows 64 KiB: no two segments share one.
    if [ "$linker" = rust-lld ]; then
        flags+=(-C linker=rust-lld -C link-self-contained=yes -C link-arg=-zmax-page-size=65536
            -C link-arg=--build-id=none)
    else
        flags+=(-C "linker=$linker" -C 'link-arg=-Wl,-z,max-page-size=65536' -C 'link-arg=-Wl,--build-id=none')
    fi

    # A panic of the program ends it, so nothing is ever unwound.
    if [ "$set_name" != bench-set ]; then
        flags+=(-C force-unwind-tables=no)
        [ "$linker" != rust-lld ] || flags+=(-C link-arg=-Tcross/no-unwinding.ld)
    fi

    CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; echo "${flags[*]}") CARGO_TARGET_DIR=$work \
        "$cargo" build --locked --profile "$profile" --quiet "${what[@]}" "${features[@]}" --target "$triple" "${extra[@]}" \
        --message-format=json >"$work/built.json"

    local out=$set_dir/${what[1]}-$version-$name built
    # A bench brings the program along.
    built=$(sed -n "/\"name\":\"${what[1]}\"/s/.*\"executable\":\"\([^\"]*\)\".*/\1/p" "$work/built.json")
    if [ "$linker" = rust-lld ]; then
        # The compiler's own, since it knows every machine; it looks for its library in the wrong place.
        LD_LIBRARY_PATH=$sysroot/lib "$sysroot/lib/rustlib/$host/bin/rust-objcopy" --strip-all \
            "$built" "$out"
    else
        "${linker%gcc}strip" -o "$out" "$built"
    fi
    case $set_name in release-set | core-set) cross/sizes.sh "$out" "$built" ;; esac
}

deb_arch() { case $1 in x86_64) echo amd64 ;; aarch64) echo arm64 ;; armv7) echo armhf ;; armv6) echo armel ;; *) echo "$1" ;; esac; }

mkdir -p "$set_dir" "$work"
"$cargo" fetch --locked --quiet
mapfile -t all < <(awk '!/^#/ { print $1 }' cross/targets)
[ $# -gt 0 ] || set -- "${all[@]}"
for name; do
    read -r _ triple linker std _ < <(grep "^$name " cross/targets) || fail "no such target: $name (see cross/targets)"
    build "$name" "$triple" "$linker" "$std"
done
# Whoever serves the directory has all that a board needs.
[ $set_name != release-set ] || cp cross/install.sh "$set_dir"
(cd "$set_dir" && rm -f SHA256SUMS && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
