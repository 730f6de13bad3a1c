#!/bin/sh
# Installs the clients that the tests attach to the gateway: two npm folders and a Python venv, all
# pinned and without running anyone's install scripts. Quick when they are already there; run it again
# after a pin has changed. Prints the path of the Node that the clients need (24; the machine's may be
# older).
set -eu
cd "$(dirname "$0")"

# A stamp beside each tree holds the checksum of the pins that it was made from.
fresh() { [ "$(cat "$1/.pins" 2>/dev/null)" = "$2" ]; }
sum() { cat "$@" | sha256sum | cut -c1-64; }

npm_tree() {
    pins=$(sum "$1/package.json" "$1/package-lock.json" "$1/.npmrc")
    fresh "$1/node_modules" "$pins" && return
    # shellcheck disable=SC2086
    (cd "$1" && npm ci --ignore-scripts $2 --loglevel=error >&2)
    echo "$pins" >"$1/node_modules/.pins"
}

python_tree() {
    pins=$(sum requirements.txt)
    fresh .venv "$pins" && return
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt >&2
    echo "$pins" >.venv/.pins
}

npm_tree . --omit=peer
npm_tree legacy "--omit=peer --omit=optional"
python_tree
for node in "$PWD"/node_modules/node-linux-*/bin/node; do echo "$node"; done
