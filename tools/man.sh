#!/bin/sh
# Completes the man page with the usage and flags that the program itself lists:
#     sh tools/man.sh PAGE PROGRAM...
# PROGRAM may begin with an emulator. Writes to standard output.
set -eu
page=$1
shift

commands() { "$@" help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'; }

# Text as it is, for roff.
roff='function roff(text) { gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text); gsub(/^[.'"'"']/, "\\\\\\&&", text); return text }'

# One line per flag: group, flags with their value, text, commands. Equal ones are joined.
flags() {
    {
        commands "$@"
        printf '%s\n' sampling form # topics: flags that commands share
    } | while read -r command; do
        "$@" help "$command" | sed "s/^/$command /"
    done | awk '
        { command = $1; sub(/^[^ ]* /, "") }
        /^[A-Z].*:$/ { group = substr($0, 1, length($0) - 1) }
        # "  -t, --threads N     text"; long names leave only one blank before the text.
        match($0, /^  -[^ ]+(, -[^ ]+)*( [A-Z][A-Z0-9+,/]* | )/) {
            flag = substr($0, 3, RLENGTH - 2)
            text = substr($0, RLENGTH + 1)
            sub(/ $/, "", flag)
            sub(/^ */, "", text)
            key = flag "\t" text
            if (!(key in commands)) {
                order[++n] = key
                group_of[key] = group
                if (!(group in groups)) { groups[group]; group_order[++n_groups] = group }
            }
            if (command != "sampling" && command != "form")
                commands[key] = commands[key] (commands[key] ? ", " : "") command
            else
                commands[key] = commands[key]
        }
        END {
            for (g = 1; g <= n_groups; g++)
                for (i = 1; i <= n; i++)
                    if (group_of[order[i]] == group_order[g])
                        print group_order[g] "\t" order[i] "\t" commands[order[i]]
        }'
}

synopsis() {
    {
        commands "$@" | while read -r command; do "$@" help "$command" | head -n 1; done
        echo "signum help [COMMAND]"
        echo "signum --version"
    } | awk "$roff"'{ name = $1 " " $2; print "\\fB" roff(name) "\\fR" roff(substr($0, length(name) + 1)) }'
}

sed '/^\.\\" SYNOPSIS/,$d' "$page"
echo .nf
synopsis "$@"
echo .fi
sed '1,/^\.\\" SYNOPSIS/d; /^\.\\" FLAGS/,$d' "$page"
flags "$@" | awk -F '\t' "$roff"'
    $1 != group { group = $1; print ".SS " roff(group) }
    { print ".TP\n.B " roff($2) "\n" roff($3); if ($4) print "[" $4 "]" }'
sed '1,/^\.\\" FLAGS/d' "$page"
