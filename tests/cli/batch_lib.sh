# shellcheck shell=sh
# What the tests of batch share, sourced after lib.sh.
unset SIGNUM_MODEL SIGNUM_THREADS SIGNUM_CTX SIGNUM_ISA

# Records without what may differ from run to run: times, order.
plain() {
    sed 's/"created":[0-9]*/"created":0/; s/"timings":{[^}]*}/"timings":{}/; s/"cached_tokens":[0-9]*/"cached_tokens":0/' "$1" | sort
}
same_records() { # A B
    plain "$1" >"$TMP/a.plain"
    plain "$2" >"$TMP/b.plain"
    cmp "$TMP/a.plain" "$TMP/b.plain" || fail "$3"
}

# 24 good requests into $TMP/in.good (shared prefixes, several choices, seeds, stops, raw), and
# with 12 wrong ones after them into $TMP/in.
write_mix() {
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
}
