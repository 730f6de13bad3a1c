#!/bin/sh
# Runs every fuzz target for a while, from its corpus. Usage: fuzz/run.sh [seconds], 10 if none are given.
# Ends with an error when a target finds something; the input is then in fuzz/artifacts/<target>/.
set -eu
cd "$(dirname "$0")"
seconds=${1:-10}

# The sanitizer is an unstable flag: of the nightly toolchain, or of a stable one that is told to take it.
toolchain=+nightly
if ! cargo +nightly --version >/dev/null 2>&1; then
    toolchain=
    export RUSTC_BOOTSTRAP=1
fi
# What `cargo fuzz build` passes, which takes longer to install than all of this takes.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address"
export RUSTFLAGS
host=$(rustc -vV | sed -n 's/^host: //p')
# shellcheck disable=SC2086
cargo $toolchain build --quiet --release --locked --target "$host"

found=0
for source in fuzz_targets/*.rs; do
    target=$(basename "$source" .rs)
    # What is found anew goes beside the corpus of the repository, not into it.
    mkdir -p "target/corpus/$target" "artifacts/$target"
    echo "fuzz: $target, $seconds s"
    "target/$host/release/$target" "target/corpus/$target" "corpus/$target" -artifact_prefix="artifacts/$target/" \
        -max_total_time="$seconds" -rss_limit_mb=1024 -malloc_limit_mb=256 -timeout=10 -verbosity=0 || found=1
done
exit $found
