#!/usr/bin/env bash
# The native part under AddressSanitizer and UndefinedBehaviorSanitizer: `make test-asan`.
#
# A copy of the package is built with both, in a temporary directory: the extension, and jailkit-init as an ordinary
# program with a C library, which the sanitizers need. What they find ends the process at once (PID 1 of a jail has
# nowhere to print to), so it shows as a failed test: an error of the start, or a program with reason LOST.
#
# PYTHON: an interpreter with cffi, attrs, pytest and hypothesis. Further arguments go to pytest.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
cc=${CC:-cc}
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1"

work=$(mktemp -d /var/tmp/asan.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 755 "$work"
mkdir "$work/tests"
cp -r "$here/jailkit" "$here/setup.py" "$here/pyproject.toml" "$here/README.md" "$here/LICENSE" "$work"
cp -r "$here"/tests/*.py "$here/tests/native" "$here/tests/kernel" "$here/tests/fuzz" "$here/tests/net" "$work/tests"
find "$work" -name __pycache__ -prune -exec rm -rf {} +
rm -f "$work"/jailkit/_native/_ext* "$work/jailkit/_native/jailkit-init"

cd "$work"
CFLAGS="$sanitize" LDFLAGS="$sanitize" "$python" setup.py --quiet build_ext --inplace
cat >hosted.c <<'END'
/* The environment of jailkit-init is empty, so its options are here. A leak is not asked for: it never allocates. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0:abort_on_error=1"; }
/* A program of a jail begins on the stack of the one before, whose frames never returned and look forbidden still. Its
 * own frames clear that away as they come; those of the sanitizer itself do not. */
const char *__asan_default_suppressions(void);
const char *__asan_default_suppressions(void) { return "interceptor_name:sigaltstack\n"; }
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "abort_on_error=1"; }
int jail_main(int argc, char **argv);
int main(int argc, char **argv) { return jail_main(argc, argv); }
END
# shellcheck disable=SC2046,SC2086 # words, on purpose
$cc -std=gnu11 -Wall -Wextra -Wno-unused-parameter $sanitize -Ijailkit/_native hosted.c \
    $(find jailkit/_native/init -name '*.c' -not -name entry.c | sort) -o jailkit/_native/jailkit-init
rm hosted.c

# Python itself is not built with the sanitizers, so their library has to come first; it keeps the freed memory of
# Python for a while, which a test that looks at the size of this process must not see too much of.
export LD_PRELOAD="$($cc -print-file-name=libasan.so):$($cc -print-file-name=libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=4 UBSAN_OPTIONS=print_stacktrace=1
export PYTHONPATH=$work PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=$work/hypothesis
"$python" -c 'import jailkit, sys; sys.exit(not jailkit.__file__.startswith(sys.argv[1]))' "$work"
"$python" -m pytest -p no:cacheprovider -q tests/native \
    tests/kernel/test_{errors,files,popen,processes,run,start,transfer}.py "$@"

# The proof that the sanitizers are there: without it, a build that lost them would pass.
unset LD_PRELOAD
for built in jailkit/_native/jailkit-init jailkit/_native/_ext*.so; do
    nm -D "$built" | grep __asan_report >/dev/null
done
