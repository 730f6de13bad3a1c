#!/usr/bin/env bash
# Has a board run the gateway, over ssh:
#
#   cross/deploy.sh [user@]host [<option>...]
#
#   --import-openclaw    bring OpenClaw's paired devices over
#   --replace-openclaw   stop and disable OpenClaw's service, which is kept
#   --rollback           the program of before again
#   --back-to-openclaw   take Barnacle's service away, and give OpenClaw's its place back
#   --system, --user     a unit of the host, or of the account [as it is; else of the host, if root or sudo can be had]
#   --set <dir>          a release set to take it from [this source's, built if need be]
#
# What happens on the board is cross/install.sh: the checksum is
# verified, the program runs once before it replaces another, an upgrade closes no connection, and what does not come up
# is taken back. SSH is the ssh command ["ssh"]; the board needs a POSIX shell, tar and sha256sum.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "cross/deploy.sh: $*" >&2; exit 1; }

host='' set_dir='' install='' needs=binary
while [ $# -gt 0 ]; do
    case $1 in
        --set) set_dir=$(realpath "${2:?--set needs a directory}"); shift ;;
        --rollback | --back-to-openclaw) install+="$1 " needs='' ;;
        --import-openclaw | --replace-openclaw | --system | --user) install+="$1 " ;;
        -*) fail "no such option: $1" ;;
        *) [ -z "$host" ] || fail "one board at a time: $host, $1"; host=$1 ;;
    esac
    shift
done
[ -n "$host" ] || fail "which board? cross/deploy.sh user@host"
# shellcheck source=cross/board-ssh.sh
. cross/board-ssh.sh

if [ -n "$needs" ]; then
    cpu=$(board_cpu) || fail "nothing was changed"
    binary=$(built barnacle '' "$cpu" "$set_dir")
    sha256=$(sed -n "s/ [ *]${binary##*/}\$//p" "${binary%/*}/SHA256SUMS")
    [ -n "$sha256" ] || fail "${binary%/*}/SHA256SUMS does not have ${binary##*/}"
    echo "cross/deploy.sh: $host takes ${binary##*/}"
    send cross/install.sh install.sh "$binary" barnacle
    install+="--binary $(quoted "$there/barnacle")--sha256 $sha256"
else
    send cross/install.sh install.sh
fi
# sudo may ask for a password.
terminal=()
[ ! -t 0 ] || terminal=(-t)
board "${terminal[@]}" "sh $(quoted "$there/install.sh")$install"
