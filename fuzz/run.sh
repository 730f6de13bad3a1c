#!/bin/sh
# Runs every fuzz target for a while, from its corpus. Usage: fuzz/run.sh [seconds], 10 if none are given.
# Ends with an error when a target finds something; the input is then in fuzz/artifacts/<target>/.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-10}

if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --locked
fi
# The sanitizer is an unstable flag: of the nightly toolchain, or of a stable one that is told to take it.
if cargo +nightly --version >/dev/null 2>&1; then
    fuzz="cargo +nightly fuzz"
else
    export RUSTC_BOOTSTRAP=1
    fuzz="cargo fuzz"
fi

found=0
for target in $($fuzz list); do
    # What is found anew goes beside the corpus of the repository, not into it.
    mkdir -p "fuzz/target/corpus/$target"
    echo "fuzz: $target, $seconds s"
    $fuzz run "$target" "fuzz/target/corpus/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=1024 -malloc_limit_mb=256 -timeout=10 -verbosity=0 || found=1
done
exit $found
