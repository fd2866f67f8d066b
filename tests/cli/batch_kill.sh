#!/bin/sh
# Batch: nothing is lost. Killed at points spread over a run, resumed, killed again and resumed
# gives exactly the records of an uninterrupted run; so does a record torn anywhere. A dozen
# points; SIGNUM_TEST_KILLS=100 for as many as you have patience for.
. tests/cli/lib.sh
. tests/cli/batch_lib.sh
model=tests/golden/models/q1-tied.gguf
batch() { "$SIGNUM" batch -m $model -q "$@"; }
milliseconds() { date +%s%3N; }
points=${SIGNUM_TEST_KILLS-12}

# Resumes with other threads and sequences at once, and compares.
finish() { # NUMBER WHAT
    status=0
    batch -i "$TMP/in" -o "$TMP/killed" --resume -np $(($1 % 7 + 1)) -t $(($1 % 3 + 1)) || status=$?
    [ $status -eq 5 ] || fail "$2: resume ends with $status, though some requests failed"
    same_records "$TMP/one" "$TMP/killed" "$2: resumed gives other records"
}

write_mix
begin=$(milliseconds)
batch -i "$TMP/in" -o "$TMP/one" -np 4 -t 1
duration=$(($(milliseconds) - begin))

# --- killed once at each point, every third time once more while it resumes
killed=0
n=0
while [ $n -lt "$points" ]; do
    n=$((n + 1))
    rm -f "$TMP/killed"
    for again in 1 2; do
        [ $again -eq 1 ] || [ $((n % 3)) -eq 0 ] || continue
        "$SIGNUM" batch -m $model -q -i "$TMP/in" -o "$TMP/killed" -np 4 -t 1 --resume 2>/dev/null &
        pid=$!
        sleep "$(awk "BEGIN { print $duration * ($n - 0.5) / $points / 1000 / $again }")"
        kill -9 $pid 2>/dev/null && killed=$((killed + 1))
        wait $pid 2>/dev/null
    done
    finish $n "point $n of $points"
done
[ "$points" -eq 0 ] || [ $killed -gt 0 ] || fail "no run was killed before its end"

# --- torn at any byte
size=$(wc -c <"$TMP/one")
n=0
while [ $n -lt "$points" ]; do
    n=$((n + 1))
    head -c $((size * n / points - n % 5)) "$TMP/one" >"$TMP/killed"
    finish $n "torn at byte $(wc -c <"$TMP/killed")"
done

# --- what failed before stays failed, and is said
cp "$TMP/one" "$TMP/killed"
status=0
batch -i "$TMP/in" -o "$TMP/killed" --resume --summary "$TMP/summary" || status=$?
[ $status -eq 5 ] || fail "resuming a finished run with failures ends with $status"
grep -q '"done":0,"failed":0,"skipped":36,"failed_before":12,' "$TMP/summary" || fail "summary: $(cat "$TMP/summary")"

# --- failed ones again; other settings, other models, other files and no record at all are refused
cp "$TMP/one" "$TMP/killed"
batch -i "$TMP/in" -o "$TMP/killed" --retry-failed
same_records "$TMP/one" "$TMP/killed" "--retry-failed changes records"
refused() { # FLAG...
    expect 2 "$SIGNUM" batch -m $model -i "$TMP/in" -o "$TMP/killed" "$@"
    cmp -s "$TMP/before" "$TMP/killed" || fail "refusing $* changes the output"
}
cp "$TMP/killed" "$TMP/before"
refused
for other in "--temp 0.9" "-s 1" "-n 3" "--stop x" "--min-tokens 1" "--stop-token-ids 3" "--raw" "-sys x" "-ctk q8_0" "--act f32" "--act int16" \
    "--think off" "--ignore-eos" "--regex a" "--logit-bias 5+1" "--template {prompt}" "-c 512" "--presence-penalty 1" \
    "--top-k 3" "--top-p 0.5" "--min-p 0.5" "--typical 0.5" "--top-nsigma 1" "--xtc-probability 0.5" "--xtc-threshold 0.3" \
    "--dynatemp-range 0.5" "--dynatemp-exp 2" "--repeat-last-n 3" "--repeat-penalty 1.5" "--frequency-penalty 1" "--min-keep 3" \
    "--dry-multiplier 1" "--dry-base 3" "--dry-allowed-length 5" "--dry-penalty-last-n 5" "--dry-sequence-breaker x" \
    "--mirostat 2" "--mirostat-ent 3" "--mirostat-lr 0.3" "--samplers kpt" "--no-loop-guard" "--think-budget 9"; do
    # shellcheck disable=SC2086 # words
    refused --resume $other
    err_has "was written with another model, other settings"
done
refused --resume -m tests/golden/models/q1-yarn.gguf
refused --resume -m tests/golden/models/q1-untied.gguf
cp "$TMP/in" "$TMP/copy"
expect 2 "$SIGNUM" batch -m $model -i "$TMP/copy" -o "$TMP/copy" --resume
cmp -s "$TMP/in" "$TMP/copy" || fail "the input was changed"
cp "$TMP/in.good" "$TMP/other"
expect 2 "$SIGNUM" batch -m $model -i "$TMP/in" -o "$TMP/other" --resume
cmp -s "$TMP/in.good" "$TMP/other" || fail "a file without records was changed"
expect 1 "$SIGNUM" batch -m $model -i "$TMP/nowhere" -o "$TMP/x"
exit 0
