#!/bin/sh
# Batch: the files of a run. None is read and written at once, none overwrites another, and what
# keeps two runs from writing the same records.
. tests/cli/lib.sh
. tests/cli/batch_lib.sh
model=tests/golden/models/q1-tied.gguf
batch() { "$SIGNUM" batch -m $model -q -n 2 "$@"; }
refused() { # STATUS TEXT: how the last command ended, and what it said
    [ "$1" -eq 2 ] || fail "ends with $1: $(cat "$TMP/err")"
    err_has "$2"
}
unchanged() { cmp "$TMP/before" "$1" || fail "$1 was changed"; }

# --- input and output
printf '{"custom_id":"a","prompt":"x"}\n{"custom_id":"b","prompt":5}\n' >"$TMP/in"
cp "$TMP/in" "$TMP/before"
ln "$TMP/in" "$TMP/other_name"
for output in "$TMP/in" "$TMP/other_name"; do
    status=0
    batch --resume -o "$output" <"$TMP/in" >"$TMP/out" 2>"$TMP/err" || status=$?
    refused $status "is input and output at once"
done
for input in "-i $TMP/other_name" ""; do
    status=0
    # shellcheck disable=SC2086,SC2094 # words; that is the mistake
    batch $input <"$TMP/in" >>"$TMP/in" 2>"$TMP/err" || status=$?
    refused $status "standard output is the file that is read"
done
status=0
# shellcheck disable=SC2094
batch <"$TMP/in" >"$TMP/out" --summary "$TMP/in" 2>"$TMP/err" || status=$?
refused $status "would overwrite what this run reads or writes"
status=0
# shellcheck disable=SC2094
batch -i "$TMP/in" --summary "$TMP/out" >"$TMP/out" 2>"$TMP/err" || status=$?
refused $status "would overwrite what this run reads or writes"
expect 2 "$SIGNUM" batch -m $model -i "$TMP/in" --summary -
err_has "--summary needs a file"
unchanged "$TMP/in"
status=0
batch -i "$TMP/in" --summary /dev/stderr >"$TMP/out" 2>"$TMP/err" || status=$?
[ $status -eq 5 ] && grep -q '^{"done":1,"failed":1,' "$TMP/err" || fail "a summary elsewhere ends with $status: $(cat "$TMP/err")"

# --- only records are resumed
expect 2 "$SIGNUM" batch -m $model -i "$TMP/in" -o /dev/null --resume
err_has "--resume needs a file with records"
status=0
batch -i "$TMP/in" -o /dev/null || status=$?
[ $status -eq 5 ] || fail "-o /dev/null ends with $status"
status=0
batch -i "$TMP/in" -o - >"$TMP/records" || status=$?
[ $status -eq 5 ] && [ "$(wc -l <"$TMP/records")" -eq 2 ] || fail "-o - ends with $status"
expect 2 "$SIGNUM" batch -m $model -n 2 -i "$TMP/in" -o "$TMP/records" --resume --simple
err_has "was written without --simple"
batch --simple -i "$TMP/in" -o "$TMP/short"
expect 2 "$SIGNUM" batch -m $model -n 2 -i "$TMP/in" -o "$TMP/short" --resume
err_has "was written with --simple"
sed 's/"signum":"[0-9a-f]*"/"signum":"0123456789abcdef"/' "$TMP/records" >"$TMP/foreign"
expect 2 "$SIGNUM" batch -m $model -n 2 -i "$TMP/in" -o "$TMP/foreign" --resume
err_has "was written with another model, other settings or another version"

# --- --retry-failed writes a new file in the place of the old one: where a link points to, with its mode
chmod 600 "$TMP/records"
mkdir "$TMP/far"
mv "$TMP/records" "$TMP/far/records"
ln -s far/records "$TMP/records"
printf '{"custom_id":"a","prompt":"x"}\n{"custom_id":"b","prompt":"5"}\n' >"$TMP/in"
batch -i "$TMP/in" -o "$TMP/records" --retry-failed || fail "--retry-failed of a link"
[ -h "$TMP/records" ] || fail "--retry-failed replaces the link"
grep -c '"error":null' "$TMP/far/records" | grep -qx 2 || fail "--retry-failed: $(cat "$TMP/far/records")"
[ "$(find "$TMP/far" -perm 600)" = "$TMP/far/records" ] || fail "--retry-failed: $(ls -l "$TMP/far")"

# --- while it runs others are kept out of the new file, once it is killed they are not
i=0
while [ $i -lt 400 ]; do
    i=$((i + 1))
    echo "{\"custom_id\":\"$i\",\"prompt\":\"go on\",\"max_tokens\":400,\"ignore_eos\":true}"
done >>"$TMP/in"
lines() { wc -l <"$TMP/far/records"; }
"$SIGNUM" batch -m $model -q -n 2 -i "$TMP/in" -o "$TMP/records" -np 4 --retry-failed 2>"$TMP/err" &
pid=$!
tries=0
while [ "$(lines)" -lt 3 ] && [ $tries -lt 1000 ]; do
    sleep 0.02
    tries=$((tries + 1))
done
for flag in --resume --retry-failed; do
    expect 1 "$SIGNUM" batch -m $model -q -n 2 -i "$TMP/in" -o "$TMP/records" $flag
    err_has "another signum batch is writing"
done
kill -9 $pid
wait $pid 2>/dev/null
[ "$(lines)" -lt 402 ] || fail "the kill came too late to show anything"
head -n 2 "$TMP/in" >"$TMP/short"
batch -i "$TMP/short" -o "$TMP/records" --resume || fail "a killed run keeps others out"
exit 0
