#!/usr/bin/env bash
# `make fuzz`: each harness for FUZZ_SECONDS (default 60) with libFuzzer, from FUZZ_SEED (default: another each time;
# CI names one, so that the same tree gets the same answer). What it finds stays in tests/fuzz/found/,
# where tests/native/test_fuzz.py replays it for ever; the rest of what it learns is thrown away.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d /var/tmp/fuzz.XXXXXX)
trap 'rm -rf "$work"' EXIT
CC=clang bash "$here/build.sh" "$here/../.." "$work" fuzzer
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
for harness in "${@:-request plan host}"; do
    for name in $harness; do
        mkdir "$work/$name"
        printf '== fuzz-%s\n' "$name"
        timeout --foreground -k 10 $((${FUZZ_SECONDS:-60} + 120)) "$work/fuzz-$name" \
            -max_total_time="${FUZZ_SECONDS:-60}" -timeout=20 -seed="${FUZZ_SEED:-0}" -rss_limit_mb=1500 -max_len=131072 -use_value_profile=1 \
            -verbosity=0 -print_final_stats=1 -artifact_prefix="$here/found/$name-" \
            "$work/$name" "$here/corpus/$name" >"$work/log" 2>&1 || { tail -60 "$work/log"; exit 1; }
        grep -E 'number_of_executed_units|new_units_added' "$work/log"
    done
done
