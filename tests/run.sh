#!/bin/sh
# Runs the test binary and every shell test, or some: sh tests/run.sh BUILD_DIR [NAME...]
# NAME is the beginning of a unit test's name, "unit" for all of them, or cli/NAME for the shell
# test tests/cli/NAME.sh.
# A shell test gets the program in $SIGNUM, the build folder in $BUILD, a fresh folder in $TMP, sources
# tests/cli/lib.sh, and fails by a non-zero exit, but for 77: it could not run here and says why.
set -u
build=$(cd "$1" && pwd)
shift
passed=0
failed=0

all=
units=
scripts=
for name; do
    case $name in
    unit) all=yes ;;
    cli/*) scripts="$scripts tests/$name.sh" ;;
    *) units="$units $name" ;;
    esac
done
if [ $# -eq 0 ]; then
    all=yes
    scripts=$(echo tests/cli/*.sh)
fi

if [ -n "$all$units" ]; then
    # shellcheck disable=SC2086 # names are words
    summary=$(${RUN_WITH-} "$build/signum-tests" $units) || true # RUN_WITH: an emulator
    echo "unit tests: $summary"
    p=$(echo "$summary" | sed -n 's/^\([0-9]*\) passed.*/\1/p' | tail -n 1)
    f=$(echo "$summary" | sed -n 's/.* \([0-9]*\) failed$/\1/p' | tail -n 1)
    passed=$((passed + ${p:-0}))
    failed=$((failed + ${f:-1})) # no summary line: it crashed
fi

for script in $scripts; do
    case $script in *lib.sh) continue ;; esac
    TMP=$(mktemp -d)
    SIGNUM=$build/signum BUILD=$build TMP=$TMP sh "$script" >"$TMP/.log" 2>&1
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
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
