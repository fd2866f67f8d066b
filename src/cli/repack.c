/* signum repack: a model file in the order in which decoding reads it, and back. */
#include "cli.h"

static void show(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    cli_progress("MiB written", (size_t)(done >> 20), (size_t)(total >> 20));
}

int cmd_repack(struct options *o)
{
    struct sg_error err;
    if (o->n_words != 2) {
        cli_error("repack needs the file to read and the file to write (signum help repack)");
        return SG_USAGE;
    }
    const struct sg_progress progress = {.interrupt = &cli_interrupted, .fn = show};
    int64_t begin = cli_microseconds();
    size_t n;
    if (sg_repack(o->words[0], o->words[1], o->undo, &progress, &n, &err) != SG_OK)
        return cli_fail(&err);
    if (o->verbose)
        cli_note("%zu matrices %s in %.2f s", n, o->undo ? "restored" : "rearranged", 1e-6 * (double)(cli_microseconds() - begin));
    return SG_OK;
}
