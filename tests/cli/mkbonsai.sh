#!/bin/sh
# tools/mkbonsai: published sizes, repeatable, never leaves half a file.
. tests/cli/lib.sh
make=$BUILD/tools/mkbonsai

size() { # BYTES SHAPE [OPTION...]
    bytes=$1
    shift
    expect 0 "$make" "$@" --size
    [ "$(cat "$TMP/out")" = "$bytes" ] || fail "$* would have $(cat "$TMP/out") bytes, not $bytes"
}
# As published, to the byte; ternary files are 160 to 192 bytes shorter than published.
size 248302272 1.7b
size 572270624 4b
size 1158654496 8b
size 463290304 1.7b --type q2_0_g128
size 2182184480 8b --type pq2_0
size 490163808 1.7b --type q2_0

for type in q1_0 q2_0 q2_0_g128 pq2_0; do
    expect 0 "$make" tiny "$TMP/$type.gguf" --type $type
    expect 0 "$make" tiny --type $type --size
    [ "$(wc -c <"$TMP/$type.gguf")" -eq "$(cat "$TMP/out")" ] || fail "--size and the size of $type.gguf differ"
    expect 0 "$SIGNUM" check "$TMP/$type.gguf"
    expect 0 "$SIGNUM" run -m "$TMP/$type.gguf" -n 2 -s 1 "Hello"
done
expect 0 "$SIGNUM" info "$TMP/q1_0.gguf"
out_has "Bonsai tiny stand-in"
out_has "151669 tokens, 151387 merges"
grep -q '^template *bonsai' "$TMP/out" || fail "the template is not Bonsai's"

# The same seed gives the same bytes, another one does not.
expect 0 "$make" tiny "$TMP/same.gguf" --seed 1
cmp "$TMP/q1_0.gguf" "$TMP/same.gguf" || fail "not repeatable"
expect 0 "$make" tiny "$TMP/other.gguf" --seed 18446744073709551615
cmp -s "$TMP/same.gguf" "$TMP/other.gguf" && fail "the seed has no effect"

expect 1 "$make" tiny "$TMP/same.gguf" --seed 2
err_has "exists"
cmp "$TMP/q1_0.gguf" "$TMP/same.gguf" || fail "overwritten without --force"
expect 0 "$make" tiny "$TMP/same.gguf" --seed 2 --force
cmp -s "$TMP/q1_0.gguf" "$TMP/same.gguf" && fail "not overwritten with --force"

# A full disk (here a limit on the file's size) leaves nothing behind.
expect 1 sh -c 'trap "" XFSZ; ulimit -f 2000; exec "$@"' sh "$make" tiny "$TMP/full.gguf"
err_has "can not write $TMP/full.gguf"
for left in "$TMP"/full.gguf*; do
    [ -e "$left" ] && fail "left behind: $left"
done

expect 1 "$make" tiny "$TMP/none/x.gguf"
err_has "No such file"
expect 1 "$make" tiny "$TMP/x.gguf" --vocab "$TMP/none.gguf"
err_has "can not read"
expect 1 "$make" tiny "$TMP/x.gguf" --vocab Makefile
err_has "not a GGUF file"
head -c 3000000 tests/golden/tokenizer/qwen3.gguf >"$TMP/cut.gguf"
expect 1 "$make" tiny "$TMP/x.gguf" --vocab "$TMP/cut.gguf"
err_has "ends inside its metadata"
expect 1 "$make" tiny "$TMP/x.gguf" --vocab tests/golden/models/q1-tied.gguf
err_has "fewer than"
for bad in "" "9b $TMP/x" "tiny" "tiny $TMP/x more" "tiny $TMP/x --type q3" "tiny $TMP/x --seed -1" "tiny $TMP/x --seed" "tiny $TMP/x --size" "tiny $TMP/x --what"; do
    # shellcheck disable=SC2086 # the words are meant
    expect 2 "$make" $bad
    [ "$(wc -l <"$TMP/err")" -eq 1 ] || fail "not one line for: $bad"
done
[ -e "$TMP/x" ] && fail "wrote a file in spite of wrong usage"
expect 0 "$make" --help
out_has "usage: mkbonsai"
