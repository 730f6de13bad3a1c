#!/bin/sh
# Puts Barnacle on the board that this runs on, and has it run there:
#
#   curl -fsSL <base>/install.sh | sh -s -- --from <base>     <base>: wherever a release set (cross/build.sh) is served
#   sh install.sh --binary <file> --sha256 <hex>              what cross/deploy.sh does
#
#   --system, --user     a unit of the host, or of who calls [as it is; else of the host, if root or sudo can be had]
#   --import-openclaw    bring OpenClaw's paired devices over
#   --replace-openclaw   stop and disable OpenClaw's service, which is kept
#   --rollback           the program of before again
#   --back-to-openclaw   take Barnacle's service away, and give OpenClaw's its place back
#   --cpu                only print which binary this board takes
#
# A POSIX shell is enough, busybox's too. Nothing is replaced before the new program was checked and ran once here. What
# does not come up is taken back: what ran before runs at the end.
set -u

say() { echo "barnacle: $*"; }
fail() { echo "barnacle: $*" >&2; exit 1; }
usage() { echo "barnacle: $*" >&2; exit 2; }

# The name of this board's binary.
cpu() {
    machine=$(uname -m)
    case $machine in
        # Below a 64-bit kernel a 32-bit system may lie: the binary brings all that it needs along.
        aarch64 | arm64) echo aarch64 ;;
        x86_64 | amd64) echo x86_64 ;;
        riscv64) echo riscv64 ;;
        armv6*) echo armv6 ;;
        armv7* | armv8*)
            # The one for ARMv7 counts on VFPv3, which a few of these processors lack.
            if grep -qE '^Features.* (vfpv3|vfpv3d16|neon|asimd)( |$)' /proc/cpuinfo; then echo armv7; else echo armv6; fi
            ;;
        *) fail "there is no binary for this processor ($machine); there are aarch64, armv7, armv6, riscv64 and x86_64" ;;
    esac
}

sum() { sha256sum <"$1" | cut -d ' ' -f 1; }

download() {
    if command -v curl >/dev/null; then curl -fsSL -o "$2" "$1"; else wget -q -O "$2" "$1"; fi || fail "cannot download $1"
}

# Fetches this board's binary and what its checksum has to be.
fetch() {
    name=$(cpu) || exit 1
    download "$from/SHA256SUMS" "$tmp/SHA256SUMS"
    line=$(grep -E "^[0-9a-f]{64} [ *]barnacle-[^ ]*-$name\$" "$tmp/SHA256SUMS") || fail "$from has no binary for $name"
    [ "$(echo "$line" | wc -l)" = 1 ] || fail "$from has more than one binary for $name"
    expected=${expected:-${line%% *}}
    binary=$tmp/barnacle
    download "$from/${line##* [ *]}" "$binary"
}

# Who may what, and so where everything is.
settle() {
    root='' may=no
    if [ "$(id -u)" = 0 ]; then
        may=yes
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 2 ] && sudo -v; }; }; then
        root=sudo may=yes
    fi
    own=$HOME/.config/systemd/user
    if [ -z "$scope" ]; then
        if [ -f "$own/barnacle-gateway.service" ]; then scope=user
        elif [ -f /etc/systemd/system/barnacle-gateway.service ]; then scope=system
        # Whoever's unit it is to replace must be ours to ask.
        elif [ -n "$replace" ] && [ -f "$own/openclaw-gateway.service" ]; then scope=user
        elif [ $may = yes ]; then scope=system
        else scope=user; fi
    fi
    if [ "$scope" = system ]; then
        [ $may = yes ] || fail "a unit of the host takes root or sudo, and neither can be had here; --user does without"
        program=/usr/local/bin/barnacle
    else
        # systemd of one's own is not root's to ask.
        program=$HOME/.local/bin/barnacle
        user_root=$root root=''
        XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)} && export XDG_RUNTIME_DIR
    fi
    [ ! -e /usr/bin/barnacle ] || fail "Barnacle is here as a package (/usr/bin/barnacle): upgrade that, apt install ./barnacle-….deb"
}

systemd() {
    if [ "$scope" = system ]; then $root systemctl "$@"; else systemctl --user "$@"; fi 2>/dev/null
}

openclaw_runs() { systemd is-active --quiet openclaw-gateway.service; }

# Whether a gateway answers, and if asked, in this version.
answers() { "$program" status --timeout 3000 2>/dev/null | grep -q "^gateway .* · Barnacle ${1:-[^ ]*} ·"; }
comes_up() {
    tries=0
    until answers "$1"; do
        tries=$((tries + 1))
        [ $tries -lt 20 ] || return 1
        sleep 0.5
    done
}

# Takes `binary` as the program, all at once; what was there stays beside it, and becomes .old when all went well.
put() {
    new=$program.new
    $root mkdir -p "${program%/*}" || fail "${program%/*} cannot be made"
    { $root cp "$binary" "$new" && $root chmod 755 "$new" && sync; } ||
        { $root rm -f "$new"; fail "$new cannot be written; nothing was changed"; }
    # Read back from where it will run: the copy may be cut short, the file system noexec, the processor another.
    [ "$(sum "$new")" = "$expected" ] || { $root rm -f "$new"; fail "$new is not what was sent; nothing was changed"; }
    output=$("$new" --version 2>&1) || { $root rm -f "$new"; fail "the new program does not run here: $output; nothing was changed"; }
    version=${output##* }
    if [ -n "$had" ]; then
        $root cp -p "$program" "$program.was" || { $root rm -f "$new"; fail "no room for $program.was; nothing was changed"; }
    fi
    $root mv -f "$new" "$program" || fail "$program cannot be replaced; nothing was changed"
}

# Back to what was there before, whatever it takes; the end.
back() {
    say "$*; going back to what was before" >&2
    if [ -n "$had" ]; then
        [ ! -e "$program.was" ] || $root mv -f "$program.was" "$program"
        if [ $ran = yes ]; then
            # The one that was never given up serves on; one that took over hands back, or else is started anew.
            { [ $took = no ] && answers "$had"; } || "$program" gateway restart >/dev/null 2>&1 ||
                systemd restart barnacle-gateway.service
            comes_up "$had" || fail "no gateway answers; see why: $program doctor"
            fail "Barnacle $had serves on, as before"
        fi
        fail "Barnacle $had is there again; no gateway ran before, and none runs now"
    fi
    $root "$program" gateway uninstall "--$scope" >/dev/null 2>&1 || {
        systemd disable --now barnacle-gateway.service
        if [ "$scope" = system ]; then $root rm -f /etc/systemd/system/barnacle-gateway.service; else rm -f "$own/barnacle-gateway.service"; fi
        systemd daemon-reload
    }
    $root rm -f "$program"
    [ $openclaw = no ] || openclaw_runs || systemd enable --now openclaw-gateway.service
    [ $openclaw = no ] || ! openclaw_runs || fail "OpenClaw's gateway runs, as before"
    fail "nothing of Barnacle is left but ~/.openclaw"
}

import() {
    came=''
    if [ -f "$HOME/.openclaw/devices/paired.json" ]; then
        "$program" import --from "$HOME/.openclaw" --apply || return 1
        came=yes
    fi
    port=$("$program" config get gateway.port 2>/dev/null) || port=18789
    # What a later version knows only itself can tell, and only while it runs.
    if [ $openclaw = yes ] || [ -z "$came" ]; then
        "$program" import --from "ws://127.0.0.1:$port" --apply || [ -n "$came" ] || return 1
    fi
}

deploy() {
    [ "$(sum "$binary")" = "$expected" ] || fail "the checksum is wrong: $(sum "$binary"), expected $expected; nothing was changed"
    had='' ran=no took=no openclaw=no version=''
    if [ -x "$program" ]; then
        had=$("$program" --version 2>/dev/null) && had=${had##* }
        had=${had:-unknown}
        ! answers || ran=yes
    fi
    ! openclaw_runs || openclaw=yes
    [ -z "$import" ] || [ $ran = no ] ||
        fail "a gateway of Barnacle runs here; to import into what it knows stop it first ($program gateway stop), and again"
    if [ -n "$had" ] && cmp -s "$binary" "$program"; then
        say "$program is this program already ($had)"
        version=$had
    else
        put
        say "$program is $version${had:+, in the place of $had}"
        # Asks the new one first whether it can go on from here. No connection is closed.
        if [ $ran = yes ]; then
            "$program" gateway restart || back "the gateway that runs does not go on with it"
            took=yes
        fi
    fi
    [ -z "$import" ] || import || back "nothing could be imported"
    if [ -d /run/systemd/system ]; then
        # shellcheck disable=SC2086
        $root "$program" gateway install --$scope $replace || back "the service cannot be installed"
        [ "$scope" = system ] || [ $may = no ] || $user_root loginctl enable-linger "$(id -un)" 2>/dev/null
    elif [ $ran = no ]; then
        "$program" gateway install
        fail "$program is there, but nothing was started, for want of systemd"
    fi
    comes_up "$version" || back "the gateway does not answer as $version"
    [ ! -e "$program.was" ] || $root mv -f "$program.was" "$program.old"
    "$program" status
    say "done; every check: $program doctor"
}

back_to_openclaw() {
    [ -x "$program" ] || fail "$program is not there"
    if ! $root "$program" gateway uninstall "--$scope" --restore-openclaw || ! openclaw_runs; then
        $root "$program" gateway install "--$scope"
        fail "OpenClaw's service does not come up; Barnacle's is there again"
    fi
    say "OpenClaw's gateway runs; $program and what it knows stay"
}

main() {
    action=deploy scope='' import='' replace='' from='' binary='' expected=''
    while [ $# -gt 0 ]; do
        case $1 in
            --from) from=${2:?--from needs an address}; shift ;;
            --binary) binary=${2:?--binary needs a file}; shift ;;
            --sha256) expected=${2:?--sha256 needs a checksum}; shift ;;
            --system | --user) scope=${1#--} ;;
            --import-openclaw) import=yes ;;
            --replace-openclaw) replace=--replace-openclaw ;;
            --rollback) action=rollback ;;
            --back-to-openclaw) action=back_to_openclaw ;;
            --cpu) cpu; exit ;;
            *) usage "no such option: $1" ;;
        esac
        shift
    done
    command -v sha256sum >/dev/null || fail "sha256sum is missing"
    tmp=$(mktemp -d) || fail "no room for temporary files"
    trap 'rm -rf "$tmp"' EXIT
    settle
    # A connection that breaks half way must leave nothing half done.
    trap '' HUP INT PIPE
    case $action in
        back_to_openclaw) back_to_openclaw ;;
        rollback)
            [ -x "$program.old" ] || fail "there is no program of before ($program.old)"
            binary=$tmp/barnacle
            cp "$program.old" "$binary" || fail "no room for temporary files"
            expected=$(sum "$binary")
            deploy
            ;;
        deploy)
            [ -z "$from" ] || fetch
            [ -n "$binary" ] || usage "install what? --from <address of a release set>; none is published yet: cross/build.sh makes one"
            [ -n "$expected" ] || usage "--binary needs its --sha256"
            deploy
            ;;
    esac
}
main "$@"
