#!/bin/sh
# fuzz.sh [SECONDS] - coverage-guided fuzzing of src/text.c and src/filter.c by libFuzzer,
# under AddressSanitizer and UndefinedBehaviorSanitizer, for SECONDS (60): three quarters
# of them for the text.
#
# What it finds lies in build/fuzz/; the corpora there grow from run to run.
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

mkdir -p build/fuzz
"$python" - >build/fuzz/flags <<'END'
import sysconfig
get = sysconfig.get_config_var
if get("Py_ENABLE_SHARED"):
    library = f"-L{get('LIBDIR')} -Wl,-rpath,{get('LIBDIR')} -lpython{get('LDVERSION')}"
else:
    library = f"{get('LIBPL')}/{get('LIBRARY')} {get('LINKFORSHARED')}"
print(f"-I{sysconfig.get_path('include')}", library, get("LIBS"), get("SYSLIBS"), "-lm")
END

build() { # name sources-and-flags...
    name=$1
    shift
    clang -std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -fno-omit-frame-pointer \
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -Isrc \
        "tests/c/$name.c" -o "build/fuzz/$name" "$@" || fail "cannot build $name for $python"
}

fuzz() { # name seconds libfuzzer-options...
    name=$1
    time=$2
    shift 2
    corpus=build/fuzz/$name-corpus
    log=build/fuzz/$name.log
    mkdir -p "$corpus"
    echo "pyusdt: $name for $time seconds, $("$python" --version)"
    status=0
    # shellcheck disable=SC2086
    $no_aslr "build/fuzz/$name" "$@" -max_total_time="$time" -timeout=60 \
        -print_final_stats=1 -use_value_profile=1 -artifact_prefix=build/fuzz/ \
        "$corpus" >"$log" 2>&1 || status=$?
    if [ $status != 0 ]; then
        grep -v -E '^#[0-9]+' "$log" | tail -n 50 >&2
        fail "the fuzzer has found something: run build/fuzz/$name with the file named above"
    fi
    grep -E '^(stat::number_of_executed_units|stat::average_exec_per_sec|#[0-9]+.DONE)' "$log"
}

export ASAN_OPTIONS=detect_leaks=0:allow_addr2line=1
# shellcheck disable=SC2046
build fuzz_text "-DPYTHON=\"$python\"" $(cat build/fuzz/flags)
build fuzz_filter src/filter.c
# The interpreter's own strings are never freed, so that leaks cannot be told apart
# there; a reference that is lost shows as a changed count.
fuzz fuzz_text $((seconds - seconds / 4)) -detect_leaks=0 -max_len=2048
fuzz fuzz_filter $((seconds / 4)) -detect_leaks=0 -max_len=3072
