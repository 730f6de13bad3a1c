#!/usr/bin/env bash
# Measures a gateway of its own on a board, over ssh, and prints one table with the board at its head:
#
#   cross/bench.sh [user@]host [<option>...]
#
#   --svg <file>         also a plot of latency by percentile; --json <file> and --markdown <file> the table
#   --set <dir>          a release set to take the gateway from [this source's, built if need be]
#   --bench <file>       the bench, built for the board [this source's]
#   --quick, --only …    the bench's own: see benches/README.md
#
# Both are copied into a directory of their own on the board, and removed at the end. A gateway that the board runs is
# left alone, and takes time from the one that is measured: stop it first.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "cross/bench.sh: $*" >&2; exit 1; }

host='' bench='' words='' set_dir=''
files=()
while [ $# -gt 0 ]; do
    case $1 in
        --svg | --json | --markdown) files+=("${1#--}" "$(realpath -m "${2:?$1 needs a file}")"); words+="$1 ${1#--} "; shift ;;
        --set) set_dir=$(realpath "${2:?--set needs a directory}"); shift ;;
        --bench) bench=$(realpath "${2:?--bench needs a file}"); shift ;;
        --only) words+="$1 ${2:?--only needs a part} "; shift ;;
        --quick) words+="$1 " ;;
        -*) fail "no such option: $1" ;;
        *) [ -z "$host" ] || fail "one board at a time: $host, $1"; host=$1 ;;
    esac
    shift
done
[ -n "$host" ] || fail "which board? cross/bench.sh user@host"
# shellcheck source=cross/board-ssh.sh
. cross/board-ssh.sh

cpu=$(board_cpu) || fail "nothing was measured"
gateway=$(built barnacle '' "$cpu" "$set_dir")
[ -n "$bench" ] || bench=$(built board --bench "$cpu" '')
echo "cross/bench.sh: $host measures ${gateway##*/}; this takes minutes" >&2
send "$gateway" barnacle "$bench" board
code=0
board "cd $(quoted "$there")&& ./board --bench --gateway ./barnacle --dir . $words" || code=$?
for ((i = 0; i < ${#files[@]}; i += 2)); do
    board "cat $(quoted "$there/${files[i]}")" >"${files[i + 1]}"
    echo "cross/bench.sh: wrote ${files[i + 1]}" >&2
done
exit $code
