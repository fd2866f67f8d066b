#!/bin/sh
# signum repack and --repack: the same answers, the way back, what is refused, nothing left behind.
. tests/cli/lib.sh
model=tests/golden/models/q1-tied.gguf
packed=$TMP/packed.gguf
unset SIGNUM_MODEL SIGNUM_THREADS SIGNUM_CTX SIGNUM_ISA

expect 0 "$SIGNUM" repack -v $model "$packed"
err_has "29 matrices rearranged"
[ ! -s "$TMP/out" ] || fail "output"
expect 0 "$SIGNUM" repack --undo "$packed" "$TMP/original.gguf"
[ ! -s "$TMP/err" ] || fail "not quiet"
cmp $model "$TMP/original.gguf" || fail "the way back loses something"
expect 0 "$SIGNUM" check "$packed"
expect 0 "$SIGNUM" info "$packed"
out_has "29 x Q1_0_R64"
expect 0 "$SIGNUM" info --json "$packed"
out_has '"type":"Q1_0_R64"'
cp "$TMP/out" "$TMP/info"

# The same text from the file, the repacked file and a copy in memory, at every level.
expect 0 "$SIGNUM" run -m $model -n 8 -s 7 "Hello there"
cp "$TMP/out" "$TMP/answer"
for isa in $("$SIGNUM" --version | sed -n 's/^levels: //p'); do
    for threads in 1 2; do
        SIGNUM_ISA=$isa expect 0 "$SIGNUM" run -m "$packed" -t $threads -n 8 -s 7 "Hello there"
        cmp "$TMP/out" "$TMP/answer" || fail "$isa differs when repacked, $threads threads"
        SIGNUM_ISA=$isa expect 0 "$SIGNUM" run --repack -m $model -t $threads -n 8 -s 7 "Hello there"
        cmp "$TMP/out" "$TMP/answer" || fail "$isa differs with --repack, $threads threads"
    done
done
for family in sign popcount; do
    expect 0 "$SIGNUM" run -m "$packed" --matmul $family -n 8 -s 7 "Hello there"
    cmp "$TMP/out" "$TMP/answer" || fail "--matmul $family differs"
done
expect 0 "$SIGNUM" logits --act f32 -m $model --ids 1,2,3
cp "$TMP/out" "$TMP/f32"
expect 0 "$SIGNUM" logits --act f32 -m "$packed" --ids 1,2,3
cmp "$TMP/out" "$TMP/f32" || fail "--act f32 differs"
expect 0 "$SIGNUM" run --repack -v -m $model -n 1 Hello
err_has "repacked the weights in"
expect 0 "$SIGNUM" run --repack -m "$packed" -n 1 Hello
err_has "repacked already"
expect 0 "$SIGNUM" run --repack -m tests/golden/models/q8.gguf -n 1 Hello
err_has "no Q1_0 matrices"

# Another program's view: a type that it does not know. Damage is found.
cp "$packed" "$TMP/bad.gguf"
offset=$(sed 's/.*"type":"Q1_0_R64","shape":[^]]*],"offset":\([0-9]*\).*/\1/' "$TMP/info")
printf '\377\377' | dd of="$TMP/bad.gguf" bs=1 seek="$offset" conv=notrunc 2>"$TMP/dd" || fail dd
expect 3 "$SIGNUM" check "$TMP/bad.gguf"
out_has "NaN or infinite"

expect 2 "$SIGNUM" repack $model
expect 2 "$SIGNUM" repack $model "$TMP/a" "$TMP/b"
expect 2 "$SIGNUM" repack "$packed" "$TMP/twice.gguf"
err_has "repacked already"
expect 2 "$SIGNUM" repack --undo $model "$TMP/twice.gguf"
err_has "nothing to undo"
expect 2 "$SIGNUM" repack tests/golden/models/q8.gguf "$TMP/twice.gguf"
expect 2 "$SIGNUM" repack "$packed" "$packed"
ln -s packed.gguf "$TMP/link.gguf"
expect 2 "$SIGNUM" repack --undo "$packed" "$TMP/link.gguf"
err_has "is the file to be read"
expect 3 "$SIGNUM" repack README.md "$TMP/twice.gguf"
expect 1 "$SIGNUM" repack "$TMP/none" "$TMP/twice.gguf"
expect 1 "$SIGNUM" repack $model "$TMP/none/twice.gguf"
expect 2 "$SIGNUM" repack $model /dev/null
# A full disk (here a limit on the file's size) leaves what was there and nothing else.
echo old >"$TMP/twice.gguf"
expect 1 sh -c 'ulimit -f 200; exec "$@"' sh "$SIGNUM" repack $model "$TMP/twice.gguf"
err_has "twice.gguf: File too large"
[ "$(cat "$TMP/twice.gguf")" = old ] || fail "the old file is gone"
for left in "$TMP"/twice.gguf.*; do
    [ -e "$left" ] && fail "left behind: $left"
done
exit 0
