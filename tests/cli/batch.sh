#!/bin/sh
# Batch: the same answers however they are run, nothing lost whatever happens.
. tests/cli/lib.sh
. tests/cli/batch_lib.sh
model=tests/golden/models/q1-tied.gguf
batch() { "$SIGNUM" batch -m $model -q "$@"; }

# --- a mix of requests in any company
write_mix
status=0
batch -i "$TMP/in" -o "$TMP/one" -np 1 -t 1 || status=$?
[ $status -eq 5 ] || fail "a batch with failures ends with $status"
[ "$(wc -l <"$TMP/one")" -eq 36 ] || fail "36 requests, $(wc -l <"$TMP/one") records"
[ "$(grep -c '"error":{"code"' "$TMP/one")" -ge 12 ] || fail "errors are missing"
for np in 2 5 16; do
    status=0
    batch -i "$TMP/in" -o "$TMP/np$np" -np $np -t $((np % 3 + 1)) || status=$?
    [ $status -eq 5 ] || fail "-np $np ends with $status"
    same_records "$TMP/one" "$TMP/np$np" "-np $np gives other records"
done
# Another order, other neighbours. A request without an id of its own is named by its line.
sort "$TMP/in.good" >"$TMP/in.sorted"
batch -i "$TMP/in.sorted" -o "$TMP/order" -np 7 || fail "sorted input"
sed 's/"request_id":"[^"]*"//; s/"id":"[a-z]*-[0-9a-f]*-[0-9]*"//g' "$TMP/order" >"$TMP/order.x"
grep -v '"error":{"code"' "$TMP/one" | sed 's/"request_id":"[^"]*"//; s/"id":"[a-z]*-[0-9a-f]*-[0-9]*"//g' >"$TMP/one.x"
same_records "$TMP/one.x" "$TMP/order.x" "the order of the input changes answers"
for isa in $("$SIGNUM" --version | sed -n 's/^levels: //p'); do
    SIGNUM_ISA=$isa batch -i "$TMP/in.good" -o "$TMP/isa-$isa" -np 6 || fail "level $isa"
    same_records "$TMP/isa-scalar" "$TMP/isa-$isa" "level $isa gives other records"
done

# --- equal to run with the seed of the record
echo '{"custom_id":"a","prompt":"Tell me something","max_tokens":15}' | batch --simple >"$TMP/simple" || fail "simple"
seed=$(sed -n 's/.*"seed":\([0-9]*\).*/\1/p' "$TMP/simple")
"$SIGNUM" run -m $model --json -s "$seed" -n 15 "Tell me something" >"$TMP/run" || fail "run"
text() { sed -n 's/^.*"text":\("\([^"\\]\|\\.\)*"\).*/\1/p' "$1"; }
[ -n "$(text "$TMP/run")" ] && [ "$(text "$TMP/run")" = "$(text "$TMP/simple")" ] || fail "run gives $(text "$TMP/run"), batch $(text "$TMP/simple")"

# ... and when the context is full, with text that a stop string might begin
for stop in '' 'e zz'; do
    "$SIGNUM" run -m $model --json -s 3 -c 40 --ignore-eos --no-loop-guard --stop "$stop" "Tell me" >"$TMP/run" || fail "run"
    echo '{"prompt":"Tell me","seed":3}' | batch --simple -c 40 --ignore-eos --no-loop-guard --stop "$stop" >"$TMP/simple" || fail "simple"
    [ -n "$(text "$TMP/run")" ] && [ "$(text "$TMP/run")" = "$(text "$TMP/simple")" ] || fail "run gives $(text "$TMP/run"), batch $(text "$TMP/simple")"
    for file in run simple; do grep -q '"finish_reason":"length"' "$TMP/$file" || fail "a full context: $(cat "$TMP/$file")"; done
done

# --- a developer is the system; roles that a template would pass over are errors, and so is nothing
for role in system developer; do
    echo "{\"custom_id\":\"a\",\"messages\":[{\"role\":\"$role\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi\"}]}" |
        batch -n 5 >"$TMP/$role" || fail "$role"
done
same_records "$TMP/system" "$TMP/developer" "a developer is not the system"
for messages in '[{"role":"user","content":"x"}],"prompt":"y"' '[{"role":"robot","content":"x"}]' '[{"role":"","content":"x"}]' '[{"role":"user ","content":"x"}]' '[]'; do
    status=0
    echo "{\"messages\":$messages}" | batch -n 5 >"$TMP/out" || status=$?
    [ $status -eq 5 ] && grep -q 'the role .* is none of\|is empty\|exclude each other' "$TMP/out" || fail "$messages ends with $status: $(cat "$TMP/out")"
done

# --- without -s always the same seed, -1 draws one, which can not be resumed
for n in 1 2; do
    echo '{"prompt":"x"}' | batch --simple -n 1 >"$TMP/same$n" || fail "no seed"
    echo '{"prompt":"x"}' | batch --simple -n 1 -s -1 >"$TMP/drawn$n" || fail "-s -1"
done
cmp "$TMP/same1" "$TMP/same2" || fail "a seed is drawn without being asked for"
cmp -s "$TMP/drawn1" "$TMP/drawn2" && fail "-s -1 draws the same seed twice"
expect 2 "$SIGNUM" batch -m $model -s -1 -i "$TMP/in" -o "$TMP/drawn" --resume
err_has "draws another seed"

# --- a common prefix is computed once
i=0
while [ $i -lt 12 ]; do
    i=$((i + 1))
    echo "{\"messages\":[{\"role\":\"system\",\"content\":\"$(seq -s ' ' 1 150)\"},{\"role\":\"user\",\"content\":\"$i\"}],\"max_tokens\":2}"
done >"$TMP/shared"
batch -i "$TMP/shared" -o "$TMP/shared.out" -np 12 --summary "$TMP/summary" || fail "shared prefix"
read_sum() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$TMP/summary"; }
one=$(sed -n 's/.*"prompt_tokens":\([0-9]*\).*/\1/p' "$TMP/shared.out" | head -n 1)
[ "$(read_sum prompt_tokens)" -lt $((one + 12 * 20)) ] || fail "prompts of $one tokens with a common prefix took $(read_sum prompt_tokens)"
[ "$(read_sum "done")" -eq 12 ] || fail "summary: $(cat "$TMP/summary")"

# --- guesses change nothing; text that repeats itself is guessed
i=0
while [ $i -lt 6 ]; do
    i=$((i + 1))
    echo "{\"custom_id\":\"g$i\",\"prompt\":\"la la la la la la la la $i\",\"max_tokens\":60,\"temperature\":0,\"ignore_eos\":true,\"logprobs\":true}"
done >"$TMP/repeats"
batch -i "$TMP/repeats" -o "$TMP/plain" --raw --no-loop-guard || fail "repeats"
for np in 1 4; do
    batch -i "$TMP/repeats" -o "$TMP/guessed$np" --raw --no-loop-guard -np $np --spec ngram --summary "$TMP/summary" || fail "--spec"
    same_records "$TMP/plain" "$TMP/guessed$np" "--spec changes records at -np $np"
    [ $np -gt 1 ] || [ "$(read_sum draft_n_accepted)" -gt 0 ] || fail "no guess was right: $(cat "$TMP/summary")"
done
expect 2 "$SIGNUM" batch -m $model --shard 3/2 -i "$TMP/in"

# --- a summary that can not be written, or would be written over something, is no late surprise
for summary in "$TMP/none/x" "$TMP"; do
    status=0
    batch -i "$TMP/repeats" --summary "$summary" >"$TMP/out" 2>"$TMP/err" || status=$?
    [ $status -eq 1 ] && [ ! -s "$TMP/out" ] || fail "--summary $summary ends with $status"
done
cp "$TMP/repeats" "$TMP/before"
expect 2 "$SIGNUM" batch -m $model -i "$TMP/repeats" --summary "$TMP/repeats"
expect 2 "$SIGNUM" batch -m $model -i "$TMP/repeats" -o "$TMP/records" --summary "$TMP/records"
cmp "$TMP/before" "$TMP/repeats" && [ ! -s "$TMP/records" ] || fail "a summary overwrites files"

# --- who waits for an answer before asking again gets it
mkfifo "$TMP/ask" "$TMP/told"
exec 3<>"$TMP/ask" 4<>"$TMP/told"
"$SIGNUM" batch -m $model -q --simple -n 3 -np 8 <&3 >&4 2>"$TMP/err" &
pid=$!
for n in 1 2 3; do
    echo "{\"custom_id\":\"$n\",\"prompt\":\"Hello\"}" >&3
    answer=$(timeout 30 head -n 1 <&4)
    case $answer in *"\"id\":\"$n\""*) ;; *) fail "answer $n is $answer" ;; esac
done
printf '{"custom_id":"half' >&3 # ... and is interrupted in the middle of a question
sleep 0.2
kill -TERM $pid
status=0
wait $pid || status=$?
exec 3>&- 4<&-
[ $status -eq 130 ] || fail "interrupted while it waits for requests: $status $(cat "$TMP/err")"

# --- shards: each request in exactly one
: >"$TMP/shards"
for k in 1 2 3; do batch -i "$TMP/in.good" --shard $k/3 >>"$TMP/shards" || fail "shard $k"; done
batch -i "$TMP/in.good" >"$TMP/whole" || fail "whole"
same_records "$TMP/whole" "$TMP/shards" "shards do not add up"

# --- lines, templates, CSV
printf 'one\n\n \t\r\ntwo\n' | batch --lines --simple -n 2 >"$TMP/lines" || fail "--lines"
[ "$(wc -l <"$TMP/lines")" -eq 2 ] || fail "--lines"
printf 'id,text,note\n7,"a, ""quoted""\ntext",x\n8,plain,y\n' >"$TMP/rows.csv"
batch -i "$TMP/rows.csv" --template 'Say {text}{{!}}' --simple -n 2 >"$TMP/csv" || fail "CSV"
grep -q '"id":"7".*"note": "x"' "$TMP/csv" || fail "CSV: $(cat "$TMP/csv")"
printf 'a,b,,a\n1,2,,3\n' | batch --csv --template '{b}' 2>"$TMP/err" && fail "two columns of one name"
err_has 'names the column "a" twice'
printf 'a,b,,\n1,2,,\n' | batch --csv --template '{b}' --simple -n 2 >"$TMP/csv" || fail "columns without a name"
printf '{"t":"x","k":5}\n{"k":5}\n' | batch --template '{t} {k}' --simple -n 2 >"$TMP/template"
grep -q 'template.*field.*t.* is not there' "$TMP/template" || fail "template: $(cat "$TMP/template")"

# --- scores
echo '{"prompt":"Hello","completions":[" world"," there"]}' | batch --raw --score >"$TMP/score" || fail "--score"
[ "$(grep -o '"logprob":-[0-9.]*' "$TMP/score" | wc -l)" -eq 2 ] || fail "score: $(cat "$TMP/score")"

# --- unknown fields, full disk, interrupts
echo '{"prompt":"x","max_tokens":1,"frobnicate":1}' >"$TMP/unknown"
"$SIGNUM" batch -m $model -i "$TMP/unknown" >"$TMP/out" 2>"$TMP/err" || fail "unknown field"
grep -q frobnicate "$TMP/err" || fail "an unknown field is not reported"
status=0
batch --strict -i "$TMP/unknown" >/dev/null || status=$?
[ $status -eq 5 ] || fail "--strict ends with $status"
if [ -w /dev/full ]; then
    status=0
    batch -i "$TMP/in.good" >/dev/full 2>"$TMP/err" || status=$?
    [ $status -eq 1 ] || fail "full disk ends with $status"
fi
i=0
while [ $i -lt 400 ]; do
    i=$((i + 1))
    echo "{\"custom_id\":\"$i\",\"prompt\":\"go on\",\"max_tokens\":400,\"ignore_eos\":true}"
done >"$TMP/many"
"$SIGNUM" batch -m $model -q -i "$TMP/many" -o "$TMP/interrupted" -np 4 --no-loop-guard 2>"$TMP/err" &
pid=$!
tries=0
while [ ! -s "$TMP/interrupted" ] && [ $tries -lt 400 ]; do
    sleep 0.02
    tries=$((tries + 1))
done
expect 1 "$SIGNUM" batch -m $model -q -i "$TMP/many" -o "$TMP/interrupted" -np 4 --no-loop-guard --resume
err_has "another signum batch is writing"
kill -TERM $pid
status=0
wait $pid || status=$?
[ $status -eq 130 ] || fail "an interrupted batch ends with $status"
[ "$(tail -c 1 "$TMP/interrupted" | od -An -c | tr -d ' ')" = '\n' ] || fail "an interrupted batch leaves a torn line"
[ "$(wc -l <"$TMP/interrupted")" -lt 400 ] || fail "the interrupt came too late to show anything"
exit 0
