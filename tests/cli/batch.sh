#!/bin/sh
# Batch: the same answers however they are run, nothing lost whatever happens.
. tests/cli/lib.sh
model=tests/golden/models/q1-tied.gguf
unset SIGNUM_MODEL SIGNUM_THREADS SIGNUM_CTX SIGNUM_ISA
batch() { "$SIGNUM" batch -m $model -q "$@"; }
sorted() { sort "$1" >"$1.sorted"; }
# Records without what may differ from run to run: times, order.
plain() {
    sed 's/"created":[0-9]*/"created":0/; s/"timings":{[^}]*}/"timings":{}/; s/"cached_tokens":[0-9]*/"cached_tokens":0/' "$1" | sort
}
same_records() { # A B
    plain "$1" >"$TMP/a.plain"
    plain "$2" >"$TMP/b.plain"
    cmp "$TMP/a.plain" "$TMP/b.plain" || fail "$3"
}

# --- a mix of requests: shared prefixes, several choices, seeds, stops, raw, wrong ones
i=0
while [ $i -lt 24 ]; do
    i=$((i + 1))
    case $((i % 6)) in
    0) echo "{\"custom_id\":\"r$i\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":[{\"role\":\"system\",\"content\":\"You are a patient assistant who answers every question in one short sentence.\"},{\"role\":\"user\",\"content\":\"question $i\"}],\"max_tokens\":$((i % 9 + 3)),\"n\":3}}" ;;
    1) echo "{\"custom_id\":\"r$i\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"Once upon a time $i\",\"max_tokens\":$((i % 7 + 2)),\"seed\":$i,\"logprobs\":2}}" ;;
    2) echo "{\"custom_id\":\"r$i\",\"prompt\":\"Hello number $i\",\"max_tokens\":12,\"temperature\":1.1}" ;;
    3) echo "{\"custom_id\":\"r$i\",\"messages\":[{\"role\":\"user\",\"content\":\"again and again $i\"}],\"max_completion_tokens\":9,\"stop\":[\"e\",\"zz\"]}" ;;
    4) echo "{\"custom_id\":\"r$i\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":[{\"role\":\"system\",\"content\":\"You are a patient assistant who answers every question in one short sentence.\"},{\"role\":\"user\",\"content\":\"other $i\"}],\"max_tokens\":5,\"temperature\":0,\"logprobs\":true,\"top_logprobs\":3}}" ;;
    5) echo "{\"custom_id\":\"r$i\",\"prompt\":\"logit bias\",\"max_tokens\":4,\"logit_bias\":{\"65\":100}}" ;;
    esac
done >"$TMP/in"
cp "$TMP/in" "$TMP/in.good"
cat >>"$TMP/in" <<'LINES'
not json
{"custom_id":"bad-type","prompt":5}
{"custom_id":"bad-temp","prompt":"x","temperature":"warm"}
{"custom_id":"bad-range","prompt":"x","top_p":7}
{"custom_id":"bad-url","url":"/v1/embeddings","body":{"input":"x"}}
{"custom_id":"r3","prompt":"used before"}
{"custom_id":"no-prompt"}
[1,2,3]
{"custom_id":"bad-n","prompt":"x","n":-5}
{"custom_id":"bad-n2","prompt":"x","n":1e30}
{"custom_id":"bad-bias","prompt":"x","logit_bias":{"99999999":1}}
LINES
printf '{"custom_id":"bad-utf8","prompt":"\377\376"}\n' >>"$TMP/in"

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

# --- nothing lost: killed at random moments and resumed, with a torn last line now and then
round=0
while [ $round -lt 12 ]; do
    round=$((round + 1))
    rm -f "$TMP/killed"
    tries=0
    while :; do
        tries=$((tries + 1))
        "$SIGNUM" batch -m $model -q -i "$TMP/in" -o "$TMP/killed" -np 4 -t 1 --resume 2>"$TMP/err" &
        pid=$!
        sleep "0.0$(((round * 7 + tries * 3) % 10))"
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null
        [ $((tries % 2)) -eq 1 ] && [ -s "$TMP/killed" ] && printf '{"id":"torn' >>"$TMP/killed"
        [ $tries -ge 3 ] && break
    done
    status=0
    batch -i "$TMP/in" -o "$TMP/killed" -np 4 --resume || status=$?
    [ $status -eq 5 ] || [ $status -eq 0 ] || fail "resume ends with $status"
    same_records "$TMP/one" "$TMP/killed" "round $round: killed and resumed gives other records"
done
# failed ones again; other settings and other files are refused
batch -i "$TMP/in" -o "$TMP/killed" --retry-failed
same_records "$TMP/one" "$TMP/killed" "--retry-failed changes records"
expect 2 "$SIGNUM" batch -m $model -i "$TMP/in" -o "$TMP/killed" --resume --temp 0.9
expect 2 "$SIGNUM" batch -m $model -i "$TMP/in" -o "$TMP/killed" --resume --act int16
expect 2 "$SIGNUM" batch -m tests/golden/models/q1-yarn.gguf -i "$TMP/in" -o "$TMP/killed" --resume
expect 2 "$SIGNUM" batch -m $model -i "$TMP/in" -o "$TMP/killed"
expect 2 "$SIGNUM" batch -m $model -i "$TMP/in" -o "$TMP/in" --resume
expect 1 "$SIGNUM" batch -m $model -i "$TMP/nowhere" -o "$TMP/x"
expect 2 "$SIGNUM" batch -m $model --shard 3/2 -i "$TMP/in"

# --- shards: each request in exactly one
: >"$TMP/shards"
for k in 1 2 3; do batch -i "$TMP/in.good" --shard $k/3 >>"$TMP/shards" || fail "shard $k"; done
batch -i "$TMP/in.good" >"$TMP/whole" || fail "whole"
same_records "$TMP/whole" "$TMP/shards" "shards do not add up"

# --- lines, templates, CSV
printf 'one\n\ntwo\n' | batch --lines --simple -n 2 >"$TMP/lines" || fail "--lines"
[ "$(wc -l <"$TMP/lines")" -eq 2 ] || fail "--lines"
printf 'id,text,note\n7,"a, ""quoted""\ntext",x\n8,plain,y\n' >"$TMP/rows.csv"
batch -i "$TMP/rows.csv" --template 'Say {text}{{!}}' --simple -n 2 >"$TMP/csv" || fail "CSV"
grep -q '"id":"7".*"note": "x"' "$TMP/csv" || fail "CSV: $(cat "$TMP/csv")"
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
kill -TERM $pid
status=0
wait $pid || status=$?
[ $status -eq 130 ] || fail "an interrupted batch ends with $status"
[ "$(tail -c 1 "$TMP/interrupted" | od -An -c | tr -d ' ')" = '\n' ] || fail "an interrupted batch leaves a torn line"
[ "$(wc -l <"$TMP/interrupted")" -lt 400 ] || fail "the interrupt came too late to show anything"
exit 0
