#!/bin/sh
# The man page knows every command and flag that the program's help shows, and is well formed.
. tests/cli/lib.sh
page=src/cli/signum.1
sed 's/\\-/-/g; s/\\f[A-Z]//g' $page >"$TMP/plain"

expect 0 "$SIGNUM" help
sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' "$TMP/out" >"$TMP/commands"
[ "$(wc -l <"$TMP/commands")" -ge 5 ] || fail "no commands found in the help"
while read -r command; do
    grep -qx "\.B $command" "$TMP/plain" || fail "$page lacks the command $command"
    expect 0 "$SIGNUM" help "$command"
    # Of "  -t, --threads N    threads; ..." the names.
    sed -n 's/^  \(-[^ ]*\(, -[^ ]*\)*\).*/\1/p' "$TMP/out" | tr -d ',' | tr ' ' '\n' >>"$TMP/flags"
done <"$TMP/commands"
for topic in sampling form; do
    expect 0 "$SIGNUM" help $topic
    sed -n 's/^  \(-[^ ]*\(, -[^ ]*\)*\).*/\1/p' "$TMP/out" | tr -d ',' | tr ' ' '\n' >>"$TMP/flags"
done
[ "$(wc -l <"$TMP/flags")" -ge 30 ] || fail "no flags found in the help"
sort -u "$TMP/flags" | while read -r flag; do
    grep -qE -- "(^|[ \"(])$flag([ \",;]|\$)" "$TMP/plain" || echo "$flag"
done >"$TMP/missing"
[ -s "$TMP/missing" ] && fail "$page lacks $(tr '\n' ' ' <"$TMP/missing")"

if command -v mandoc >/dev/null; then
    expect 0 mandoc -T lint -W warning $page
elif command -v groff >/dev/null; then
    expect 0 groff -ww -man -z $page
    [ -s "$TMP/err" ] && fail "$(cat "$TMP/err")"
fi
exit 0
