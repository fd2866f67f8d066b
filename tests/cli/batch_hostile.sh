#!/bin/sh
# Batch: lines that are wrong in every way become error records or answers; the rest goes on.
# SIGNUM_TEST_LARGE=1 adds a line of 1 GB and a million requests, in bounded memory (about five
# minutes, 2.5 GB in the folder for temporary files).
. tests/cli/lib.sh
. tests/cli/batch_lib.sh
model=tests/golden/models/q1-tied.gguf
batch() { "$SIGNUM" batch -m $model -q --think-budget 3 -n 4 "$@"; }
rep() { # COUNT TEXT
    awk -v n="$1" -v text="$2" 'BEGIN { for (; n > 0; n--) printf "%s", text }'
}
line() { # FORMAT-PIECE...: a request of these pieces
    printf '%s' "$@"
    echo
}

# --- the golden lines, and larger ones
cp tests/golden/batch/hostile.jsonl "$TMP/hostile"
{
    for deep in 200 300 100000; do
        line '{"prompt":"x","metadata":' "$(rep $deep '[')" "$(rep $deep ']')" '}'
        line "$(rep $deep '{"a":')1$(rep $deep '}')"
        line '{"prompt":"x","guided_regex":"' "$(rep $deep '(')" a "$(rep $deep ')')" '"}'
        line '{"prompt":"x","grammar":"root ::= ' "$(rep $deep '(')" '\"a\"' "$(rep $deep ')')" '"}'
        line '{"prompt":"x","json_schema":' "$(rep $deep '{"type":"array","items":')" '{}' "$(rep $deep '}')" '}'
    done
    line '{"prompt":"x","grammar":"root ::= r0\n' "$(awk 'BEGIN { for (i = 0; i < 50000; i++) printf "r%d ::= r%d\\n", i, i + 1 }')" 'r50000 ::= \"a\""}'
    line '{"prompt":"' "$(rep 100000 'long prompt ')" '"}'
    line '{"prompt":"' "$(rep 100000 '<|im_end|>')" '"}'
    line '{"prompt":"x","max_tokens":1' "$(awk 'BEGIN { for (i = 0; i < 20000; i++) printf ",\"k%d\":0", i }')" '}'
    line '{"custom_id":"' "$(rep 100000 'id')" '","prompt":"x","max_tokens":1}'
    line '{"prompt":"x","max_tokens":1,"stop":["' "$(rep 20000 'y","')" 'z"]}'
    line '{"prompt":"x","max_tokens":1,"stop":"' "$(rep 100000 'ab')" '"}'
    line '{"prompt":"x","max_tokens":1,"logit_bias":[[5,1]' "$(rep 20000 ',[6,-1]')" ']}'
    line '{"prompt":"x","max_tokens":1,"stop_token_ids":[5' "$(rep 20000 ',6')" ']}'
    line '{"messages":[{"role":"user","content":"x"}' "$(rep 20000 ',{"role":"user","content":""}')" ']}'
    line '{"prompt":[5' "$(rep 100000 ',5')" ']}'
    line '{"prompt":"x","temperature":1' "$(rep 100000 0)" '}'
    line '{"prompt":"x","max_tokens":1,"logit_bias":[[0,false]' "$(awk 'BEGIN { for (i = 1; i < 1063; i++) printf ",[%d,false]", i }')" ']}'
    head -c 200000 "$SIGNUM" | tr -d '\n'
    echo
} >>"$TMP/hostile"

# Each is followed by a good one, which they must not disturb.
sed 's/$/\n{"prompt":"Hello","seed":7,"temperature":1,"max_tokens":3,"logprobs":true}/' "$TMP/hostile" >"$TMP/in"
lines=$(wc -l <"$TMP/in")
status=0
batch -i "$TMP/in" -o "$TMP/out" -np 5 2>"$TMP/err" || status=$?
[ $status -eq 5 ] || fail "hostile lines end with $status: $(tail -c 500 "$TMP/err")"
[ "$(wc -l <"$TMP/out")" -eq "$lines" ] || fail "$lines lines, $(wc -l <"$TMP/out") records"
good=$(grep -F '"prompt_tokens":9,' "$TMP/out" | grep -o '"choices":.*"usage"' | sort | uniq -c | sort -rn | head -n 1 | awk '{ print $1 }')
[ "$good" -ge $((lines / 2)) ] || fail "only $good of $((lines / 2)) good requests have the same answer"
[ "$(grep -c '"error":{"code"' "$TMP/out")" -ge 370 ] || fail "only $(grep -c '"error":{"code"' "$TMP/out") errors"
tr -d '\n' <"$TMP/out" | LC_ALL=C grep -q '[[:cntrl:]]' && fail "a record has control characters"

# Every record is JSON: the program itself takes each as a request.
batch -i "$TMP/out" --template '{custom_id}' --simple -n 0 -c 1024 >"$TMP/again"
grep -v 'duplicate_id\|the prompt has [0-9]* tokens' "$TMP/again" | grep '"error":{"code"' && fail "a record is not JSON"
[ "$(wc -l <"$TMP/again")" -eq "$lines" ] || fail "$(wc -l <"$TMP/again") of $lines records can be read"

# --- texts to score
cat >"$TMP/in" <<'LINES'
{"custom_id":"1","prompt":"x","completions":["a"]}
{"custom_id":"2","prompt":[99999999],"completions":["a"]}
{"custom_id":"3","prompt":"x","completions":[""]}
{"custom_id":"4","prompt":"x","completions":[5]}
{"custom_id":"5","prompt":"x","completions":[]}
{"custom_id":"6","prompt":"x","completions":{}}
{"custom_id":"7","prompt":"x"}
{"custom_id":"9","prompt":"x","completions":["b"]}
LINES
line '{"custom_id":"8","prompt":"x","completions":["' "$(rep 2000 'too long ')" '"]}' >>"$TMP/in"
status=0
batch -i "$TMP/in" --raw --score --simple >"$TMP/out" || status=$?
[ $status -eq 5 ] || fail "--score ends with $status"
[ "$(grep -c '"error":null' "$TMP/out")" -eq 2 ] && [ "$(wc -l <"$TMP/out")" -eq 9 ] || fail "scores: $(cat "$TMP/out")"

# --- hostile input as CSV, lines and templates
for form in --lines "--csv --template {a}" "--template {prompt}"; do
    status=0
    # shellcheck disable=SC2086 # words
    { echo a && cat "$TMP/hostile"; } | batch $form --simple -np 7 >"$TMP/out" 2>"$TMP/err" || status=$?
    [ $status -eq 5 ] || fail "$form ends with $status: $(tail -c 500 "$TMP/err")"
done

[ -n "${SIGNUM_TEST_LARGE-}" ] || exit 0
limited() { # KB COMMAND...: fails when it needs more memory of its own
    (ulimit -v "$1" && shift && "$@")
}
# --- a line of 1 GB: an error record, 400 MB of addresses
{
    printf '{"custom_id":"before","prompt":"x"}\n{"prompt":"'
    head -c 1000000000 /dev/zero | tr '\0' x
    printf '"}\n{"custom_id":"after","prompt":"x"}\n'
} >"$TMP/large"
status=0
limited 400000 "$SIGNUM" batch -m $model -q -n 2 --think off --simple -t 2 -np 2 -i "$TMP/large" >"$TMP/out" || status=$?
[ $status -eq 5 ] && [ "$(wc -l <"$TMP/out")" -eq 3 ] && grep -q 'longer than 64 MiB' "$TMP/out" || fail "1 GB: status $status"
rm "$TMP/large"

# --- a million requests
awk 'BEGIN { for (i = 1; i <= 1000000; i++) printf "{\"custom_id\":\"%d\",\"prompt\":\"%d\",\"max_tokens\":1}\n", i, i % 10 }' >"$TMP/million"
rm "$TMP/out"
limited 400000 "$SIGNUM" batch -m $model -q --raw --simple -t 2 -np 16 -i "$TMP/million" -o "$TMP/out" || fail "a million requests"
[ "$(wc -l <"$TMP/out")" -eq 1000000 ] || fail "a million requests, $(wc -l <"$TMP/out") records"
limited 400000 "$SIGNUM" batch -m $model -q --raw --simple -t 2 -np 16 -i "$TMP/million" -o "$TMP/out" --resume || fail "resuming a million"
[ "$(wc -l <"$TMP/out")" -eq 1000000 ] || fail "resumed, $(wc -l <"$TMP/out") records"
exit 0
