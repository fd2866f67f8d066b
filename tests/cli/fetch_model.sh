#!/bin/sh
# tools/fetch_model.sh against a server on this machine, with curl and with wget.
. tests/cli/lib.sh
command -v python3 >/dev/null || skip "python3 is needed for the server"
command -v sha256sum >/dev/null || skip "sha256sum is needed"
command -v curl >/dev/null || command -v wget >/dev/null || skip "curl or wget is needed"
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

mkdir "$TMP/hub"
head -c 1000000 tests/golden/tokenizer/qwen3.gguf >"$TMP/hub/m.gguf"
hash=$(sha256sum "$TMP/hub/m.gguf" | cut -d ' ' -f 1)
row() { printf '%s\t%s\t%s\t%s\torg/repo\n' "$@" >>"$TMP/models.tsv"; }
row good m.gguf 1000000 "$hash"
row unhashed m.gguf 1000000 -
row wronghash m.gguf 1000000 "$(echo x | sha256sum | cut -d ' ' -f 1)"
row longer m.gguf 1000001 "$hash"
row shorter m.gguf 999999 "$hash"
row missing none.gguf 1000000 "$hash"
row huge m.gguf 999999999999999 "$hash"
export MODELS_TSV="$TMP/models.tsv"

python3 tests/cli/http_server.py "$TMP/hub" "$TMP/port" "$TMP/requests" &
server=$!
trap 'kill $server 2>/dev/null' EXIT
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -f "$TMP/port" ] && break
    sleep 0.1
done
[ -f "$TMP/port" ] || fail "the server did not start"
base=http://127.0.0.1:$(cat "$TMP/port")

fetch() { # STATUS WAY NAME: into $TMP/models
    export HF_ENDPOINT="$base/$2"
    : >"$TMP/requests"
    expect "$1" env PATH="$world" sh tools/fetch_model.sh "$3" "$TMP/models"
}
world=$PATH
have() { cmp "$TMP/hub/m.gguf" "$TMP/models/m.gguf" || fail "the file is wrong"; }
nothing() {
    for left in "$TMP"/models/*; do
        [ -e "$left" ] && fail "left behind: $left"
    done
}
again() { rm -rf "$TMP/models"; }

all_cases() {
    again
    fetch 0 ok good
    have
    [ "$(cat "$TMP/out")" = "$TMP/models/m.gguf" ] || fail "the path is not on stdout"
    fetch 0 ok good # a second time asks nobody
    err_has "is there already, and right"
    [ -s "$TMP/requests" ] && fail "downloaded twice"
    echo >>"$TMP/models/m.gguf"
    fetch 3 ok good
    err_has "1000001 bytes, 1000000 are right"

    again # from the middle
    mkdir "$TMP/models"
    head -c 400000 "$TMP/hub/m.gguf" >"$TMP/models/m.gguf.part"
    fetch 0 ok good
    have
    grep -q "ok m.gguf bytes=400000-" "$TMP/requests" || fail "did not resume: $(cat "$TMP/requests")"

    again # a server that can only begin at the beginning
    mkdir "$TMP/models"
    head -c 400000 "$TMP/hub/m.gguf" >"$TMP/models/m.gguf.part"
    fetch 0 norange good
    have

    again # everything is there but the name
    mkdir "$TMP/models"
    cp "$TMP/hub/m.gguf" "$TMP/models/m.gguf.part"
    fetch 0 ok good
    have
    [ -s "$TMP/requests" ] && fail "asked for what was there"

    again # too much is there
    mkdir "$TMP/models"
    cat "$TMP/hub/m.gguf" "$TMP/hub/m.gguf" >"$TMP/models/m.gguf.part"
    fetch 0 ok good
    have

    again
    fetch 0 ok unhashed
    have
    err_has "$hash"

    again
    fetch 3 ok wronghash
    err_has "has SHA-256 $hash"
    nothing
    fetch 3 ok longer
    nothing
    fetch 3 ok shorter
    nothing
    fetch 3 short good
    nothing
    fetch 1 ok missing
    err_has "does not have the file"
    nothing
    fetch 4 ok huge
    err_has "no space"
}

if command -v curl >/dev/null; then
    all_cases
    again # the line breaks again and again, but each time some bytes came
    fetch 0 drop good
    have
    again
    fetch 1 stuck good
    err_has "broke off at 0 of 1000000 bytes"
    nothing
    # A full disk (here a limit on the file's size) says so and keeps what is there.
    export HF_ENDPOINT="$base/ok"
    # shellcheck disable=SC2016 # the inner shell expands it
    expect 4 sh -c 'trap "" XFSZ; ulimit -f 500; exec sh tools/fetch_model.sh good "$1"' sh "$TMP/models"
    err_has "can not write"
    [ -s "$TMP/models/m.gguf.part" ] || fail "threw away what was there"
    fetch 0 ok good
    have
fi
if command -v wget >/dev/null; then
    mkdir "$TMP/bin" # a world without curl
    for tool in wget sh dirname grep awk sha256sum cut wc head sed mkdir rm mv touch df sleep printf cat; do
        ln -s "$(command -v $tool)" "$TMP/bin/$tool"
    done
    world=$TMP/bin
    all_cases
    world=$PATH
fi

kill $server
wait $server 2>/dev/null
again
fetch 1 ok good
err_has "broke off at 0"
nothing

expect 2 sh tools/fetch_model.sh
err_has "usage"
expect 2 sh tools/fetch_model.sh a b c
expect 2 sh tools/fetch_model.sh nosuch "$TMP/models"
err_has "no model 'nosuch'"
expect 2 sh tools/fetch_model.sh 'go.d' "$TMP/models"
expect 0 sh tools/fetch_model.sh --help
out_has "good"
unset MODELS_TSV
expect 0 sh tools/fetch_model.sh --help
out_has "Bonsai-1.7B-Q1_0.gguf"
