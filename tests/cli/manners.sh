#!/bin/sh
# How the program behaves among others: closed and full streams, strange names, strange
# environments, being interrupted while it reads.
. tests/cli/lib.sh
model=tests/golden/models/q1-tied.gguf
vocab=tests/golden/tokenizer/qwen3.gguf
unset SIGNUM_MODEL SIGNUM_THREADS SIGNUM_CTX SIGNUM_ISA
escape=$(printf '\033')

harmless() { # stderr holds one line without control characters
    [ "$(wc -l <"$TMP/err")" -eq 1 ] || fail "not one line: $(cat -v "$TMP/err")"
    grep -q "$escape" "$TMP/err" && fail "an escape sequence: $(cat -v "$TMP/err")"
    return 0
}

# --- names and values that would write to the terminal come out as text
nasty="$TMP/a${escape}[31m
b"
expect 1 "$SIGNUM" info "$nasty"
harmless
err_has 'a\x1B[31m\x0Ab'
head -c 100 $model >"$nasty"
expect 3 "$SIGNUM" info "$nasty"
harmless
expect 2 "$SIGNUM" run -m $model "--x$escape" hi
harmless
expect 2 "$SIGNUM" run -m $model --temp "${escape}[31m" hi
harmless
expect 1 "$SIGNUM" run -m $model -f "$(printf '/none\377')"
err_has '/none\xFF'

# --- an argument that is the value of a flag is no flag
expect 0 "$SIGNUM" tokenize -m $vocab -p --help
expect 0 "$SIGNUM" tokenize -m $vocab -- --help

# --- a closed stream is an error, not a lost answer or an empty prompt
status=0
"$SIGNUM" run -m $model -n 3 hi >&- 2>"$TMP/err" || status=$?
[ $status -eq 1 ] || fail "a closed stdout ends with $status"
status=0
"$SIGNUM" run -m $model -n 3 <&- >"$TMP/out" 2>"$TMP/err" || status=$?
[ $status -eq 1 ] || fail "a closed stdin ends with $status"
[ ! -s "$TMP/out" ] || fail "an answer to a closed stdin"
"$SIGNUM" run -m $model -n 3 -s 1 -v hi >"$TMP/out" 2>&- || fail "a closed stderr"
expect 0 "$SIGNUM" run -m $model -n 3 -s 1 hi
cp "$TMP/out" "$TMP/answer"
"$SIGNUM" run -m $model -n 3 -s 1 hi <&- >"$TMP/out" 2>&- || fail "closed stdin and stderr"
cmp "$TMP/out" "$TMP/answer" || fail "the answer depends on closed streams"

# --- a full disk ends every command with 1 and a sentence
if [ -w /dev/full ]; then
    for command in "--version" "help" "help run" "info $model" "check $model" "run -n 3 --json -m $model hi" \
        "tokenize -m $vocab hi" "tokenize -m $vocab --ids 1" "logits -m $model hi" "perplexity -m $model -f LICENSE -c 64"; do
        status=0
        # shellcheck disable=SC2086 # words
        "$SIGNUM" $command >/dev/full 2>"$TMP/err" </dev/null || status=$?
        [ $status -eq 1 ] || fail "$command on a full disk ends with $status"
        err_has 'No space left'
    done
fi

# --- strange environments
SIGNUM_THREADS=abc SIGNUM_CTX=-4 expect 0 "$SIGNUM" run -m $model -n 3 -s 1 hi
cmp "$TMP/out" "$TMP/answer" || fail "a meaningless environment changes the answer"
[ "$(wc -l <"$TMP/err")" -eq 2 ] || fail "not one note for each variable: $(cat "$TMP/err")"
SIGNUM_CTX=32 expect 0 "$SIGNUM" run -m $model --json --ignore-eos --no-loop-guard hi
out_has '"total_tokens":33' # 32 evaluated, and the last one that was chosen
here=$(pwd)
(cd / && env -i HOME=/nonexistent "$SIGNUM" run -m "$here/$model" -n 3 -s 1 hi) >"$TMP/out" || fail "from another directory"
cmp "$TMP/out" "$TMP/answer" || fail "the answer depends on the directory"

# --- interrupted while it waits for input: 130
[ -r /proc/self/status ] || exit 0
mkfifo "$TMP/pipe"
for command in "run -m $model" "run -m $model -f -" "tokenize -m $vocab --jsonl" "tokenize -m $vocab" "render -m $vocab --jsonl" "perplexity -m $model -f -"; do
    sleep 30 >"$TMP/pipe" & # keeps the pipe open
    sleeper=$!
    # shellcheck disable=SC2086 # words
    "$SIGNUM" $command <"$TMP/pipe" >"$TMP/out" 2>"$TMP/err" &
    pid=$!
    tries=0 # until it sleeps in read
    until grep -qx signum "/proc/$pid/comm" && grep -q '^State:.S' "/proc/$pid/status"; do
        [ $tries -lt 200 ] || fail "$command does not read"
        sleep 0.05
        tries=$((tries + 1))
    done 2>"$TMP/proc"
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    kill $sleeper
    wait $sleeper 2>/dev/null
    [ $status -eq 130 ] || fail "$command, interrupted while reading, ends with $status: $(cat "$TMP/err")"
done
exit 0
