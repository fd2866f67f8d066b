#!/bin/sh
# run with -j, --schema, --regex, --grammar, --choice: stdout, exit codes, contradictions.
. tests/cli/lib.sh
model=tests/golden/tokenizer/qwen3.gguf
unset SIGNUM_MODEL SIGNUM_THREADS SIGNUM_CTX SIGNUM_ISA
is() { # PATTERN: stdout is one line that matches as a whole
    { [ "$(wc -l <"$TMP/out")" -eq 1 ] && grep -qxE -- "$1" "$TMP/out"; } || fail "'$(head -c 300 "$TMP/out")' is not $1"
    [ ! -s "$TMP/err" ] || fail "stderr: $(cat "$TMP/err")"
}
run() { # STATUS FLAG...
    status_wanted=$1
    shift
    expect "$status_wanted" "$SIGNUM" run -m $model --think off -s "${seed:-1}" -p hello "$@"
}

for seed in 1 2 3 4 5; do
    run 0 --choice "spam,ham,no idea"
    is "spam|ham|no idea"
    run 0 --choice "a, b" --choice "c,d"
    is "a, b|c,d"
    run 0 --regex "[a-f]{3}-[0-9]{2}"
    is "[a-f]{3}-[0-9]{2}"
    run 0 --grammar 'root ::= ("x" | "yy"){3}'
    is "(x|yy){3}"
    run 0 -j '{"type":"integer","minimum":10,"maximum":20}'
    is "1[0-9]|20"
    run 0 -j '{"type":"array","items":{"type":"boolean"},"maxItems":0}'
    is "\[( |)\]"
done
echo '{"const":{"deep":[1,2]}}' >"$TMP/schema"
run 0 -jf "$TMP/schema"
is '\{"deep": \[1, 2\]\}'
printf 'root ::= "one" |\n "two" # or\n' >"$TMP/grammar"
run 0 --grammar-file "$TMP/grammar"
is "one|two"
run 0 --schema "ok bool"
tr -d ' \n\t' <"$TMP/out" | grep -qx '{"ok":true}\|{"ok":false}' || fail "schema in short: $(cat "$TMP/out")"

# the same answer however it is computed
run 0 --regex "[a-z]{3}( [a-z]{3}){6}"
cp "$TMP/out" "$TMP/answer"
run 0 --regex "[a-z]{3}( [a-z]{3}){6}" --spec ngram -t 2
cmp "$TMP/out" "$TMP/answer" || fail "speculation changes the answer"
run 0 --schema "ok bool, name: one word"
cp "$TMP/out" "$TMP/answer"
run 0 --schema "ok bool, name: one word" --spec ngram -t 2
cmp "$TMP/out" "$TMP/answer" || fail "speculation changes an answer with a schema"
run 0 --regex "[a-z]{3}( [a-z]{3}){6}"
cp "$TMP/out" "$TMP/answer"
SIGNUM_ISA=scalar run 0 --regex "[a-z]{3}( [a-z]{3}){6}"
cmp "$TMP/out" "$TMP/answer" || fail "the scalar level changes the answer"

# after thinking
expect 0 "$SIGNUM" run -m $model --think on --think-budget 8 -s 3 -p hello --choice "yes,no"
is "yes|no"

# an answer that is cut off is shown, and is a failure
run 1 --regex "[a-z]{60}" -n 3
[ -s "$TMP/out" ] || fail "nothing was printed"
err_has "cut off"
run 2 -j '{"type":"strin"}'
err_has '-j: JSON schema: "type"'
[ -s "$TMP/out" ] && fail "output in spite of a bad schema"
run 2 --regex "(" 
err_has "--regex: "
run 2 --regex a --choice b
err_has "exclude each other"
run 1 -jf "$TMP/none"
run 2 --choice ,
run 2 --schema "x decimal"
run 2 --schema "x, y int, x int"
err_has 'property "x" is described twice'
exit 0
