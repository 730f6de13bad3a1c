#!/usr/bin/env bash
# Boots a machine with Debian and its systemd, and has a gateway live there as a service: the package installed,
# watched over, restarted, reloaded, upgraded and rolled back with a client attached, then the power pulled, and
# everything back by itself before anyone logs in.
#
#   cross/system.sh <barnacle> <another version of it>
#
# Both for this machine's processor, which is the one that is emulated. The machine is made by debootstrap in a minute
# or two, kept below target/ and used again. Needs root, and on Debian or a child of it debootstrap, e2fsprogs,
# qemu-utils and qemu-system-x86. Nothing of the host is touched.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "cross/system.sh: $*" >&2; exit 1; }

[ $# = 2 ] || fail "takes two programs: cross/system.sh target/release/barnacle <another version of it>"
[ "$(uname -m)" = x86_64 ] || fail "emulates x86_64 on x86_64 alone"
for tool in debootstrap mke2fs qemu-img qemu-system-x86_64; do
    command -v $tool >/dev/null || fail "$tool is missing (Debian: apt-get install debootstrap e2fsprogs qemu-utils qemu-system-x86)"
done
cache=$(realpath -m "${CARGO_TARGET_DIR:-target}/boards/bookworm-amd64")
tmp=$(mktemp -d)
emulator=
trap '[ -z "$emulator" ] || kill -9 "$emulator" 2>/dev/null || true; rm -rf "$tmp"' EXIT

if [ ! -e "$cache/whole" ]; then
    echo "cross/system.sh: making a Debian" >&2
    rm -rf "$cache" && mkdir -p "$cache/root"
    # Wherever this machine has its packages from.
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -m1 '/debian/\?$')
    debootstrap --variant=minbase --include=dbus,iproute2,libpam-systemd,linux-image-cloud-amd64,systemd-sysv,udev \
        bookworm "$cache/root" "$mirror" >"$cache/log" 2>&1 || { tail "$cache/log" >&2; fail "debootstrap failed"; }
    cp "$cache"/root/boot/{vmlinuz,initrd.img}-* "$cache"
    # Nobody reads there, and the disk is made from it each time.
    rm -rf "$cache"/root/{boot,var/cache/apt,var/lib/apt/lists}/* "$cache"/root/usr/share/{doc,locale,man}/*
    touch "$cache/whole"
fi

# What is put there for this time alone: two accounts, two packages, the script, and what runs it.
cp -a "$cache/root" "$tmp/root"
for account in alice bob; do chroot "$tmp/root" useradd --create-home --shell /bin/sh $account; done
cross/deb.sh --of "$1" x86_64 "$("$1" --version | awk '{ print $2 }')" "$tmp/root/root/this.deb"
cross/deb.sh --of "$2" x86_64 "$("$2" --version | awk '{ print $2 }')" "$tmp/root/root/next.deb"
cp cross/system-steps.sh "$tmp/root/root/steps"
cat >"$tmp/root/etc/systemd/system/steps.service" <<'UNIT'
[Unit]
After=systemd-user-sessions.service

[Service]
Type=oneshot
ExecStart=/bin/sh /root/steps
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
TimeoutStartSec=infinity
UNIT
# The address is there before the network is, as a fixed one of a board's would be.
cat >"$tmp/root/etc/systemd/system/address.service" <<'UNIT'
[Unit]
Wants=network.target
Before=network.target

[Service]
Type=oneshot
ExecStart=ip addr add 10.9.9.1/32 dev lo
UNIT
mkdir -p "$tmp/root/etc/systemd/system/multi-user.target.wants"
ln -s ../address.service "$tmp/root/etc/systemd/system/multi-user.target.wants/address.service"
ln -s ../steps.service "$tmp/root/etc/systemd/system/multi-user.target.wants/steps.service"
echo board >"$tmp/root/etc/hostname"
echo '/dev/vda / ext4 defaults,noatime 0 1' >"$tmp/root/etc/fstab"
mke2fs -q -t ext4 -d "$tmp/root" "$tmp/disk" 1G >/dev/null
rm -rf "$tmp/root"
qemu-img create -q -f qcow2 -F raw -b "$tmp/disk" "$tmp/card"

# Runs the machine until it says that it is done, for which it may take $1 seconds.
boot() {
    : >"$tmp/console"
    qemu-system-x86_64 -M q35 -cpu max -smp 2 -m 512M -nic none -nographic -monitor none -serial stdio -no-reboot \
        -drive "if=virtio,format=qcow2,file=$tmp/card" -kernel "$cache"/vmlinuz-* -initrd "$cache"/initrd.img-* \
        -append 'root=/dev/vda console=ttyS0 quiet systemd.show_status=0 systemd.mask=serial-getty@ttyS0.service panic=-1' </dev/null >>"$tmp/console" 2>&1 &
    emulator=$!
    for ((tenths = 0; tenths < $1 * 10; tenths++)); do
        ! grep -q 'steps: done\|steps: FAILED' "$tmp/console" || break
        kill -0 $emulator 2>/dev/null || break
        sleep 0.1
    done
    # So the power goes: nothing is told, nothing is flushed.
    kill -9 $emulator 2>/dev/null || true
    wait $emulator 2>/dev/null || true
    emulator=
    tr -d '\r' <"$tmp/console" | grep -ao 'steps: .*' || true
    grep -q 'steps: done' "$tmp/console" || { tail -n 80 "$tmp/console" >&2; fail "the machine did not get to the end"; }
}
SECONDS=0
boot 300
echo "cross/system.sh: the power is pulled, after $SECONDS s"
boot 300
echo "cross/system.sh: passed in $SECONDS s"
