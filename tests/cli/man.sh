#!/bin/sh
# The man page knows every command of the program and every flag, and is well formed.
. tests/cli/lib.sh
page=$BUILD/signum.1
sed 's/\\-/-/g; s/\\&//g; s/\\f[A-Z]//g' "$page" >"$TMP/plain"

expect 0 "$SIGNUM" help
sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' "$TMP/out" >"$TMP/commands"
[ "$(wc -l <"$TMP/commands")" -ge 5 ] || fail "no commands found in the help"
while read -r command; do
    [ "$(grep -cx "\.B $command" "$TMP/plain")" -eq 1 ] || fail "src/cli/signum.1 lacks the command $command, or has it twice"
    expect 0 "$SIGNUM" help "$command"
    grep '^  -' "$TMP/out" >>"$TMP/flags"
done <"$TMP/commands"
for topic in sampling form; do
    expect 0 "$SIGNUM" help $topic
    grep '^  -' "$TMP/out" >>"$TMP/flags"
done
[ "$(wc -l <"$TMP/flags")" -ge 30 ] || fail "no flags found in the help"
# Every line of the help is there, flags and text one after the other.
grep -A 1 '^\.B -' "$TMP/plain" | grep -v '^--$' | sed 's/^\.B //' | paste -d ' ' - - | tr -s ' ' | sort -u >"$TMP/have"
sed 's/^  //' "$TMP/flags" | tr -s ' ' | sort -u >"$TMP/want"
comm -23 "$TMP/want" "$TMP/have" >"$TMP/missing"
[ -s "$TMP/missing" ] && fail "the page lacks: $(cat "$TMP/missing")"

if command -v mandoc >/dev/null; then
    expect 0 mandoc -T lint -W warning "$page"
elif command -v groff >/dev/null; then
    expect 0 groff -ww -man -z "$page"
    [ -s "$TMP/err" ] && fail "$(cat "$TMP/err")"
fi
exit 0
