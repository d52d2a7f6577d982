#!/bin/sh
# sanitize.sh [STEP...] - runs the tests on builds that notice errors of memory and
# threads: the steps are address, thread, memcheck and fuzz; all of them by default.
#
#   address   AddressSanitizer, LeakSanitizer, UndefinedBehaviorSanitizer: the tests
#   thread    ThreadSanitizer: the tests of the watcher, and tests/stress.py
#   memcheck  valgrind: tests/stress.py
#   fuzz      libFuzzer: scripts/fuzz.sh for a minute
#
# Each build is of its own, in a copy of the sources under build/sanitize/: what
# `make` has built is left alone. CPython is the one that is installed, without
# instrumentation; the runtimes are loaded into it by LD_PRELOAD, into the programs
# under test only. What they report goes to build/sanitize/STEP/reports/ and is judged
# by scripts/sanitizer-reports.py. One CPython is used: PYTHON, or the first found.
# As root the tests with tracers are run, too.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "pyusdt: $1" >&2
    exit 1
}

steps=${*:-address thread memcheck fuzz}
for step in $steps; do
    case $step in
    address | thread | memcheck | fuzz) ;;
    *) fail "there is no step $step: address, thread, memcheck, fuzz" ;;
    esac
done
scripts/setup.sh python
scripts/setup.sh build sanitizers valgrind cross pgrep
only='not tracer'
if [ "$(id -u)" = 0 ]; then
    scripts/setup.sh bpftrace tracefs
    only=''
fi
python=$(scripts/find-python.sh)
pytest=$(scripts/test-venv.sh "$python")
. scripts/sanitizer-env.sh
unset MAKEFLAGS MAKELEVEL MFLAGS

# Builds a copy of the sources with these flags: it becomes $tree.
build() { # step flags
    tree=$PWD/build/sanitize/$1
    mkdir -p "$tree/build"
    find "$tree" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    rm -rf "$tree/build/temp" "$tree/reports"
    tar --exclude=./build --exclude=./.git --exclude='*.so' -cf - . | tar -xf - -C "$tree"
    ln -sfn "$PWD/build/venv" "$tree/build/venv"
    mkdir "$tree/reports"
    flags="$2 -g -fno-omit-frame-pointer"
    CFLAGS=$flags PYUSDT_WERROR=1 "$tree/scripts/build.sh" "$python"
    "$tree/scripts/link.sh" "$python" >/dev/null
}

runtime() { # of gcc: the real file, for LD_PRELOAD
    path=$(readlink -f "$(gcc -print-file-name="$1.so")")
    [ -f "$path" ] || fail "gcc has no $1"
    echo "$path"
}

# Runs tests of the copy; the programs under test get this environment.
run_tests() { # environment pytest-arguments...
    environment=$1
    shift
    (cd "$tree" && CFLAGS=$flags PYUSDT_PYTHONS=$python PYUSDT_PROGRAM_ENV=$environment \
        $no_aslr "$pytest" -m pytest -q -n auto --maxprocesses 4 \
        ${only:+-m "$only"} "$@") ||
        fail "tests have failed; what the sanitizers have said is in $tree/reports/"
}

judge() {
    "$python" scripts/sanitizer-reports.py "$tree/reports" ||
        fail "$step: the reports above count"
}

# Leaks alone do not end a process (exitcode=0), all else does (abort_on_error). They
# are looked for where modules, threads and interpreters come and go: whole stacks are
# needed for that (fast_unwind_on_malloc=0), and every allocation pays for them.
# use_sigaltstack=0: the runtime takes its signal stack down on the stack of a thread
# that was cancelled, as the listener is, and then takes itself for an intruder.
address() {
    build address "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
    options="exitcode=0:abort_on_error=1:use_sigaltstack=0:log_path=$tree/reports/asan"
    options="$options:stack_trace_format='    #%n %F %S %M'"
    environment="LD_PRELOAD=$(runtime libasan) PYTHONMALLOC=malloc
        LSAN_OPTIONS=suppressions=$tree/tests/lsan.supp:print_suppressions=0"
    leaks=detect_leaks=1:fast_unwind_on_malloc=0
    run_tests "$environment \"ASAN_OPTIONS=$options:$leaks\"" \
        tests/test_watcher.py
    run_tests "$environment \"ASAN_OPTIONS=$options:detect_leaks=0\"" \
        tests/test_text.py tests/test_text_fuzz.py tests/test_notes.py tests/test_marks.py \
        tests/test_runner_streams.py tests/test_probes.py tests/test_attach.py \
        tests/test_args.py tests/test_layout.py tests/test_settings.py tests/test_slow.py \
        tests/test_runtime.py
    judge
}

# The runtime has a thread of its own, of which os.fork() warns: the tests that look
# for that warning are left out. die_after_fork=0: our children have threads. A race alone
# does not end a process (exitcode=0), a crash does (abort_on_error).
thread() {
    build thread -fsanitize=thread
    options="exitcode=0:abort_on_error=1:die_after_fork=0:log_path=$tree/reports/tsan"
    run_tests "LD_PRELOAD=$(runtime libtsan) TSAN_OPTIONS=$options" tests/test_watcher.py \
        -k 'not test_fork_does_not_warn and not fork-at-exit'
    LD_PRELOAD=$(runtime libtsan) TSAN_OPTIONS=$options PYUSDT_CHECK_MSEC=1 \
        $no_aslr "$python" -W ignore "$tree/tests/stress.py" 20 || fail "stress.py has failed"
    judge
}

# Leaks are LeakSanitizer's: memcheck takes a pointer into an object, as CPython has
# them, for a leak. valgrind knows no close_range: there is no listener.
memcheck() {
    build memcheck ''
    PYTHONMALLOC=malloc PYUSDT_CHECK_MSEC=1 valgrind -q --show-leak-kinds=none --num-callers=40 \
        --xml=yes --xml-file="$tree/reports/memcheck.%p.xml" \
        "$python" -W ignore "$tree/tests/stress.py" 30 || fail "stress.py has failed"
    judge
}

for step in $steps; do
    echo "pyusdt: $step, $("$python" --version)"
    case $step in
    fuzz) scripts/fuzz.sh 60 ;;
    *) $step ;;
    esac
done
