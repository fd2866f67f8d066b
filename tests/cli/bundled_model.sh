#!/bin/sh
# The proof of the whole: the engine predicts the held-out text as well as the network that was trained. models/expected.json holds the
# perplexity of the trainer's own forward pass, a program that shares no line with signum (tools/train/perplexity.py).
. tests/cli/lib.sh
unset SIGNUM_MODEL SIGNUM_THREADS SIGNUM_CTX SIGNUM_ISA
model=models/signum-demo.gguf

# Rounding to int8, a value on the edge between two integers may fall to either side; without it only the order of sums differs.
for mode in "int8 int8 2e-4" "f32 float 1e-5"; do
    # shellcheck disable=SC2086 # three words
    set -- $mode
    expect 0 "$SIGNUM" perplexity -q --json -m $model -f models/heldout.txt -c 512 -ctk f32 -ctv f32 --act "$1"
    out_has '"scored":'"$(sed -n 's/.*"scored": \([0-9]*\).*/\1/p' models/expected.json),"
    wanted=$(sed -n "s/.*\"$2\": \([0-9.]*\).*/\1/p" models/expected.json)
    found=$(sed -n 's/.*"perplexity":\([0-9.]*\).*/\1/p' "$TMP/out")
    awk -v a="$found" -v b="$wanted" -v most="$3" 'BEGIN { d = a / b - 1; exit !(a > 1 && b > 1 && d < most && -d < most) }' ||
        fail "--act $1: perplexity $found, the trainer's is $wanted"
done
