#!/bin/sh
# Runs the test binary and every shell test: sh tests/run.sh BUILD_DIR [GROUP...]
# A shell test is tests/cli/NAME.sh; it gets the program in $SIGNUM, the build folder in
# $BUILD, a fresh folder in $TMP, sources tests/cli/lib.sh, and fails by a non-zero exit, but
# for 77: it could not run here and says why.
set -u
build=$1
shift
passed=0
failed=0
summary=$("$build/signum-tests" "$@") || true
echo "unit tests: $summary"
passed=$((passed + $(echo "$summary" | sed -n 's/^\([0-9]*\) passed.*/\1/p' | tail -n 1 | grep . || echo 0)))
f=$(echo "$summary" | sed -n 's/.* \([0-9]*\) failed$/\1/p' | tail -n 1)
failed=$((failed + ${f:-1})) # no summary line: it crashed
if [ $# -eq 0 ]; then
    for script in tests/cli/*.sh; do
        [ "$script" = tests/cli/lib.sh ] && continue
        [ -f "$script" ] || continue
        TMP=$(mktemp -d)
        SIGNUM=$(cd "$build" && pwd)/signum BUILD=$(cd "$build" && pwd) TMP=$TMP sh "$script" >"$TMP/.log" 2>&1
        status=$?
        if [ $status -eq 0 ]; then
            passed=$((passed + 1))
            echo "ok      $script"
        elif [ $status -eq 77 ]; then
            echo "skipped $script: $(tail -n 1 "$TMP/.log")"
        else
            failed=$((failed + 1))
            echo "FAILED  $script (exit $status)"
            sed 's/^/    /' "$TMP/.log" | tail -n 40
        fi
        rm -rf "$TMP"
    done
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
