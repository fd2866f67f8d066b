/* The JSON reader; what it accepts must survive its own writer. */
#include <string.h>

#include "fuzz.h"
#include "json.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json j, again;
    struct sg_error err = {0};
    struct buf text = {0}, twice = {0};
    if (json_parse(&j, (const char *)data, size, &err) == SG_OK) {
        for (size_t i = 0; i < j.n_nodes; i++) {
            const struct json_node *node = &j.nodes[i];
            double d;
            int64_t n;
            uint64_t u;
            MUST(node->begin < node->end && node->end <= size && node->next > i && node->next <= j.n_nodes);
            json_double(&j, node, &d);
            json_int(&j, node, &n);
            json_uint(&j, node, &u);
            if (node->type == JSON_STRING) {
                text.len = 0;
                json_string(&j, node, &text);
                MUST(utf8_valid(text.data ? text.data : "", text.len));
            }
            size_t count = 0;
            for (const struct json_node *child = json_first(&j, node); child; child = json_next(&j, node, child))
                count++;
            MUST(node->type == JSON_ARRAY    ? count == node->count
                 : node->type == JSON_OBJECT ? count == 2 * (size_t)node->count
                                             : count == 0);
        }
        text.len = 0;
        json_put_spaced(&text, &j, j.nodes);
        MUST(json_parse(&again, text.data, text.len, &err) == SG_OK && again.n_nodes == j.n_nodes);
        json_put_spaced(&twice, &again, again.nodes);
        MUST(twice.len == text.len && memcmp(twice.data, text.data, text.len) == 0);
        json_free(&again);
    }
    json_free(&j);
    buf_free(&text);
    buf_free(&twice);
    return 0;
}
