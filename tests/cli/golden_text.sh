#!/bin/sh
# What the bundled model says, to the letter: greedy and sampled answers of tests/golden/text/signum-demo.tsv, the same from run and
# from batch, on every level, with one thread and two, alone and side by side.
# With another model in models/:  SIGNUM=./signum TMP=$(mktemp -d) sh tests/cli/golden_text.sh --write
. tests/cli/lib.sh
unset SIGNUM_MODEL SIGNUM_THREADS SIGNUM_CTX SIGNUM_ISA
golden=tests/golden/text/signum-demo.tsv
model=models/signum-demo.gguf
most=48 # tokens an answer, so that the scalar level is quick
[ -f $model ] || fail "$model is missing"

# A line is: chat or raw, temperature, seed, prompt (no quotes or backslashes), answer as a JSON string.
text() { sed 's/^.*"text":\("\([^"\\]\|\\.\)*"\).*/\1/'; }
tab=$(printf '\t')
run() { # THREADS: the golden file's lines with the answers of run
    while IFS=$tab read -r kind temp seed prompt _; do
        raw=
        [ "$kind" = raw ] && raw=--raw
        answer=$("$SIGNUM" run --json -q -m $model -t "$1" $raw --temp "$temp" -s "$seed" -n $most "$prompt" </dev/null | text)
        printf '%s\t%s\t%s\t%s\t%s\n' "$kind" "$temp" "$seed" "$prompt" "$answer"
    done <$golden
}

run 1 >"$TMP/run" || fail "run"
if [ "${1-}" = --write ]; then
    cp "$TMP/run" $golden
    exit
fi
same() { # FILE WHAT
    diff $golden "$1" >"$TMP/diff" || fail "$2 gives other text: $(head -n 4 "$TMP/diff")"
}
[ "$(wc -l <$golden)" -ge 16 ] || fail "$golden is not complete"
same "$TMP/run" "run with one thread"
SIGNUM_ISA=scalar run 2 >"$TMP/run" || fail "run"
same "$TMP/run" "run with two threads, scalar"

while IFS=$tab read -r kind temp seed prompt _; do
    id=$((${id-0} + 1))
    settings="\"temperature\":$temp,\"seed\":$seed,\"max_tokens\":$most"
    if [ "$kind" = raw ]; then
        body="\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"$prompt\",$settings}"
    else
        body="\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":[{\"role\":\"user\",\"content\":\"$prompt\"}],$settings}"
    fi
    printf '{"custom_id":"%d","method":"POST",%s}\n' "$id" "$body"
done <$golden >"$TMP/requests"
batch() { # OPTIONS...: the golden file's lines with the answers of batch
    "$SIGNUM" batch -q --simple -m $model -i "$TMP/requests" -o "$TMP/records" "$@" || fail "batch $*: status $?"
    sed 's/^{"id":"\([0-9]*\)".*/\1/' "$TMP/records" >"$TMP/ids"
    text <"$TMP/records" | paste "$TMP/ids" - | sort -n | cut -f 2- >"$TMP/answers"
    cut -f 1-4 $golden | paste - "$TMP/answers"
    rm "$TMP/records"
}
for level in $("$SIGNUM" --version | sed -n 's/^levels: //p'); do
    SIGNUM_ISA=$level batch -t 1 >"$TMP/batch" || fail "$(cat "$TMP/batch")"
    same "$TMP/batch" "batch with one thread, level $level"
    SIGNUM_ISA=$level batch -t 2 -np 3 >"$TMP/batch" || fail "$(cat "$TMP/batch")"
    same "$TMP/batch" "batch -np 3 with two threads, level $level"
done
