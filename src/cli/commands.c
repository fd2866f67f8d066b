/* commands.c: the commands, in the order of the help. */
#include "cli.h"

const struct command cli_commands[] = {
    {"run", CMD_RUN, "signum run [-m FILE] [TEXT... | -p TEXT | -f FILE]", "answer one prompt and exit", cmd_run},
    {"chat", CMD_CHAT, "signum chat [-m FILE] [-C | --session NAME]", "a conversation in the terminal", cmd_chat},
    {"batch", CMD_BATCH, "signum batch [-m FILE] -i REQUESTS -o RECORDS [--resume]", "answer thousands of prompts with one load",
     cmd_batch},
    {"perplexity", CMD_PERPLEXITY, "signum perplexity -m FILE -f TEXT [-c N]", "how well the model predicts a text", cmd_perplexity},
    {"tokenize", CMD_TOKENIZE, "signum tokenize -m FILE [TEXT... | -f FILE | --ids 1,2,3 | --jsonl]", "text to token ids and back",
     cmd_tokenize},
    {"render", CMD_RENDER, "signum render -m FILE --jsonl < CONVERSATIONS", "conversations to prompts", cmd_render},
    {"logits", CMD_LOGITS, "signum logits -m FILE (--ids 1,2,3 | -p TEXT) [-o OUT]", "raw float32 logits of every position", cmd_logits},
    {"bench", CMD_BENCH, "signum bench -m FILE [-p 512] [-n 128] [-d 0] [-t 1,2] [-r 5] [-o md|csv|json]",
     "how fast, and how near the machine's limit", cmd_bench},
    {"info", CMD_INFO, "signum info FILE [--json]", "what a model file is and needs", cmd_info},
    {"check", CMD_CHECK, "signum check FILE", "validate a model file and this CPU's kernels", cmd_check},
    {"repack", CMD_REPACK, "signum repack [--undo] IN OUT", "rewrite a model file in faster order, or back", cmd_repack},
    {"completion", CMD_COMPLETION, "signum completion bash|zsh|fish", "a script that makes a shell complete signum's flags",
     cmd_completion},
};
const size_t cli_n_commands = ARRAY_LEN(cli_commands);
