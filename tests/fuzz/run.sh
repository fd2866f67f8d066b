#!/bin/sh
# Runs every fuzz target for some seconds, from seeds made of the golden files; new inputs are kept
# in DIR/corpus-TARGET, what breaks a target is left in DIR.  run.sh DIR BAD_FILES SECONDS
set -eu
dir=$1
bad_files=$2
seconds=$3
for target in "$dir"/fuzz_*; do
    [ -x "$target" ] || continue
    name=$(basename "$target")
    seeds=$dir/seeds-$name
    mkdir -p "$seeds" "$dir/corpus-$name"
    if [ "$name" = fuzz_gguf ]; then
        "$bad_files" tests/golden/bad/cases.txt tests/golden/models/mini-q1.gguf "$seeds" >/dev/null
        cp tests/golden/models/mini-q1-r64.gguf "$seeds"
    else # single lines of text, many of them JSON
        cat tests/golden/chat/conversations.jsonl tests/golden/tokenizer/vectors.jsonl | split -a 4 -l 1 - "$seeds/line"
    fi
    echo "$name: $seconds s"
    if ! "$target" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$dir/" \
        "$dir/corpus-$name" "$seeds" >"$dir/$name.log" 2>&1; then
        tail -n 60 "$dir/$name.log"
        exit 1
    fi
    grep 'number_of_executed_units' "$dir/$name.log"
done
