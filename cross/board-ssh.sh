# shellcheck shell=bash
# Sourced, with $host set: one ssh connection to a board, and what goes over it. SSH is the command, such as "ssh -p 2222" [ssh].

: "${host:?}"
read -ra ssh <<<"${SSH:-ssh}"
tmp=$(mktemp -d)
# shellcheck disable=SC2329
disconnect() {
    [ -z "${there:-}" ] || board "rm -rf '$there'" || true
    "${ssh[@]}" -o ControlPath="$tmp/connection" -O exit "$host" 2>/dev/null || true
    rm -rf "$tmp"
}
trap disconnect EXIT

# Runs a command there; the first one connects, and asks for a password if it has to.
board() {
    "${ssh[@]}" -o ControlMaster=auto -o ControlPath="$tmp/connection" -o ControlPersist=yes "$host" "$@"
}

# The name of the board's binary.
board_cpu() { board sh -s -- --cpu <cross/install.sh; }

# Copies files into a new directory there, $there, which is removed at the end.
send() {
    mkdir "$tmp/send"
    while [ $# -gt 0 ]; do cp "$1" "$tmp/send/$2" && shift 2; done
    # shellcheck disable=SC2016
    there=$(tar -C "$tmp/send" -cf - . |
        board 'sh -c '\''d=$(mktemp -d "$HOME/.barnacle-XXXXXX") && cd "$d" && tar -xof - && pwd'\')
}

# A word for the board's shell.
quoted() { printf "'%s' " "${1//\'/\'\\\'\'}"; }

# The file of that name for the board's processor, of the set that was named; else built, unless it is there already.
built() {
    local name=$1 option=$2 cpu=$3 dir=$4 found
    if [ -z "$dir" ]; then
        found=${option#--}
        dir=${CARGO_TARGET_DIR:-target}/${found:-release}-set
        echo "$0: building $name for $cpu; the first time takes minutes" >&2
        # shellcheck disable=SC2086
        cross/build.sh $option "$cpu" >/dev/null || return
    fi
    found=$(find "$dir" -maxdepth 1 -name "$name-*-$cpu" | sort | tail -n 1)
    [ -n "$found" ] || { echo "$0: $dir has no $name for $cpu" >&2; return 1; }
    echo "$found"
}
