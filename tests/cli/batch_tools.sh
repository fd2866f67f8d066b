#!/bin/sh
# Batch: the calls of tools in OpenAI's form. The model knows nothing; a form makes it call.
. tests/cli/lib.sh
. tests/cli/batch_lib.sh
model=tests/golden/tokenizer/qwen3.gguf
batch() { "$SIGNUM" batch -m $model -q --think off "$@"; }
tools='"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}]'
calls='(Let me see\.\n)?<tool_call>\n\{"name": "weather", "arguments": \{"city": "[A-C]slo"\}\}\n</tool_call>'
quoted=$(printf '%s' "$calls" | sed 's/\\/\\\\/g; s/"/\\"/g')
messages='"messages":[{"role":"user","content":"What is the weather in Oslo?"}]'
cat >"$TMP/in" <<LINES
{"custom_id":"call","body":{$messages,$tools,"guided_regex":"$quoted"}}
{"custom_id":"two","body":{$messages,$tools,"n":2,"guided_regex":"$quoted\\\\n$quoted"}}
{"custom_id":"one","body":{$messages,$tools,"parallel_tool_calls":false,"guided_regex":"$quoted\\\\n$quoted"}}
{"custom_id":"cut","body":{$messages,$tools,"max_tokens":9,"guided_regex":"$quoted"}}
{"custom_id":"text","body":{$messages,$tools,"guided_regex":"It rains\\\\."}}
{"custom_id":"none","body":{$messages,$tools,"tool_choice":"none","guided_regex":"$quoted"}}
{"custom_id":"without","body":{$messages,"guided_regex":"$quoted"}}
LINES
batch -i "$TMP/in" -o "$TMP/out" -np 3 || fail "tools: $(cat "$TMP/out")"
record() { grep "\"custom_id\":\"$1\"" "$TMP/out"; }
says() { # ID TEXT
    record "$1" | grep -qF -- "$2" || fail "$1 lacks $2: $(record "$1")"
}
number() { record "$1" | grep -o '"type":"function"' | wc -l; }
record call | grep -qE '"content":(null|"Let me see\."),"tool_calls":\[\{"id":"call_[0-9a-f]+","type":"function","function":\{"name":"weather","arguments":"\{\\"city\\": \\"[A-C]slo\\"\}"\}\}\]\},"logprobs":null,"finish_reason":"tool_calls"' ||
    fail "call: $(record call)"
[ "$(number two)" -eq 4 ] || fail "two choices with two calls each: $(record two)"
[ "$(number one)" -eq 1 ] || fail "no parallel calls: $(record one)"
says cut '"finish_reason":"length"'
[ "$(number cut)" -eq 0 ] || fail "a call that was cut off: $(record cut)"
says text '"content":"It rains."},"logprobs"' # no line about calls
says text '"finish_reason":"stop"'
for id in none without; do
    says $id '<tool_call>'
    [ "$(number $id)" -eq 0 ] || fail "$id: $(record $id)"
done

# --- any company, and what was called can be told to the model
batch -i "$TMP/in" -o "$TMP/again" -np 1 -t 1 || fail "again"
same_records "$TMP/out" "$TMP/again" "calls depend on -np"
message=$(record call | sed 's/.*"message":\(.*\),"logprobs".*/\1/')
printf '%s\n' "{\"messages\":[{\"role\":\"user\",\"content\":\"Oslo?\"},$message,{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"rain\"}]}" |
    "$SIGNUM" render -m $model >"$TMP/rendered" || fail "the message can not be rendered: $message"
grep -qE '<tool_call>\\n\{\\"name\\": \\"weather\\", \\"arguments\\": \{\\"city\\": \\"[A-C]slo\\"\}\}\\n</tool_call>' "$TMP/rendered" ||
    fail "rendered: $(cat "$TMP/rendered")"

# --- what is wrong fails alone
cat >"$TMP/in" <<LINES
{"custom_id":"a","prompt":"x",$tools}
{"custom_id":"b","body":{$messages,"tools":{}}}
{"custom_id":"c","body":{$messages,"tools":[5]}}
{"custom_id":"d","body":{$messages,$tools,"tool_choice":"required"}}
{"custom_id":"e","body":{$messages,$tools,"parallel_tool_calls":1}}
LINES
status=0
batch -i "$TMP/in" >"$TMP/out" || status=$?
[ $status -eq 5 ] && [ "$(grep -c '"error":{"code":"invalid_request"' "$TMP/out")" -eq 5 ] || fail "wrong tools: $(cat "$TMP/out")"
exit 0
