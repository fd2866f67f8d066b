#!/bin/sh
# The real program on every malformed file of tests/golden/bad: the outcome that the case states,
# one line on stderr when it is an error, never a signal, a hang or a huge allocation.
set -u
cases=tests/golden/bad/cases.txt
"$BUILD/tools/bad_files" $cases tests/golden/models/mini-q1.gguf "$TMP" >"$TMP/cases" || exit 1
case $BUILD in
*-san*) ;; # the address sanitizer reserves terabytes of addresses
*) ulimit -v 1048576 ;;
esac
n=0
wrong=0
while read -r name outcome; do
    n=$((n + 1))
    timeout 20 "$SIGNUM" run -m "$TMP/$name.gguf" --raw -p a -n 2 -t 1 </dev/null >"$TMP/out" 2>"$TMP/err"
    status=$?
    problem=
    case $outcome-$status in
    ok-0 | any-0) ;;
    error-[1-5] | any-[1-5])
        [ "$(wc -l <"$TMP/err")" -eq 1 ] || problem="not one line on stderr"
        LC_ALL=C grep -q '[[:cntrl:]]' "$TMP/err" && problem="control characters on stderr"
        ;;
    *) problem="exit status $status, expected $outcome" ;;
    esac
    if [ -n "$problem" ]; then
        wrong=$((wrong + 1))
        echo "$name: $problem"
        head -c 600 "$TMP/err"
    fi
    rm -f "$TMP/$name.gguf"
done <"$TMP/cases"
echo "$n files, $wrong wrong"
[ $n -eq 354 ] && [ $wrong -eq 0 ]
