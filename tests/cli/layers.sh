#!/bin/sh
# The architecture: who may include what, who may print or exit, headers that stand alone.
. tests/cli/lib.sh
problems=$TMP/problems
: >"$problems"
problem() { echo "$*" >>"$problems"; }

# Generated tables (*_tables.h) are the inside of the file that includes them.
sources=$(find src -name '*.[ch]' ! -name '*_tables.h')
headers=$(find include src -name '*.h' ! -name '*_tables.h')

# base 0, compute 1, model 2, engine 3, cli 4, as the header's "Layer:" says. The public
# header is below everything; a file without a header of its own is where the highest of its
# headers is, but below cli.
rank_of_name() {
    case $1 in
    base) echo 0 ;;
    compute) echo 1 ;;
    model) echo 2 ;;
    engine) echo 3 ;;
    cli) echo 4 ;;
    *) echo unknown ;;
    esac
}
includes() { sed -n 's/^#include "\(.*\)".*/\1/p' "$1"; }
find_header() { # INCLUDED BY: where the compiler finds it
    for folder in "$(dirname "$2")" src include; do
        [ -f "$folder/$1" ] && echo "$folder/$1" && return
    done
}
rank() {
    case $1 in
    include/*) echo 0 && return ;;
    src/cli/*) echo 4 && return ;;
    src/kernels/*) echo 1 && return ;;
    esac
    header=${1%.c}
    header=${header%.h}.h
    if [ -f "$header" ]; then
        rank_of_name "$(sed -n 's/.*Layer: \([a-z]*\)\..*/\1/p' "$header" | head -n 1)"
        return
    fi
    for name in $(includes "$1"); do
        case $name in *_tables.h) continue ;; esac
        rank "$(find_header "$name" "$1")"
    done | sort -n | tail -n 1 | sed 's/4/3/'
}

for file in $sources; do
    own=$(rank "$file")
    [ "$own" != unknown ] || {
        problem "$file: no line \"Layer: base|compute|model|engine|cli.\""
        continue
    }
    for name in $(includes "$file"); do
        included=$(find_header "$name" "$file")
        [ -n "$included" ] || {
            problem "$file: includes \"$name\", which is not there"
            continue
        }
        case $name in *_tables.h) continue ;; esac
        theirs=$(rank "$included")
        [ "$theirs" = unknown ] || [ "$theirs" -le "$own" ] || problem "$file includes $included, a higher layer"
        # The program sees only the public interface and the base.
        if [ "$own" -eq 4 ] && [ "$theirs" != 4 ] && [ "$theirs" != 0 ]; then
            problem "$file includes $included, between the public interface and the base"
        fi
    done
done

# Kernels know formats and arithmetic, nothing else.
for file in src/kernels/*.[ch]; do
    for name in $(includes "$file"); do
        case $name in
        kernels.h | kernels/kernels.h | quant.h | r64.h | mathfn.h | cpu.h | base.h) ;;
        *) [ -f "src/kernels/$name" ] || problem "$file includes $name: a kernel may not" ;;
        esac
    done
done

# What a file may not call, comments left out. arena.c aborts on a programming error, and says so.
forbid() { # PATTERN FILES-TO-LEAVE-OUT REASON
    echo "$sources" | grep -vE "$2" | xargs grep -nE "(^|[^a-z_])$1" /dev/null | grep -vE '^[^:]*:[0-9]*: *(/?\*|//)' |
        sed "s/\$/  <- $3/" >>"$problems"
}
forbid '(printf|puts|putchar|exit|_exit|_Exit) *\(' '^src/cli/' "only the program prints and exits"
forbid 'stdout[^a-z_]' '^src/cli/' "only the program prints"
forbid '(abort *\(|stderr[^a-z_])' '^src/(cli/|arena.c)' "the library neither aborts nor prints"
forbid 'assert *\(' '^$' "input never meets an assertion"
forbid 'mmap *\(' '^src/(file|arena)\.c' "only file.c and arena.c map memory"
forbid '(rand|srand|random|drand48|setlocale) *\(' '^$' "results do not depend on libc's state"

# Every header compiles alone, but for bodies that a level completes ("The includer defines
# first"). Those of kernels may need the flags of their level.
[ "$(uname -m)" = x86_64 ] && wide="-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mgfni -mamx-tile -mamx-int8"
if command -v "${CC:-cc}" >/dev/null; then
    for file in $headers; do
        grep -q 'includer defines first' "$file" && continue
        flags=
        case $file in src/kernels/*) flags=${wide-} ;; esac
        case $(uname -m)-$file in x86_64-*_arm.h | aarch64-*_x86.h) continue ;; esac
        # shellcheck disable=SC2086 # the flags are words
        "${CC:-cc}" -std=c11 -Wall -Wextra -Wno-unused -Werror $flags -Iinclude -Isrc -D_POSIX_C_SOURCE=200809L \
            -fsyntax-only -x c "$file" 2>>"$problems" || problem "$file does not compile alone"
    done
fi

for file in $headers; do
    grep -q '^#ifndef SIGNUM_' "$file" || problem "$file has no guard"
done

# Nothing else at the top.
if command -v git >/dev/null && git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files | cut -d / -f 1 | sort -u |
        grep -vxE 'src|include|tests|tools|models|Makefile|README\.md|LICENSE|\..*' | sed 's/$/ does not belong at the top/' >>"$problems"
fi

[ -s "$problems" ] && cat "$problems" && fail "the architecture"
exit 0
