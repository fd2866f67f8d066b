#!/bin/sh
# Instructions per group of 128 weights, row and token of every kernel family that valgrind can
# run (it knows AVX2, not AVX-512):  sh tests/bench/count.sh BUILD_DIR
# Needs the objects of `make test` in BUILD_DIR.
set -eu
build=$1
rows=256
groups=32
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
objects=$(find "$build/src" -name '*.o' ! -path '*/cli/*')
${CC:-cc} -std=c11 -O2 -Iinclude -Isrc -D_POSIX_C_SOURCE=200809L -o "$dir/once" tests/bench/once.c $objects -lm -pthread
count() { # LEVEL FAMILY NAME TOKENS PART UNITS
    total=$(valgrind --tool=callgrind --callgrind-out-file="$dir/out" --toggle-collect="$3_$5*" \
        "$dir/once" "$1" "$2" "$4" $rows $groups 2>&1 | sed -n 's/.*Collected : //p')
    awk -v n="$total" -v d="$6" 'BEGIN { printf "%8.1f", n / d }'
}
echo "level    family        tokens  run/128  pack/128"
for level in scalar avx2; do
    for case in "0 sign 1" "0 sign 8" "1 popcount 1" "1 popcount 8" "2 tables 1" "2 tables 2" "2 tables 8" "2 tables 32" \
        "3 wide_sign 1" "3 wide_sign 8" "4 wide_popcount 1" "4 wide_popcount 8" "5 wide_tables 1" "5 wide_tables 8"; do
        set -- $case
        "$dir/once" $level "$1" "$3" $rows $groups 2>/dev/null || continue
        pack=$2
        [ "$level $2" = "avx2 sign" ] && pack=steps
        [ "$level $2" = "avx2 wide_sign" ] && pack=wide_steps
        printf '%-8s %-13s %6s %s  %s\n' $level "$2" "$3" "$(count $level "$1" "$2" "$3" run $((rows * groups * $3)))" \
            "$(count $level "$1" $pack "$3" pack $((groups * $3)))"
    done
done
