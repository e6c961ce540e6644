#!/usr/bin/env bash
# Builds the harnesses with AddressSanitizer and UBSan: build.sh SOURCE TARGET ENGINE.
#
# SOURCE is the folder that holds jailkit/, TARGET where the programs go. ENGINE is "fuzzer" (clang's libFuzzer) or
# "replay", which any compiler can build and which runs files once. CC chooses the compiler.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
native=$1/jailkit/_native target=$2 engine=$3
sanitize="address,undefined"
flags="-std=gnu11 -g -O1 -Wall -Wextra -Wno-unused-parameter -fno-sanitize-recover=all -fno-omit-frame-pointer"
main=$here/replay.c
if [ "$engine" = fuzzer ]; then
    sanitize="fuzzer,$sanitize" main=
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile() { # shellcheck disable=SC2086 # words, on purpose
    ${CC:-cc} $flags "-fsanitize=$sanitize" "-I$native" "-I$here" "$@"
}
objects=()
for source in "$native"/init/*.c "$here/kernel.c"; do
    name=$(basename "$source" .c)
    call=-DNOTHING
    case $name in
    entry | stack) continue ;; # kernel.c has what is in them
    steps) call=-Dsys6=plan_call ;;
    esac
    compile -DJK_NO_KERNEL $call -c "$source" -o "$work/$name.o"
    objects+=("$work/$name.o")
done
for harness in request plan; do
    compile -DJK_NO_KERNEL "$here/$harness.c" "${objects[@]}" $main -o "$target/fuzz-$harness"
done
compile "$here/host.c" "$native"/ext/*.c $main -o "$target/fuzz-host"
