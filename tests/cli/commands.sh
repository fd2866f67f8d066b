#!/bin/sh
# The commands through the program: exit codes, stdout and stderr apart, stdin rules, pipes.
. tests/cli/lib.sh
model=tests/golden/models/q1-tied.gguf
vocab=tests/golden/tokenizer/qwen3.gguf
unset SIGNUM_MODEL SIGNUM_THREADS SIGNUM_CTX SIGNUM_ISA

same() { # FILE TEXT: the file holds exactly this line
    [ "$(cat "$1")" = "$2" ] || fail "$1 holds '$(head -c 300 "$1")' instead of '$2'"
}
quiet() { [ ! -s "$TMP/err" ] || fail "stderr is not empty: $(cat "$TMP/err")"; }
one_line() { # the sentence on stderr is one line that begins with signum:
    [ "$(wc -l <"$TMP/err")" -eq 1 ] || fail "not one line: $(cat "$TMP/err")"
    grep -q '^signum: ' "$TMP/err" || fail "no signum: in $(cat "$TMP/err")"
}

# --- usage
expect 2 "$SIGNUM"
[ ! -s "$TMP/out" ] || fail "usage on stdout"
expect 0 "$SIGNUM" help
[ "$(wc -l <"$TMP/out")" -le 40 ] || fail "help does not fit a screen"
for said in "help sampling" "form" $(sed -n 's/^| .\([A-Z_][A-Z_]*\).[ ,].*/\1/p' README.md); do out_has "$said"; done
expect 0 "$SIGNUM" --version
grep -q numerics "$TMP/out" || fail "no numerics version"
expect 0 "$SIGNUM" help run
[ "$(wc -l <"$TMP/out")" -le 57 ] || fail "help run does not fit a screen"
[ "$(grep -n Examples: "$TMP/out" | cut -d : -f 1)" -gt "$(grep -n Output: "$TMP/out" | cut -d : -f 1)" ] || fail "help run does not end with examples"
expect 0 "$SIGNUM" help sampling
expect 0 "$SIGNUM" run --help
expect 2 "$SIGNUM" rum
grep -q 'did you mean run' "$TMP/err" || fail "no suggestion"
one_line
for bad in "--tmep 1" "--temp" "--temp warm" "--top-k 1.5" "--seed -2" "-t 0" "--act int3" "--think maybe" "--samplers qz" "-l 5" "--jsonl"; do
    # shellcheck disable=SC2086
    expect 2 "$SIGNUM" run -m $model $bad
    one_line
    [ ! -s "$TMP/out" ] || fail "output in spite of $bad"
done
expect 2 "$SIGNUM" run -m $model --tmep 1 hi
grep -q 'did you mean --temp' "$TMP/err" || fail "no suggestion for --tmep"
expect 2 "$SIGNUM" run -m $model -p a b
expect 2 "$SIGNUM" run -m $model --raw -sys x -p a
for form in --raw "-sys x" "--score --choice a,b"; do
    # shellcheck disable=SC2086 # words
    expect 2 "$SIGNUM" run -m $model $form ""
    err_has "the prompt is empty"
done
expect 2 "$SIGNUM" run -m $model # stdin is empty
[ "$(cat "$TMP/err")" = "signum: the prompt is empty: nothing came from standard input" ] || fail "empty stdin: $(cat "$TMP/err")"
expect 0 "$SIGNUM" run -m $model -n 1 " "

# --- models that are none
expect 1 "$SIGNUM" run -m "$TMP/none.gguf" hi
one_line
expect 3 "$SIGNUM" info README.md
one_line
expect 3 "$SIGNUM" run -m README.md hi
SIGNUM_ISA=mmx expect 2 "$SIGNUM" run -m $model hi
one_line

# --- run: the answer alone on stdout, one newline at the end, the same every time
expect 0 "$SIGNUM" run -m $model -n 12 -s 7 "Hello there"
quiet
cp "$TMP/out" "$TMP/answer"
[ "$(tail -c 1 "$TMP/answer" | od -An -c | tr -d ' ')" = '\n' ] || fail "no newline at the end"
expect 0 "$SIGNUM" run -m $model -n 12 -s 7 -p "Hello there" -t 3
cmp "$TMP/out" "$TMP/answer" || fail "-p and words differ"
printf 'Hello there\n' >"$TMP/prompt"
expect 0 "$SIGNUM" run -m $model -n 12 -s 7 -f "$TMP/prompt"
cmp "$TMP/out" "$TMP/answer" || fail "-f differs"
"$SIGNUM" run -m $model -n 12 -s 7 <"$TMP/prompt" >"$TMP/out" || fail "stdin"
cmp "$TMP/out" "$TMP/answer" || fail "stdin differs"
for isa in $("$SIGNUM" --version | sed -n 's/^levels: //p'); do
    SIGNUM_ISA=$isa expect 0 "$SIGNUM" run -m $model -n 12 -s 7 "Hello there"
    cmp "$TMP/out" "$TMP/answer" || fail "level $isa differs"
done
SIGNUM_MODEL=$model expect 0 "$SIGNUM" run -n 12 -s 7 "Hello there"
cmp "$TMP/out" "$TMP/answer" || fail "SIGNUM_MODEL differs"
expect 0 "$SIGNUM" run -m $model -n 12 -s 7 -o "$TMP/file" "Hello there"
cmp "$TMP/file" "$TMP/answer" || fail "-o differs"
expect 0 "$SIGNUM" run -m $model -n 12 -s 7 -o - "Hello there"
cmp "$TMP/out" "$TMP/answer" || fail "-o - differs"

# a loop that reads lines keeps its stdin
printf 'one\ntwo\nthree\n' | while read -r line; do "$SIGNUM" run -m $model -n 1 "$line" >/dev/null; echo "$line"; done >"$TMP/lines"
[ "$(wc -l <"$TMP/lines")" -eq 3 ] || fail "run swallowed the loop's stdin"
# -p and -f - join in this order
printf 'B' | "$SIGNUM" run -m $model -n 4 --temp 0 -p A -f - >"$TMP/joined" || fail "-p with -f -"
expect 0 "$SIGNUM" run -m $model -n 4 --temp 0 "A
B"
cmp "$TMP/out" "$TMP/joined" || fail "-p and -f - are not joined by a newline"

# --- run --json: the seed it names gives the text again
expect 0 "$SIGNUM" run -m $model -n 9 --json "Hello"
seed=$(sed -n 's/.*"seed":\([0-9]*\).*/\1/p' "$TMP/out")
text=$(sed -n 's/^{"text":\("[^"]*"\).*/\1/p' "$TMP/out")
[ -n "$seed" ] || fail "no seed in $(cat "$TMP/out")"
expect 0 "$SIGNUM" run -m $model -n 9 --json -s "$seed" "Hello"
[ "$(sed -n 's/^{"text":\("[^"]*"\).*/\1/p' "$TMP/out")" = "$text" ] || fail "the seed does not reproduce the text"
grep -q '"finish_reason":"length"' "$TMP/out" || fail "finish_reason"
grep -q '"completion_tokens":9' "$TMP/out" || fail "completion_tokens"
expect 0 "$SIGNUM" run -m $model -n 0 "Hello"
same "$TMP/out" ""

# --- context
expect 2 "$SIGNUM" run -m $model -c 5 "Hello there, this is too long for five positions"
grep -q 'more than the context of 5' "$TMP/err" || fail "does not say by how much: $(cat "$TMP/err")"
# --- --act int16: in the record, and the same text at every level
expect 0 "$SIGNUM" run -m $model -n 9 --act int16 --json "Hello"
grep -q '"act":"int16"' "$TMP/out" || fail "the record does not tell --act int16"
expect 0 "$SIGNUM" run -m $model -n 20 -s 7 --act int16 "Hello"
cp "$TMP/out" "$TMP/wide"
SIGNUM_ISA=scalar expect 0 "$SIGNUM" run -m $model -n 20 -s 7 --act int16 -t 1 "Hello"
cmp "$TMP/out" "$TMP/wide" || fail "--act int16 differs between levels"
expect 0 "$SIGNUM" run -m $model -c 30 --temp 0 --ignore-eos --no-loop-guard --json "Hi"
grep -q '"finish_reason":"length"' "$TMP/out" || fail "full context"

# --- tokenize and back, render, logits
expect 0 "$SIGNUM" tokenize -m $vocab "Hello world"
same "$TMP/out" "9707 1879"
expect 0 "$SIGNUM" tokenize -m $vocab --ids 9707,1879
same "$TMP/out" "Hello world"
expect 2 "$SIGNUM" tokenize -m $vocab --ids 9999999
expect 0 "$SIGNUM" tokenize -m $vocab "<|im_end|>"
same "$TMP/out" "27 91 318 6213 91 29"
expect 0 "$SIGNUM" tokenize -m $vocab --parse-special "<|im_end|>"
same "$TMP/out" "151645"
printf '{"text":"Hello","parse_special":false}\n\n{"text":"<|im_end|>","parse_special":true}\n' | "$SIGNUM" tokenize -m $vocab --jsonl >"$TMP/out" || fail "jsonl"
same "$TMP/out" '{"ids":[9707]}
{"ids":[151645]}'
printf '{"messages":[{"role":"user","content":"Hello!"}],"enable_thinking":false,"add_generation_prompt":true}\n' | "$SIGNUM" render -m $vocab --jsonl >"$TMP/out" || fail "render"
grep -q '"ids":\[151644,872,198,9707,0,151645,198,151644,77091,198,151667,271,151668,271\]' "$TMP/out" || fail "render: $(cat "$TMP/out")"
printf '{"messages":5}\n' >"$TMP/bad"
status=0
"$SIGNUM" render -m $vocab --jsonl <"$TMP/bad" 2>"$TMP/err" || status=$?
[ $status -eq 2 ] || fail "render of nonsense ends with $status"
one_line
"$SIGNUM" logits -m tests/golden/models/mini-q1.gguf --ids 295,5,7 >"$TMP/logits" || fail "logits"
[ "$(wc -c <"$TMP/logits")" -eq $((3 * 322 * 4)) ] || fail "logits have the wrong size"
expect 0 "$SIGNUM" logits -m tests/golden/models/mini-q1.gguf --ids 295,5,7 --matmul popcount -o "$TMP/logits2"
cmp "$TMP/logits" "$TMP/logits2" || fail "matmul families differ"
"$SIGNUM" logits -m tests/golden/models/mini-q1.gguf --ids 295,5,7 -o - >"$TMP/logits2" || fail "logits -o -"
cmp "$TMP/logits" "$TMP/logits2" || fail "-o - is not stdout"

# --- info, check, perplexity
expect 0 "$SIGNUM" info $model
grep -q 'Q1_0' "$TMP/out" || fail "info"
expect 0 "$SIGNUM" info $model --json
grep -q '"architecture":"qwen3"' "$TMP/out" || fail "info --json"
expect 0 "$SIGNUM" check $model
expect 0 "$SIGNUM" perplexity -m $model -f README.md -c 128
grep -q '^perplexity [0-9.]* +/- [0-9.]* ' "$TMP/out" || fail "perplexity"
cp "$TMP/out" "$TMP/ppl"
expect 0 "$SIGNUM" perplexity -m $model -f README.md -c 128 -t 3 --matmul sign
cmp "$TMP/out" "$TMP/ppl" || fail "perplexity depends on threads or family"
expect 2 "$SIGNUM" perplexity -m $model -f LICENSE -c 100000

# --- full disk, closed pipe, interrupt
if [ -w /dev/full ]; then
    status=0
    "$SIGNUM" run -m $model -n 3 hi >/dev/full 2>"$TMP/err" || status=$?
    [ $status -eq 1 ] || fail "full disk ends with $status"
    one_line
fi
("$SIGNUM" run -m $model -n 2000 --ignore-eos --no-loop-guard hi; echo $? >"$TMP/status") 2>"$TMP/err" | head -c 1 >/dev/null
quiet
[ "$(cat "$TMP/status")" -eq 141 ] || fail "closed pipe ends with $(cat "$TMP/status")"
"$SIGNUM" run -m $model -n 1000000 -c 1000000 --ignore-eos --no-loop-guard hi >"$TMP/out" 2>"$TMP/err" &
pid=$!
tries=0
while [ ! -s "$TMP/out" ] && [ $tries -lt 200 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
kill -TERM $pid
status=0
wait $pid || status=$?
[ $status -eq 130 ] || fail "interrupt ends with $status"
[ "$(tail -c 1 "$TMP/out" | od -An -c | tr -d ' ')" = '\n' ] || fail "no newline after an interrupt"

# --- a level without the wanted family says for which activations
SIGNUM_ISA=scalar expect 2 "$SIGNUM" run -m $model --act int16 --matmul tables -n 1 Hello
err_has "for --act int16"
expect 2 "$SIGNUM" run -m $model --act f32 --matmul tables -n 1 Hello
err_has "--act f32 has none"

# --- bench: llama-bench's fields; every kernel agrees with the specification
expect 0 "$SIGNUM" bench -m $model -p 16 -n 4 -d 0,32 -t 1,2 -r 2 -o json
for field in n_prompt n_gen n_depth n_threads avg_ts stddev_ts samples_ns bandwidth_share int8_peak multiply_share attention_share; do
    [ "$(grep -c "\"$field\":" "$TMP/out")" -eq 8 ] || fail "bench: $field is not in 8 rows"
done
expect 0 "$SIGNUM" bench -m $model -p 0 -n 2 -r 1
grep -q ' tg2 ' "$TMP/out" || fail "bench: no table"
grep -q ' pp' "$TMP/out" && fail "bench: -p 0 does not skip"
SIGNUM_MODEL=$model expect 0 "$SIGNUM" bench -p 0 -n 2 -r 1 -o json
out_has "\"model_filename\":\"$model\""
expect 2 "$SIGNUM" bench -m $model -p 5-1
expect 0 "$SIGNUM" bench -m $model -p 16 -n 2 -d 1009 -t 1,2 -r 1
[ "$(grep -c 'a context of 1025 is more than the 1024 positions' "$TMP/err")" -eq 1 ] || fail "bench: $(cat "$TMP/err")"
expect 0 "$SIGNUM" bench -m $model -p 16 -n 2 -d 1008 -t 1 -r 1
[ ! -s "$TMP/err" ] || fail "bench: $(cat "$TMP/err")"
printf 'a b c d e f g h\n=====\na b c d e f g h a b c d e f g h\n' >"$TMP/text"
expect 0 "$SIGNUM" bench -m $model --spec "$TMP/text" -r 2
out_has '| ratio |'
tail -1 "$TMP/out" | awk -F'|' '{ exit !($4 > 4 && $5 > 8 && $9 + 0 <= $5 + 0 && $11 + 0 <= $10 + 0) }' ||
    fail "bench --spec: $(tail -1 "$TMP/out")"
printf 'x\n=====\n{"name": "a b", "age": 5}\n' >"$TMP/text"
expect 0 "$SIGNUM" bench -m $model --spec "$TMP/text" -r 2 --schema "name, age int"
expect 2 "$SIGNUM" bench -m $model --spec "$TMP/text" --schema "name, age int, city"
err_has "does not have the form"
expect 2 "$SIGNUM" bench -m $model -p 4 -n 0 -r 1 --schema "name"
err_has "only --spec"
echo 'no answer' >"$TMP/text"
expect 2 "$SIGNUM" bench -m $model --spec "$TMP/text"
err_has '====='
expect 2 "$SIGNUM" bench -m $model --spec "$TMP/text" -o json
expect 2 "$SIGNUM" bench -m $model --spec "$TMP/text" -t 1
err_has "--spec takes no"
expect 2 "$SIGNUM" bench -m $model --tune -n 4
expect 2 "$SIGNUM" bench --kernels --tune
expect 1 "$SIGNUM" bench -m $model --spec "$TMP/missing"

# --- chat: what stands in for flags that were not given
printf '/show model\n/show ctx-size\n/show threads\n' |
    SIGNUM_MODEL=$model SIGNUM_THREADS=3 SIGNUM_CTX=96 "$SIGNUM" chat -q --no-save >"$TMP/shown" 2>&1 || fail "chat fails"
for said in "model  *$model" "ctx-size  *96" "threads  *3"; do
    grep -q "^$said\$" "$TMP/shown" || fail "/show says '$(cat "$TMP/shown")'"
done
