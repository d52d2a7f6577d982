#!/bin/sh
# fuzz.sh [SECONDS] - coverage-guided fuzzing of src/text.c by libFuzzer, under
# AddressSanitizer and UndefinedBehaviorSanitizer, for SECONDS (60).
#
# What it finds lies in build/fuzz/; the corpus there grows from run to run.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}

fail() {
    echo "pyusdt: $1" >&2
    exit 1
}

case $seconds in
'' | *[!0-9]*) fail "fuzz for how long? give seconds: make fuzz ARGS=600" ;;
esac
scripts/setup.sh python
scripts/setup.sh build fuzzer
python=$(scripts/find-python.sh)
. scripts/sanitizer-env.sh

mkdir -p build/fuzz/corpus
"$python" - >build/fuzz/flags <<'END'
import sysconfig
get = sysconfig.get_config_var
if get("Py_ENABLE_SHARED"):
    library = f"-L{get('LIBDIR')} -Wl,-rpath,{get('LIBDIR')} -lpython{get('LDVERSION')}"
else:
    library = f"{get('LIBPL')}/{get('LIBRARY')} {get('LINKFORSHARED')}"
print(f"-I{sysconfig.get_path('include')}", library, get("LIBS"), get("SYSLIBS"), "-lm")
END
# shellcheck disable=SC2046
clang -std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -fno-omit-frame-pointer \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    "-DPYTHON=\"$python\"" -Isrc tests/c/fuzz_text.c -o build/fuzz/fuzz_text \
    $(cat build/fuzz/flags) || fail "cannot build the fuzzer for $python"

# The interpreter's own strings are never freed, so that leaks cannot be told apart
# here; a reference that is lost shows as a changed count.
log=build/fuzz/log
echo "pyusdt: fuzzing src/text.c for $seconds seconds, $("$python" --version)"
status=0
ASAN_OPTIONS=detect_leaks=0:allow_addr2line=1 $no_aslr build/fuzz/fuzz_text -detect_leaks=0 \
    -max_total_time="$seconds" -max_len=2048 -timeout=60 -print_final_stats=1 -use_value_profile=1 \
    -artifact_prefix=build/fuzz/ build/fuzz/corpus >"$log" 2>&1 || status=$?
if [ $status != 0 ]; then
    grep -v -E '^#[0-9]+' "$log" | tail -n 50 >&2
    fail "the fuzzer has found something: run build/fuzz/fuzz_text with the file named above"
fi
grep -E '^(stat::number_of_executed_units|stat::average_exec_per_sec|#[0-9]+.DONE)' "$log"
