#!/bin/sh
# Batch: a record says every setting that its answer follows from, the summary every unknown field.
. tests/cli/lib.sh
. tests/cli/batch_lib.sh
model=tests/golden/models/q1-tied.gguf
batch() { "$SIGNUM" batch -m $model -q -n 2 "$@"; }
settings() { sed -n 's/.*\("settings":{.*}\)}},"error".*/\1/p' "$TMP/out"; }
states() { # TEXT: the only record's settings do
    settings | grep -qF -- "$1" || fail "the record lacks $1: $(settings)"
}

# --- what a request sets is in its record, by the same name
for field in '"temperature":0.25' '"dynatemp_range":0.5' '"top_k":7' '"top_p":0.5' '"min_p":0.125' '"typical_p":0.75' \
    '"top_n_sigma":2' '"xtc_probability":0.5' '"min_keep":3' '"repeat_penalty":1.5' '"presence_penalty":-0.5' \
    '"frequency_penalty":0.3' '"repeat_last_n":9' '"dry_multiplier":0.8' '"mirostat":2' '"n_predict":1' '"min_tokens":1' \
    '"stop":["a","b\"c"]' '"stop_token_ids":[5,6]' '"ignore_eos":true' '"logit_bias":[[5,-1.5],[6,false]]'; do
    echo "{\"prompt\":\"x\",$field}" | batch >"$TMP/out" || fail "$field: $(cat "$TMP/out")"
    states ",$field"
    # ... and what it does not set is as for all
    echo '{"prompt":"x"}' | batch >"$TMP/out" || fail "no field"
    settings | grep -qF -- ",$field" && fail "a request without $field has it: $(settings)"
done
# A setting that needs another one comes with it.
for pair in '"dynatemp_range":0.5,"dynatemp_exponent":2' '"xtc_probability":0.5,"xtc_threshold":0.25' '"dry_multiplier":0.8,"dry_base":2' \
    '"mirostat":1,"mirostat_tau":3,"mirostat_eta":0.5'; do
    echo "{\"prompt\":\"x\",$pair}" | batch >"$TMP/out" || fail "$pair: $(cat "$TMP/out")"
    states ",$pair"
done
echo '{"prompt":"x","dry_multiplier":1,"dry_allowed_length":4,"dry_penalty_last_n":70}' | batch >"$TMP/out" || fail "dry"
states '"dry_allowed_length":4,"dry_penalty_last_n":70'
# Other names of the same thing.
echo '{"prompt":"x","repetition_penalty":1.25,"max_completion_tokens":1,"thinking_budget_tokens":3,"stop":"q","logit_bias":{"7":2}}' |
    batch >"$TMP/out" || fail "names"
for said in '"repeat_penalty":1.25' '"n_predict":1' '"think_budget":3' '"stop":["q"]' '"logit_bias":[[7,2]]'; do states "$said"; done
for seed in '' ',"seed":-1'; do
    echo "{\"custom_id\":\"a\",\"prompt\":\"x\",\"max_tokens\":-1$seed}" | batch -c 40 >"$TMP/out" || fail "minus ones: $(cat "$TMP/out")"
    states '"n_predict":-1,'
    settings | grep -o '"seeds":[^,]*' >>"$TMP/seeds"
done
[ "$(sort -u "$TMP/seeds" | wc -l)" -eq 1 ] || fail "a seed of -1 is one: $(cat "$TMP/seeds")"
# Thinking, prompts without a template, forms: two of the same form have the same name.
echo '{"prompt":"x","chat_template_kwargs":{"enable_thinking":false}}' | batch >"$TMP/out" || fail "think"
states ',"think":"off"'
echo '{"url":"/v1/completions","body":{"prompt":"x"}}' | batch >"$TMP/out" || fail "raw"
states ',"raw":true'
for regex in 'a+' 'a+' 'b+'; do echo "{\"prompt\":\"x\",\"guided_regex\":\"$regex\"}"; done | batch >"$TMP/out" || fail "forms"
states ',"form":"regex '
[ "$(grep -o '"form":"[^"]*"' "$TMP/out" | sort | uniq -c | awk '{ print $1 }' | sort | tr -d '\n')" = 12 ] || fail "forms: $(cat "$TMP/out")"

# --- out of range is the request's error
for field in '"dry_base":"x"' '"mirostat":3' '"mirostat":1.5' '"xtc_probability":2' '"top_k":-2' '"min_keep":-1' '"dry_penalty_last_n":-2'; do
    status=0
    echo "{\"prompt\":\"x\",$field}" | batch >"$TMP/out" || status=$?
    name=$(echo "$field" | cut -d '"' -f 2)
    [ $status -eq 5 ] && grep -qF "\\\"$name\\\" needs" "$TMP/out" || fail "$field ends with $status: $(cat "$TMP/out")"
done

# --- nothing is no prompt, as in run; a message may be empty
for body in '"prompt":""' '"prompt":[]' '"text":""'; do
    status=0
    echo "{$body}" | batch >"$TMP/out" || status=$?
    [ $status -eq 5 ] && grep -qF 'the prompt is empty' "$TMP/out" || fail "$body ends with $status: $(cat "$TMP/out")"
done
echo '{"messages":[{"role":"user","content":""}]}' | batch >"$TMP/out" || fail "an empty message: $(cat "$TMP/out")"

# --- what flags set
echo '{"prompt":"x","stop":"own"}' | batch --stop flag --dry-multiplier 1 --dry-sequence-breaker '|' --samplers kpmt --no-loop-guard -ctk q8_0 \
    --act int16 --logit-bias 5-inf --stop-token-ids 9 --think-budget 4 -c 300 >"$TMP/out" || fail "flags"
for said in '"stop":["flag","own"]' '"dry_sequence_breakers":["|"]' '"samplers":"kpmt"' '"loop_guard":false' '"cache_type_k":"q8_0"' \
    '"act":"int16"' '"logit_bias":[[5,false]]' '"stop_token_ids":[9]' '"think_budget":4' '"n_ctx":300'; do states "$said"; done
"$SIGNUM" run -m $model --json -n 1 -s 1 --think off --stop end --min-tokens 1 --regex 'a+' x >"$TMP/out" || fail "run"
grep -qF '"min_tokens":1,"stop":["end"]' "$TMP/out" && grep -qF '"form":"regex ' "$TMP/out" || fail "run: $(cat "$TMP/out")"

# --- the summary names each unknown field once
cat >"$TMP/in" <<'LINES'
{"prompt":"x","frob":1,"b":2,"a\"b":3}
{"prompt":"x","frob":1,"line\nend":1,"b\",\"c":1,"c":null,"":0,"chat_template_kwargs":{"enable_thinking":true,"style":"x"}}
LINES
batch -i "$TMP/in" --summary "$TMP/summary" >"$TMP/out" || fail "unknown fields"
grep -qF '"unknown_fields":["frob","b","a\"b","line\nend","b\",\"c","c","","style"],' "$TMP/summary" || fail "summary: $(cat "$TMP/summary")"
echo '{"prompt":"x"}' | batch --summary "$TMP/summary" >"$TMP/out" || fail "known fields"
grep -qF '"unknown_fields":[],' "$TMP/summary" || fail "summary: $(cat "$TMP/summary")"

# --- a context that the memory limits today does not forbid to resume tomorrow
echo '{"prompt":"x"}' >"$TMP/in"
yarn() { "$SIGNUM" batch -m tests/golden/models/q1-yarn.gguf -q -n 2 -t 1 -np 1 -i "$TMP/in" -o "$TMP/records" --resume; }
if (ulimit -v 80000 && yarn) 2>"$TMP/err"; then # sanitizers need more
    cp "$TMP/records" "$TMP/out"
    [ "$(settings | sed 's/.*"n_ctx":\([0-9]*\).*/\1/')" -lt 32768 ] || fail "80 MB hold a context of 32768"
    yarn || fail "a run that had less memory is not resumed"
fi
exit 0
