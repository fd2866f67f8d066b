#!/bin/sh
# Baseline objects must run on the oldest CPU: no instruction of a wider set outside the
# level files, and level files that show nothing but their table (a helper that another file
# could link to would bring the wide instructions back).
. tests/cli/lib.sh
prefix=
case $(basename "$BUILD") in aarch64-*) prefix=aarch64-linux-gnu- ;; esac
disassemble() { "${prefix}objdump" -d --no-show-raw-insn "$1"; }
command -v "${prefix}objdump" >/dev/null || skip "${prefix}objdump is needed"
case $(basename "$BUILD") in
x86_64-*)
    levels="avx2 avxvnni avx512 avx512popcnt avx512vnni amx"
    # Every AVX mnemonic begins with v; verr and verw are old.
    wide='[[:space:]](v[a-z0-9]+|[tv]?ld?tilecfg|tdp[a-z]+)[[:space:]]|%[yz]mm|%tmm'
    old='[[:space:]](verr|verw)[[:space:]]'
    ;;
aarch64-*)
    levels="dotprod i8mm" # plain NEON is part of the architecture
    wide='[[:space:]]([su]dot|usdot|sudot|[su]mmla|usmmla|bf[a-z]+mmla)[[:space:]]'
    old='^$'
    ;;
*) skip "nothing is known about this architecture" ;;
esac

checked=0
for object in $(cd "$BUILD" && find src -name '*.o' | sort); do
    name=$(basename "$object" .o)
    case " $levels " in
    *" $name "*)
        case $object in
        src/kernels/*)
            names=$("${prefix}nm" -g --defined-only "$BUILD/$object" | awk '$3 !~ /^__/ { print $3 }')
            [ "$names" = "kernels_$name" ] || fail "$object shows more than kernels_$name: $names"
            continue
            ;;
        esac
        ;;
    esac
    disassemble "$BUILD/$object" | grep -E "$wide" | grep -vE "$old" >"$TMP/wide"
    [ -s "$TMP/wide" ] && fail "$object is not baseline: $(head -n 3 "$TMP/wide")"
    checked=$((checked + 1))
done
[ $checked -ge 20 ] || fail "only $checked objects found"

# The check must be able to fail.
for name in $levels; do
    object=$BUILD/src/kernels/$name.o
    [ -f "$object" ] || continue
    disassemble "$object" | grep -qE "$wide" || fail "found nothing wide in $name.o"
done
exit 0
