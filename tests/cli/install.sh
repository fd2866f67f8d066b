#!/bin/sh
# make install puts everything in place; another program links with what it put there.
. tests/cli/lib.sh
command -v make >/dev/null || skip "make is needed"
command -v install >/dev/null || skip "install is needed"
# Flags of the build under test reach the inner make through MAKEFLAGS.
staged() { expect 0 make -s "$1" B="$BUILD" PREFIX=/usr LIBDIR=/usr/lib/here DESTDIR="$TMP/stage"; }

staged install
cat >"$TMP/wanted" <<'LIST'
usr/bin/signum
usr/include/signum.h
usr/lib/here/libsignum.a
usr/lib/here/pkgconfig/signum.pc
usr/share/man/man1/signum.1
LIST
[ -f models/signum-demo.gguf ] && echo usr/share/signum/signum-demo.gguf >>"$TMP/wanted"
(cd "$TMP/stage" && find . -type f | sed 's|^\./||' | sort) >"$TMP/found"
diff "$TMP/wanted" "$TMP/found" || fail "other files were installed than expected"
grep -q "$TMP" "$TMP/stage/usr/lib/here/pkgconfig/signum.pc" && fail "DESTDIR leaked into signum.pc"
expect 0 "$TMP/stage/usr/bin/signum" --version
version=$(sed -n 's/.define SIGNUM_VERSION "\(.*\)"/\1/p' include/signum.h)
out_has "$version"
grep -qx "Version: $version" "$TMP/stage/usr/lib/here/pkgconfig/signum.pc" || fail "signum.pc has another version"
staged uninstall
(cd "$TMP/stage" && find . -type f) >"$TMP/found"
[ -s "$TMP/found" ] && fail "left behind: $(cat "$TMP/found")"

# The library shows public names only, and takes nothing from libm whose result could differ
# between machines.
if command -v nm >/dev/null; then
    nm -g --defined-only "$BUILD/libsignum.a" | awk 'NF == 3 && $3 !~ /^(sg_|__)/ { print $3 }' >"$TMP/names"
    [ -s "$TMP/names" ] && fail "names that are not public: $(cat "$TMP/names")"
    nm -u "$BUILD/libsignum.a" | awk '{ print $2 }' |
        grep -xE '(sin|cos|tan|sincos|exp|exp2|expm1|exp10|log|log2|log10|log1p|pow|tanh|sinh|cosh|erf|cbrt|hypot|tgamma|lgamma)[fl]?' >"$TMP/names"
    [ -s "$TMP/names" ] && fail "taken from libm: $(cat "$TMP/names")"
fi

# A program of its own, with names that the library also uses inside.
command -v "${CC:-cc}" >/dev/null || exit 0
expect 0 make -s install B="$BUILD" PREFIX="$TMP/here" DESTDIR=
cat >"$TMP/user.c" <<'C'
#include <signum.h>
#include <stdio.h>

static int failures;
void fail(const char *what);
void fail(const char *what) { printf("failed: %s\n", what), failures++; }
int buf_append, kernels_select, escaped;

int main(int argc, char **argv)
{
    struct sg_engine *engine;
    struct sg_session *session;
    struct sg_options options = {.model_path = argv[argc - 1], .n_threads = 2};
    struct sg_error err;
    int32_t ids[] = {1, 2, 3};
    if (sg_open(&engine, &options, &err) != SG_OK) {
        fail(err.message);
        return 1;
    }
    if (sg_session_open(&session, engine, 16, &err) != SG_OK)
        fail(err.message);
    else if (sg_eval(engine, &(struct sg_feed){.session = session, .ids = ids, .n = 3, .n_logits = 1}, 1, &err) != SG_OK)
        fail(err.message);
    else
        printf("%zu positions, %zu logits, first %a\n", sg_length(session), sg_info(engine)->n_vocab, (double)sg_logits(session)[0]);
    sg_session_close(session);
    sg_close(engine);
    return failures + buf_append + kernels_select + escaped;
}
C
export PKG_CONFIG_PATH="$TMP/here/lib/pkgconfig"
if command -v pkg-config >/dev/null; then
    flags=$(pkg-config --cflags --libs signum) || fail "pkg-config"
else
    flags="-I$TMP/here/include -L$TMP/here/lib $(sed -n 's/^Libs: -L[^ ]* //p' "$PKG_CONFIG_PATH/signum.pc")"
fi
case $BUILD in *-san*) flags="$flags -fsanitize=address,undefined" ;; esac
# shellcheck disable=SC2086 # the flags are words
expect 0 "${CC:-cc}" -std=c11 -Wall -Wextra -Werror -o "$TMP/user" "$TMP/user.c" $flags
expect 0 "$TMP/user" tests/golden/models/mini-q1.gguf
out_has "3 positions, 322 logits"
if command -v c++ >/dev/null; then
    expect 0 c++ -Wall -Wextra -Werror -fsyntax-only -x c++ include/signum.h
fi
exit 0
