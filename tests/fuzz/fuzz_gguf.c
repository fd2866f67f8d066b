/* Everything that opening a model does with its file. */
#include <string.h>

#include "fuzz.h"
#include "gguf.h"
#include "model.h"
#include "tokenizer.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf g;
    struct model m = {0};
    struct tokenizer *t = NULL;
    struct sg_error err = {0};
    enum sg_status status = gguf_parse(&g, "FILE", (struct file_map){data, size}, &err);
    if (status == SG_OK)
        for (size_t i = 0; i < g.n_tensors; i++)
            MUST(g.tensors[i].data >= data && g.tensors[i].bytes <= (size_t)(data + size - g.tensors[i].data));
    if (status == SG_OK)
        status = model_open(&m, &g, &err);
    if (status == SG_OK)
        status = tokenizer_open(&t, &g, &err);
    MUST(status == SG_OK || (err.status == status && utf8_valid(err.message, strlen(err.message))));
    if (status == SG_OK) { /* and a text through what was opened */
        static const char text[] = "Hello, world! <|im_end|> \xE4\xBD\xA0\xE5\xA5\xBD e\xCC\x81 \xFF";
        struct ids ids = {0};
        struct buf back = {0};
        MUST(tokenizer_encode(t, text, sizeof text, true, &ids, &err) == SG_OK);
        for (size_t i = 0; i < ids.len; i++) {
            MUST(ids.data[i] >= 0 && (size_t)ids.data[i] < m.n_vocab);
            tokenizer_decode(t, ids.data[i], true, &back);
        }
        buf_free(&back);
        ids_free(&ids);
    }
    tokenizer_close(t);
    model_close(&m);
    gguf_close(&g);
    return 0;
}
