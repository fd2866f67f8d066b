#!/bin/sh
# Downloads a model by name and checks it: sh tools/fetch_model.sh NAME [FOLDER]
#
# The names, sizes and SHA-256 sums are in models/models.tsv; FOLDER is models/ if not given.
# An interrupted download goes on where it stopped when the command is given again. The file
# appears under its name only when it is whole and right. Needs curl or wget.
#
#   HF_ENDPOINT   another server with the hub's paths (default https://huggingface.co)
#   MODELS_TSV    another table
#
# Exit status: 0 the file is there and right, 1 the download failed, 2 wrong usage,
# 3 what was downloaded is not the file of the table, 4 no space or not writable.
set -u

say() { echo "fetch_model: $*" >&2; }
die() { # STATUS MESSAGE
    status=$1
    shift
    say "$*"
    exit "$status"
}
has() { command -v "$1" >/dev/null 2>&1; }

here=$(dirname "$0")
table=${MODELS_TSV:-$here/../models/models.tsv}
tab=$(printf '\t')

usage() {
    echo "usage: sh tools/fetch_model.sh NAME [FOLDER]"
    echo
    grep -v '^#' "$table" | while IFS=$tab read -r name file bytes _; do
        printf '  %-20s  %5d MB  %s\n' "$name" "$((bytes / 1000000))" "$file"
    done
}

[ -r "$table" ] || die 2 "can not read $table"
case ${1-} in
-h | --help)
    usage
    exit 0
    ;;
esac
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    usage >&2
    exit 2
fi

wanted=$1
folder=${2:-$here/../models}
line=$(awk -F "$tab" -v wanted="$wanted" '!/^#/ && $1 == wanted' "$table")
[ -n "$line" ] || die 2 "there is no model '$wanted'; without arguments the command lists them"
IFS=$tab read -r _ file bytes sha256 source <<LINE
$line
LINE
url=${HF_ENDPOINT:-https://huggingface.co}/$source/resolve/main/$file
whole=$folder/$file
part=$whole.part

if has sha256sum; then
    sum() { sha256sum "$1" | cut -d ' ' -f 1; }
elif has shasum; then
    sum() { shasum -a 256 "$1" | cut -d ' ' -f 1; }
elif has openssl; then
    sum() { openssl dgst -sha256 "$1" | sed 's/.* //'; }
else
    die 1 "sha256sum, shasum or openssl is needed to check the file"
fi

size() { if [ -f "$1" ]; then echo $(($(wc -c <"$1"))); else echo 0; fi; }

# Whether a whole file is the one of the table; says why not.
is_right() { # PATH
    if [ "$(size "$1")" -ne "$bytes" ]; then
        say "$1 has $(size "$1") bytes, $bytes are right"
        return 1
    fi
    actual=$(sum "$1")
    if [ "$sha256" = - ]; then
        say "the size is right; no SHA-256 is known to compare, this file's is $actual"
    elif [ "$actual" != "$sha256" ]; then
        say "$1 has SHA-256 $actual, $sha256 is right"
        return 1
    fi
}

# Downloads $url to the end of $part. 0: done, 4: can not write, 22: the server said no,
# 33: the server can not go on from the middle, else: it broke off.
if has curl; then
    download() {
        if [ -t 2 ]; then set -- --progress-bar; else set -- --silent --show-error; fi
        curl "$@" --fail --location --connect-timeout 30 --speed-limit 1000 --speed-time 60 --continue-at - --output "$part" "$url"
        case $? in
        0) return 0 ;;
        23) return 4 ;;
        22) return 22 ;;
        33 | 36) return 33 ;;
        *) return 1 ;;
        esac
    }
elif has wget; then
    download() {
        if [ -t 2 ]; then set --; else set -- -q; fi
        wget "$@" -T 60 -c -O "$part" "$url"
        case $? in
        0) return 0 ;;
        3) return 4 ;;
        8) return 22 ;;
        *) return 1 ;;
        esac
    }
else
    die 1 "curl or wget is needed"
fi

mkdir -p "$folder" || exit 4
if [ -e "$whole" ]; then
    is_right "$whole" || die 3 "$whole is not that model: move it away and try again"
    say "$whole is there already, and right"
    exit 0
fi
[ "$(size "$part")" -gt "$bytes" ] && rm -f "$part"
touch "$part" || exit 4
free=$(df -Pk "$folder" | awk 'NR == 2 { print $4 }')
need=$(((bytes - $(size "$part")) / 1024))
[ "${free:-$need}" -ge "$need" ] || die 4 "no space in $folder: $need KiB are needed, $free are free"

say "$url"
failures=0 # in a row, without a byte of progress
while [ "$(size "$part")" -lt "$bytes" ]; do
    before=$(size "$part")
    download
    result=$?
    after=$(size "$part")
    case $result in
    0) break ;;
    4) die 4 "can not write $part: $after of $bytes bytes are there" ;;
    22)
        [ "$after" -gt 0 ] || rm -f "$part"
        die 1 "the server does not have the file, or refuses it: $url"
        ;;
    33)
        say "the server can not go on from the middle: starting again"
        rm -f "$part"
        ;;
    esac
    if [ "$after" -gt "$before" ]; then
        failures=0
    else
        failures=$((failures + 1))
        if [ $failures -eq 3 ]; then
            [ "$after" -gt 0 ] || rm -f "$part"
            die 1 "the download broke off at $after of $bytes bytes; the same command goes on from there"
        fi
        sleep 1
    fi
    say "$after of $bytes bytes, trying again"
done

if ! is_right "$part"; then
    rm -f "$part"
    die 3 "this is not the file that was published under this name; it was removed"
fi
mv -f "$part" "$whole" || exit 4
echo "$whole"
