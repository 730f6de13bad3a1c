#!/usr/bin/env bash
# Boots an emulated board, with a release binary and nothing else in its memory, and runs a script in it:
#
#   cross/board.sh [virt|cortex-a72|pi5|raspi3b|arm1176] [<option>...] [<script>]
#
#   --mem 64M          its memory; 96M where the binary is --quick's, which is half as large again, and for a pi5, whose
#                      kernel with pages of 16 KiB takes more
#   --line <words>     more words for the kernel
#   --card <image>     its SD card (qcow2): /dev/vda, on a Raspberry Pi /dev/mmcblk0
#   --with <dir>       what is in there is put into the root directory
#   --pull <n>         the power is pulled at some moment soon after the script began its nth change
#                      (a line "begins …" of its own each)
#   --quick            the binary of cross/build.sh --quick
#
# The script (cross/steps.sh unless named) finds the binary as /bin/barnacle, busybox's tools, /proc, /sys, /dev and a
# /tmp in memory. It exits with the script's code; 124 if the board said nothing more, 137 if the power was pulled.
#
#   virt        QEMU's own board, Cortex-A53     Debian's arm64 kernel, pages of 4 KiB
#   cortex-a72  the same with a Pi 4's cores     the same
#   pi5         the same with a Pi 5's cores     Debian 13's 6.12 with pages of 16 KiB
#   raspi3b     a Raspberry Pi 3B                Debian's arm64 kernel, the board's own device tree
#   arm1176     a Raspberry Pi Zero              Debian's kernel for it
#
# Needs Debian or a child of it, with qemu-system-arm and cpio. Kernel and busybox are fetched once as packages,
# unpacked below target/ and not installed. It all runs in the emulator: nothing of the host is touched.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "cross/board.sh: $*" >&2; exit 1; }

board=virt mem='' script=cross/steps.sh seconds=${BOARD_SECONDS:-300} line='' card='' with='' pull=0 profile=release
while [ $# -gt 0 ]; do
    case $1 in
        virt | cortex-a72 | pi5 | raspi3b | arm1176) board=$1 ;;
        --mem) mem=${2:?--mem needs a size}; shift ;;
        --line) line=${2:?--line needs words}; shift ;;
        --card) card=${2:?--card needs an image}; shift ;;
        --with) with=${2:?--with needs a directory}; shift ;;
        --pull) pull=${2:?--pull needs a number}; shift ;;
        --quick) profile=quick ;;
        -*) fail "no such option: $1" ;;
        *) script=$1 ;;
    esac
    shift
done
[ -f "$script" ] || fail "no such board or script: $script"

[ -n "$mem" ] || case $profile,$board in quick,* | *,pi5) mem=96M ;; *) mem=64M ;; esac

arch=arm64 binary=aarch64 suite=bookworm
# The last of Debian's packages of this name.
case $board in
    pi5) suite=trixie kernel='^linux-image-[0-9.]+\+deb13-arm64-16k$' ;;
    arm1176) arch=armel binary=armv6 kernel='^linux-image-[0-9.]+-[0-9]+-rpi$' ;;
    *) kernel='^linux-image-[0-9.]+-[0-9]+-arm64$' ;;
esac
target=${CARGO_TARGET_DIR:-target}
binary=$(find "$target/$profile-set" -name "barnacle-*-$binary" 2>/dev/null | sort | tail -n 1)
[ -n "$binary" ] || fail "build it first: cross/build.sh"
cache=$(realpath -m "$target/boards/$suite-$arch")
for tool in cpio gzip dpkg-deb "qemu-system-$([ $arch = arm64 ] && echo aarch64 || echo arm)"; do
    command -v "$tool" >/dev/null || fail "$tool is missing (Debian: apt-get install qemu-system-arm cpio)"
done

# Another architecture's packages, by lists of their own: those of the host are left alone.
apt() {
    local tool=$1; shift
    "$tool" -q -o Dir::Etc::sourcelist="$cache/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$cache/lists" \
        -o Dir::Cache="$cache/cache" -o APT::Architecture=$arch -o APT::Architectures=$arch -o APT::Sandbox::User= "$@"
}
unpacked() {
    local pattern=$1 into=$2 package
    [ ! -e "$into/.whole" ] || return 0
    mkdir -p "$cache/lists/partial" "$cache/cache/archives/partial"
    # Wherever this machine has its packages from.
    local mirror
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -m1 '/debian/\?$')
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" \
        >"$cache/sources.list"
    [ -e "$cache/listed" ] || { apt apt-get update >/dev/null && touch "$cache/listed"; }
    package=$(apt apt-cache pkgnames | grep -E "$pattern" | sort -V | tail -n 1)
    [ -n "$package" ] || fail "Debian $suite has no package $pattern for $arch"
    echo "cross/board.sh: fetching $package:$arch" >&2
    rm -rf "$into" && mkdir -p "$into"
    (cd "$into" && apt apt-get download "$package" >/dev/null && dpkg-deb -x ./*.deb . && rm ./*.deb && touch .whole)
}
kernel_dir=$cache/$([ "$board" = pi5 ] && echo 16k || echo kernel)
unpacked "$kernel" "$kernel_dir"
unpacked '^busybox-static$' "$cache/busybox"

# Its whole system: a shell, the binary, the script. Removed with what else is temporary, whatever happens.
tmp=$(mktemp -d)
emulator=
trap '[ -z "$emulator" ] || kill -9 "$emulator" 2>/dev/null || true; rm -rf "$tmp"' EXIT
mkdir -p "$tmp"/root/{bin,proc,sys,dev,tmp,root}
cp "$(find "$cache/busybox" -type f -path '*bin/busybox' | head -n 1)" "$tmp/root/bin/busybox"
cp "$binary" "$tmp/root/bin/barnacle"
cp "$script" "$tmp/root/script"
[ -z "$with" ] || cp -r "$with"/. "$tmp/root"

# A card needs drivers: those, and before each what it depends on, in that order.
declare -A known=()
modules() {
    local name file
    for name; do
        [ -z "${known[$name]:-}" ] || continue
        known[$name]=yes
        file=$(find "$kernel_dir" -name "$name.ko" -o -name "${name//_/-}.ko" | head -n 1)
        [ -n "$file" ] || fail "this kernel has no module $name"
        # shellcheck disable=SC2046
        modules $(grep -aom1 'depends=[a-z0-9_,-]*' "$file" | tr '=,-' '  _' | cut -d' ' -f2-)
        cp "$file" "$tmp/root/modules/$name.ko" && echo "$name" >>"$tmp/root/modules/order"
    done
}
if [ -n "$card" ]; then
    mkdir "$tmp/root/modules"
    if [ "$board" = raspi3b ]; then modules sdhci_iproc bcm2835; else modules virtio_mmio virtio_blk; fi
    modules crc32c_generic ext4
fi
# Nor this one's, and QEMU lays the initramfs above 64 MB, where a kernel of 32 bits would no longer look for it.
[ "$board" != arm1176 ] || echo "${mem%M}" >"$tmp/root/mem"
cat >"$tmp/root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmp /tmp
ip link set lo up
for module in $(cat /modules/order 2>/dev/null); do insmod "/modules/$module.ko"; done
if [ -f /mem ]; then
    # What is held by a file in memory is as good as taken out: there is nothing to swap to.
    mkdir /taken && mount -t tmpfs -o size=100% taken /taken
    dd if=/dev/zero of=/taken/memory bs=1M 2>/dev/null \
        count=$((($(awk '/^MemTotal/ { print $2 }' /proc/meminfo) / 1024) - $(cat /mem)))
fi
echo "board: up after $(cut -d' ' -f1 /proc/uptime) s, $(uname -rm)"
sh /script </dev/null
echo "board: exit $?"
sync
poweroff -f
INIT
chmod 755 "$tmp"/root/{init,bin/busybox,bin/barnacle}
(cd "$tmp/root" && find . | cpio --quiet -o -H newc | gzip -1) >"$tmp/initramfs"

line="quiet panic=-1 $line"
dtb() { find "$kernel_dir" -name "$1" | head -n 1; }
case $board in
    virt) machine=(aarch64 -M virt -cpu cortex-a53 -m "$mem") line+=" console=ttyAMA0" ;;
    cortex-a72) machine=(aarch64 -M virt -cpu cortex-a72 -m "$mem") line+=" console=ttyAMA0" ;;
    pi5) machine=(aarch64 -M virt -cpu cortex-a76 -m "$mem") line+=" console=ttyAMA0" ;;
    # This board's memory cannot be taken out: the kernel is told to leave it alone.
    raspi3b) machine=(aarch64 -M raspi3b -dtb "$(dtb bcm2837-rpi-3-b.dtb)") line+=" console=ttyAMA0 mem=$mem" ;;
    arm1176) machine=(arm -M raspi0 -dtb "$(dtb bcm2835-rpi-zero.dtb)") line+=" console=ttyAMA0" ;;
esac
# What the card's own memory holds and was not told to write is lost with the power: an image of this kind keeps where
# a new block is in QEMU's memory until the guest flushes. The guest's page cache is lost all the same.
if [ -n "$card" ] && [ "$board" = raspi3b ]; then
    machine+=(-drive "if=sd,format=qcow2,cache=writeback,file=$card")
elif [ -n "$card" ]; then
    machine+=(-drive "if=none,id=card,format=qcow2,cache=writeback,file=$card" -device 'virtio-blk-device,drive=card')
fi
# QEMU's raspi3b was once seen not to get to its init, and in 55 boots after that was not. What never came up is told of
# and booted once more.
for attempt in first last; do
    up=no
    : >"$tmp/console"
    "qemu-system-${machine[0]}" "${machine[@]:1}" -nic none -nographic -monitor none -serial stdio -no-reboot \
        -kernel "$(ls "$kernel_dir"/boot/vmlinuz-*)" -initrd "$tmp/initramfs" -append "$line" </dev/null >>"$tmp/console" 2>"$tmp/errors" &
    emulator=$!
    # Not every board can switch itself off.
    tail -f -n +1 --pid=$emulator "$tmp/console" & shown=$!
    for ((tenths = 0; tenths < seconds * 10; tenths++)); do
        kill -0 $emulator 2>/dev/null || break
        ! grep -q '^board: exit' "$tmp/console" || break
        if [ $up = no ] && grep -q '^board: up' "$tmp/console"; then up=yes; fi
        [ $up$attempt != nofirst ] || [ $tenths -lt 900 ] || break
        if [ "$pull" -gt 0 ] && [ "$(grep -c 'begins ' "$tmp/console")" -ge "$pull" ]; then
            # At any moment of the change that is then under way.
            sleep "0.$(printf %03d $((RANDOM % 400)))"
            kill -9 $emulator
            pull=-1
            break
        fi
        sleep 0.1
    done
    kill $emulator 2>/dev/null || true
    wait $emulator 2>/dev/null || true
    emulator=
    wait $shown 2>/dev/null || true
    if grep -q '^board: up' "$tmp/console" || [ $attempt = last ]; then break; fi
    cat "$tmp/errors" >&2
    echo "cross/board.sh: the kernel of $board did not come up; once more" >&2
done
code=$(sed -n 's/^board: exit \([0-9]*\).*/\1/p' "$tmp/console" | tail -n 1)
[ "$pull" -ge 0 ] || exit 137
[ -n "$code" ] || cat "$tmp/errors" >&2
exit "${code:-124}"
