# shellcheck shell=sh
# The scripts of `signum completion` load in their shells and offer what the parser takes.
. tests/cli/lib.sh

cat >"$TMP/ask.bash" <<'END'
# ask.bash WORDS...: what bash would offer for the last word.
. "$COMPLETION"
COMP_WORDS=(signum "$@")
COMP_CWORD=$#
_signum
printf '%s\n' "${COMPREPLY[@]}"
END
ask() { COMPLETION=$TMP/bash bash "$TMP/ask.bash" "$@" | tr '\n' ' '; }
offers() { # WANTED WORDS...
    wanted=$1
    shift
    found=$(ask "$@")
    [ "$found" = "$wanted " ] || fail "completion of '$*' is '$found', not '$wanted'"
}

expect 2 "$SIGNUM" completion
err_has 'bash, zsh or fish'
expect 2 "$SIGNUM" completion tcsh
for shell in bash zsh fish; do
    expect 0 "$SIGNUM" completion $shell
    mv "$TMP/out" "$TMP/$shell"
done

if command -v bash >/dev/null; then
    offers 'batch bench' b
    offers 'f16 f32 q8_0' run -ctk ''
    offers 'drop' chat --ctx-full d
    offers '--temp --temperature' run --temp
    offers '' run -p ''
    offers '' run -m ''
    offers 'md' bench -o m
    offers 'sampling' help sa
    offers 'run render repack' help r
    offers 'auto on off' run --color = # as bash takes --color= apart
    offers 'on off' run --color = o
    offers '' run --model =
    # Every flag that is offered is one that the program knows.
    for command in $("$SIGNUM" help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
        for flag in $(ask "$command" -); do
            status=0
            # In $TMP, because flags that name an output file write one named --help.
            (cd "$TMP" && "$SIGNUM" "$command" "$flag" --help) >"$TMP/out" 2>"$TMP/err" </dev/null || status=$?
            ! grep -q 'unknown option\|does not belong' "$TMP/err" || fail "$command does not know $flag"
        done
        [ "$command" = completion ] || [ "$(ask "$command" - | wc -w)" -gt 3 ] || fail "$command offers few flags"
    done
fi
if command -v zsh >/dev/null; then
    zsh -n "$TMP/zsh" || fail "zsh does not parse its script"
fi
if command -v fish >/dev/null; then
    fish -n "$TMP/fish" || fail "fish does not parse its script"
    found=$(HOME=$TMP fish -c "source $TMP/fish; complete -C 'signum run -ctk '" | cut -f 1 | tr '\n' ' ')
    [ "$found" = "f16 f32 q8_0 " ] || fail "fish offers '$found'"
fi
