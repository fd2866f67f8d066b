#!/bin/sh
# Batch: what records look like: several answers, the older logprobs of completions.
. tests/cli/lib.sh
. tests/cli/batch_lib.sh
model=tests/golden/tokenizer/qwen3.gguf
batch() { "$SIGNUM" batch -m $model -q --think off "$@"; }
out_matches() { # REGEX
    grep -qE -- "$1" "$TMP/out" || fail "no $1: $(cat "$TMP/out")"
}

# --- --simple with several answers says of each what it says of one
echo '{"custom_id":"a","prompt":"x","n":3,"logprobs":true,"guided_regex":"[ab]{2}"}' | batch --simple >"$TMP/out" || fail "n"
out_matches '^\{"id":"a","texts":\["[ab]{2}","[ab]{2}","[ab]{2}"\],"logprobs":\[\[\{.*\}\],\[\{.*\}\],\[\{.*\}\]\],"finish_reasons":\["stop","stop","stop"\],"seeds":\[[0-9]+,[0-9]+,[0-9]+\],"prompt_tokens":[0-9]+,"completion_tokens":[3-9],'
echo '{"custom_id":"a","prompt":"x","guided_regex":"[ab]{2}"}' | batch --simple >"$TMP/out" || fail "one"
out_matches '^\{"id":"a","text":"[ab]{2}","finish_reason":"stop","seed":[0-9]+,"prompt_tokens":'

# --- logprobs of completions: arrays, offsets in characters, the chosen token among the alternatives
raw() { printf '{"url":"/v1/completions","body":{"prompt":"x","thinking_budget_tokens":0,"guided_regex":"%s",%s}}\n' "$1" "$2" | batch >"$TMP/out" || fail "$1"; }
raw 'a[.]' '"logprobs":0'
out_matches '"logprobs":\{"tokens":\["a\."\],"token_logprobs":\[-[0-9.]+\],"top_logprobs":null,"text_offset":\[0\]\}|"logprobs":\{"tokens":\["a","\."\],"token_logprobs":\[-[0-9.]+,-[0-9.]+\],"top_logprobs":null,"text_offset":\[0,1\]\}'
raw 'ä{3}x' '"logprobs":1'
offsets=$(sed 's/.*"text_offset":\[\([0-9,]*\)\].*/\1/' "$TMP/out")
case $offsets in 0 | *4*) fail "offsets of ${offsets} in äääx" ;; *3) ;; *) fail "the last token of äääx begins at ${offsets}" ;; esac
# Each object of alternatives has the model's favourite and what the form made of it.
alternatives=$(sed 's/.*"top_logprobs":\[\([^]]*\)\].*/\1/' "$TMP/out")
[ "$(echo "$alternatives" | grep -o '{' | wc -l)" -eq "$(echo "$offsets" | tr ',' '\n' | wc -l)" ] || fail "alternatives: $alternatives"
echo "$alternatives" | grep -qE '"x":-[0-9.]+\}$' || fail "the chosen token is not among $alternatives"
raw 'q' '"max_tokens":0,"logprobs":2'
out_matches '"logprobs":\{"tokens":\[\],"token_logprobs":\[\],"top_logprobs":\[\],"text_offset":\[\]\}'

# --- flags that could do nothing, or make every request fail, end the run
expect 2 "$SIGNUM" batch -m $model --choice-norm tokens -i "$TMP/out"
err_has "--choice-norm is for --score"
expect 2 "$SIGNUM" run -m $model --choice-norm tokens --choice a,b x
expect 2 "$SIGNUM" batch -m tests/golden/models/q1-tied.gguf --chat-template chatml --think on -i "$TMP/out"
err_has "no thinking to turn on"
exit 0
