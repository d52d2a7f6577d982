#!/bin/sh
# demo.sh - traces sleep.py with sample.bt for a few seconds and sums up what was seen.
#
# Installs what is missing, builds, and cleans up after itself. Needs root, for
# bpftrace.
set -eu
cd "$(dirname "$0")/.."
seconds=${SECONDS_TO_TRACE:-3}

fail() {
    echo "pyusdt: $1" >&2
    exit 1
}

if [ "$(id -u)" != 0 ]; then
    fail "the demo runs bpftrace, which needs root; type: sudo make demo${PYTHON:+ PYTHON=$PYTHON}"
fi

scripts/setup.sh python
scripts/setup.sh build bpftrace tracefs
python=$(scripts/find-python.sh)
make --no-print-directory all PYTHON="$python"

work=$(mktemp -d)
tracer=''
shown=''
# SIGINT until it is gone: bpftrace 0.17 now and then ignores one.
stop_tracer() {
    tries=0
    while [ -n "$tracer" ] && kill -INT "$tracer" 2>/dev/null && [ $tries -lt 100 ]; do
        tries=$((tries + 1))
        sleep 0.2
    done
    [ -z "$tracer" ] || wait "$tracer" 2>/dev/null || true
    tracer=''
}
clean_up() {
    stop_tracer
    [ -z "$shown" ] || kill "$shown" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

echo "pyusdt: $(bpftrace --version), $("$python" --version): sleep.py for $seconds seconds"
: >"$work/out"
# A shell without job control starts background commands with SIGINT ignored.
env --default-signal=INT bpftrace -B line sample.bt >"$work/out" 2>"$work/err" </dev/null &
tracer=$!
tail -n +1 -f "$work/out" &
shown=$!
tries=0
until grep -q '^EVENT' "$work/out"; do
    tries=$((tries + 1))
    if ! kill -0 "$tracer" 2>/dev/null || [ $tries -gt 600 ]; then
        cat "$work/err" >&2
        fail "bpftrace did not start; its own words are above"
    fi
    sleep 0.1
done

status=0
"$python" -m pyusdt sleep.py "$seconds" || status=$?
stop_tracer
sleep 0.3 # the last lines on their way to the screen
kill "$shown" 2>/dev/null || true
wait "$shown" 2>/dev/null || true
shown=''

[ "$status" = 0 ] || fail "sleep.py ended with exit code $status"
grep -i -E 'lost .*events' "$work/out" "$work/err" | sed 's/^[^:]*:/pyusdt: bpftrace says: /' || true
awk '
    $1 ~ /^(PY_START|PY_RESUME|PY_RETURN|PY_YIELD|CALL|LINE)$/ { count[$1]++; total++ }
    END {
        printf "\npyusdt: %d events:", total
        n = split("PY_START PY_RESUME PY_RETURN PY_YIELD CALL LINE", names, " ")
        for (i = 1; i <= n; i++) printf " %s %d", names[i], count[names[i]]
        printf "\n"
    }' "$work/out"
for event in PY_START PY_RETURN; do
    grep -q -E "^$event +[0-9]+ +nap +[0-9]+ +.*sleep\.py" "$work/out" || {
        cat "$work/err" >&2
        fail "bpftrace saw no $event of sleep.py; its own words, if any, are above"
    }
done
