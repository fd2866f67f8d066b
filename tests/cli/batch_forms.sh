#!/bin/sh
# batch with forms: flags and request fields, scores of options, what is refused, resuming.
. tests/cli/lib.sh
model=tests/golden/tokenizer/qwen3.gguf
unset SIGNUM_MODEL SIGNUM_THREADS SIGNUM_CTX SIGNUM_ISA
# shellcheck disable=SC2317 # status_of calls it
batch() { "$SIGNUM" batch -m "$model" -q --think off "$@"; }
run() { "$SIGNUM" run -m "$model" --think off "$@"; }
text_of() { sed -n "s/.*\"id\":\"$1\",\"text\":\"\(\([^\"\\\\]\|\\\\.\)*\)\".*/\1/p" "$TMP/out"; }
status_of() { # STATUS COMMAND...: without expect, so that stdin can be a pipe
    wanted=$1
    shift
    got=0
    "$@" >"$TMP/out" 2>"$TMP/err" || got=$?
    [ $got -eq "$wanted" ] || fail "exit status $got instead of $wanted: $* ($(head -c 500 "$TMP/err"))"
}

# --- a request's own form goes before that of the flags
cat >"$TMP/in" <<'LINES'
{"custom_id":"flag","prompt":"hello"}
{"custom_id":"regex","prompt":"hello","guided_regex":"[x-z]{3}"}
{"custom_id":"choice","prompt":"hello","guided_choice":["p, q","r\"s"]}
{"custom_id":"gbnf","prompt":"hello","grammar":"root ::= [0-9]{0,9} end\nend ::= \"!\" | \"?\""}
{"custom_id":"n","prompt":"hello","n":3,"structured_outputs":{"regex":"[ab]{6}"}}
{"custom_id":"text","prompt":"hello","response_format":{"type":"text"}}
LINES
status_of 0 batch --simple --choice "yes,no" -i "$TMP/in" -np 4
text_of flag | grep -qx 'yes\|no' || fail "flag: $(text_of flag)"
text_of text | grep -qx 'yes\|no' || fail "a format that says nothing: $(text_of text)"
text_of regex | grep -qxE '[x-z]{3}' || fail "regex: $(text_of regex)"
text_of choice | grep -qx 'p, q\|r\\"s' || fail "choice: $(text_of choice)"
text_of gbnf | grep -qxE '[0-9]{0,9}[!?]' || fail "gbnf: $(text_of gbnf)"
grep '"id":"n"' "$TMP/out" | grep -qE '"texts":\["[ab]{6}","[ab]{6}","[ab]{6}"\]' || fail "n: $(cat "$TMP/out")"

# --- equal to run with the seed that the record states
seed=$(grep '"id":"regex"' "$TMP/out" | sed 's/.*"seed":\([0-9]*\).*/\1/')
[ "$(run -s "$seed" --regex '[x-z]{3}' hello)" = "$(text_of regex)" ] || fail "run differs from batch"

# --- wrong forms fail alone
cat >"$TMP/bad" <<'LINES'
{"custom_id":"a","prompt":"x","guided_regex":"("}
{"custom_id":"b","prompt":"x","json_schema":{"type":"strin"}}
{"custom_id":"c","prompt":"x","response_format":{"type":"xml"}}
{"custom_id":"d","prompt":"x","guided_regex":"a","guided_choice":["b"]}
{"custom_id":"e","prompt":"x","grammar":"root ::= root \"x\" | \"x\""}
{"custom_id":"f","prompt":"x","guided_regex":"((a{1,1000}){1,1000}){1,1000}b","max_tokens":3000,"logit_bias":{"64":100}}
{"custom_id":"good","prompt":"x","guided_choice":["fine"]}
LINES
status_of 5 batch --simple -i "$TMP/bad" -np 3
[ "$(grep -c '"error":{"code"' "$TMP/out")" -ge 5 ] || fail "errors: $(cat "$TMP/out")"
[ "$(wc -l <"$TMP/out")" -eq 7 ] || fail "records are missing: $(cat "$TMP/out")"
[ "$(text_of good)" = fine ] || fail "good: $(cat "$TMP/out")"

# --- scores of options: as run says, probabilities add up, more than one token, any company
printf '{"custom_id":"1","prompt":"hello"}\n{"custom_id":"2","prompt":"hello again"}\n{"custom_id":"3","messages":[{"role":"user","content":"hello"}]}\n' >"$TMP/ask"
for norm in sum tokens; do
    status_of 0 batch --simple --score --choice "spam,ham,no idea at all" --choice-norm $norm -i "$TMP/ask" -np 1
    sort "$TMP/out" >"$TMP/one"
    status_of 0 batch --simple --score --choice "spam,ham,no idea at all" --choice-norm $norm -i "$TMP/ask" -np 7 -t 2
    sort "$TMP/out" | cmp - "$TMP/one" || fail "scores depend on -np"
    run --json --score --choice "spam,ham,no idea at all" --choice-norm $norm hello >"$TMP/run" || fail "run --score"
    scores=$(sed 's/.*\("scores":\[[^]]*\]\).*/\1/' "$TMP/run")
    grep '"id":"1"' "$TMP/one" | grep -qF "$scores" || fail "run: $scores, batch: $(cat "$TMP/one")"
    grep '"id":"3"' "$TMP/one" | grep -qF "$scores" || fail "messages and prompt differ"
    grep -o '"probability":[0-9.e-]*' "$TMP/run" | sed 1d | cut -d : -f 2 |
        awk '{ sum += $1 } END { exit !(NR == 3 && sum > 0.9999999 && sum < 1.0000001) }' || fail "the probabilities do not add up: $(cat "$TMP/run")"
    best=$(sed 's/^{"text":"\([^"]*\)".*/\1/' "$TMP/run")
    [ "$(run --score --choice "spam,ham,no idea at all" --choice-norm $norm hello)" = "$best" ] || fail "run --score prints another option"
    grep '"id":"1"' "$TMP/one" | grep -qF "\"choice\":\"$best\"" || fail "batch chooses another option than run"
done
status_of 2 run --score hello
status_of 2 run --score --regex a hello
status_of 2 "$SIGNUM" run -m $model --score --choice a,b --think on hello
echo '{"prompt":"x","guided_regex":"a"}' >"$TMP/form"
status_of 5 batch --score --choice a,b -i "$TMP/form"
echo '{"prompt":"x","chat_template_kwargs":{"enable_thinking":true}}' >"$TMP/form"
status_of 5 batch --score --choice a,b -i "$TMP/form"

# --- the form belongs to the settings: no resuming with another one, files by their content
echo '{"const":1}' >"$TMP/schema"
status_of 0 batch -jf "$TMP/schema" -i "$TMP/ask" -o "$TMP/records"
status_of 0 batch -jf "$TMP/schema" -i "$TMP/ask" -o "$TMP/records" --resume
status_of 2 batch -i "$TMP/ask" -o "$TMP/records" --resume
status_of 2 batch -i "$TMP/ask" -o "$TMP/records" --resume -j '{"const":1}x'
status_of 2 batch -i "$TMP/ask" -o "$TMP/records" --resume --choice 1
echo '{"const":2}' >"$TMP/schema"
status_of 2 batch -jf "$TMP/schema" -i "$TMP/ask" -o "$TMP/records" --resume
[ "$(wc -l <"$TMP/records")" -eq 3 ] || fail "refused runs left $(wc -l <"$TMP/records") records"
status_of 2 batch -j '{"type":"strin"}' -i "$TMP/ask"

# --- a thousand requests with schemas of their own: their grammars do not pile up
i=0
while [ $i -lt 1000 ]; do
    i=$((i + 1))
    echo "{\"prompt\":\"x\",\"json_schema\":{\"const\":$i},\"max_tokens\":9}"
done >"$TMP/many"
status_of 0 batch --simple -i "$TMP/many" -np 16
[ "$(wc -l <"$TMP/out")" -eq 1000 ] || fail "many: $(wc -l <"$TMP/out") records"
sed 's/.*"id":"line-\([0-9]*\)","text":"\([0-9]*\)".*/\1 \2/' "$TMP/out" | awk '$1 != $2 { exit 1 }' || fail "answers are mixed up"
exit 0
