#include "choice.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "json.h"
#include "mathfn.h"

enum {
    AT_ONCE = 16
}; /* options that one evaluation takes */

enum sg_status choice_list(const struct options *o, struct choice **out, size_t *n, struct sg_error *err)
{
    size_t most = o->choices.n;
    for (const char *s = o->choices.n == 1 ? o->choices.item[0].data : ""; *s; s++)
        most += *s == ',';
    *n = 0;
    *out = calloc(most + 1, sizeof **out);
    if (!*out)
        return fail_memory(err, most * sizeof **out, "options");
    for (size_t i = 0; i < o->choices.n; i++) {
        struct sg_str s = o->choices.item[i];
        const char *comma;
        while (o->choices.n == 1 && (comma = memchr(s.data, ',', s.len))) {
            size_t len = (size_t)(comma - s.data);
            (*out)[(*n)++].text = (struct sg_str){s.data, len};
            s = (struct sg_str){comma + 1, s.len - len - 1};
        }
        (*out)[(*n)++].text = s;
    }
    for (size_t i = 0; i < *n; i++) {
        if ((*out)[i].text.len)
            continue;
        free(*out);
        *out = NULL;
        return fail(err, SG_USAGE, "--choice: option %zu is empty", i + 1);
    }
    return SG_OK;
}

enum sg_status choice_tokens(const struct sg_engine *engine, struct sg_str text, bool raw, struct ids *out, struct sg_error *err)
{
    int32_t *ids, end = sg_special_id(engine, "<|im_end|>");
    size_t n;
    TRY(sg_tokenize(engine, text.data, text.len, 0, &ids, &n, err));
    ids_append(out, ids, n);
    free(ids);
    if (!sg_is_eog(engine, end))
        end = sg_info(engine)->eos_id;
    if (!raw && end >= 0)
        ids_push(out, end);
    return out->failed ? fail_memory(err, n * sizeof *ids, "options") : SG_OK;
}

bool choice_is_best(const struct sg_engine *engine, const float *logits, int32_t id)
{
    size_t n = sg_info(engine)->n_vocab, greater = 0, equal = 0;
    for (size_t i = 0; i < n; i++)
        greater += logits[i] > logits[id];
    for (int32_t i = 0; i < id; i++)
        equal += !(logits[i] < logits[id] || logits[i] > logits[id]);
    return greater + equal == 0;
}

size_t choice_normalize(struct choice *choices, size_t n, bool by_tokens)
{
    size_t best = 0;
    double sum = 0, top = 0;
    for (size_t i = 0; i < n; i++) {
        choices[i].probability = by_tokens ? choices[i].logprob / (double)choices[i].n_tokens : choices[i].logprob;
        if (i == 0 || choices[i].probability > top) {
            top = choices[i].probability;
            best = i;
        }
    }
    for (size_t i = 0; i < n; i++) {
        choices[i].probability = exp_f64(choices[i].probability - top);
        sum += choices[i].probability;
    }
    for (size_t i = 0; i < n; i++)
        choices[i].probability /= sum;
    return best;
}

/* ------------------------------------------------------------------- scoring */

struct option {
    const struct sg_engine *engine;
    struct choice *choice;
    struct sg_session *session;
    struct ids ids;
    size_t first; /* position of its first token */
};

/* Takes the token at `index` into account, given the logits before it. */
static void add_token(struct option *o, size_t index, const float *logits)
{
    int32_t id = o->ids.data[index];
    o->choice->logprob += sg_logprob_of(o->engine, logits, id);
    o->choice->greedy &= choice_is_best(o->engine, logits, id);
}

static void on_logits(void *arg, size_t position, const float *logits)
{
    struct option *o = arg;
    add_token(o, position + 1 - o->first, logits);
}

static enum sg_status score_some(struct sg_engine *engine, const struct sg_session *session, struct option *options, size_t n,
                                 const struct options *o, struct sg_error *err)
{
    struct sg_feed feeds[AT_ONCE];
    size_t n_feeds = 0, length = sg_length(session);
    for (size_t i = 0; i < n; i++) {
        struct option *p = &options[i];
        p->engine = engine;
        p->first = length;
        TRY(choice_tokens(engine, p->choice->text, o->raw, &p->ids, err));
        p->choice->n_tokens = p->ids.len;
        p->choice->logprob = 0;
        p->choice->greedy = true;
        add_token(p, 0, sg_logits(session));
        size_t more = p->ids.len - 1; /* nothing follows the last one */
        if (!more)
            continue;
        TRY(sg_fork(&p->session, session, length, length + more, err));
        feeds[n_feeds++] =
            (struct sg_feed){.session = p->session, .ids = p->ids.data, .n = more, .n_logits = more, .on_logits = on_logits, .arg = p};
    }
    return n_feeds ? sg_eval(engine, feeds, n_feeds, err) : SG_OK;
}

enum sg_status choice_score(struct sg_engine *engine, const struct sg_session *session, struct choice *choices, size_t n,
                            const struct options *o, size_t *best, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < n && status == SG_OK; i += AT_ONCE) {
        struct option options[AT_ONCE] = {0};
        size_t some = MIN(n - i, (size_t)AT_ONCE);
        for (size_t k = 0; k < some; k++)
            options[k].choice = &choices[i + k];
        status = score_some(engine, session, options, some, o, err);
        for (size_t k = 0; k < some; k++) {
            sg_session_close(options[k].session);
            ids_free(&options[k].ids);
        }
    }
    *best = choice_normalize(choices, n, o->choice_norm);
    return status;
}

void choice_put(struct buf *out, const struct choice *choices, size_t n)
{
    buf_puts(out, "\"scores\":[");
    for (size_t i = 0; i < n; i++) {
        buf_puts(out, i ? ",{\"text\":" : "{\"text\":");
        json_put_string(out, choices[i].text.data, choices[i].text.len);
        buf_puts(out, ",\"probability\":");
        json_put_double(out, choices[i].probability);
        buf_puts(out, ",\"logprob\":");
        json_put_double(out, choices[i].logprob);
        buf_printf(out, ",\"tokens\":%zu,\"greedy\":%s}", choices[i].n_tokens, choices[i].greedy ? "true" : "false");
    }
    buf_putc(out, ']');
}
