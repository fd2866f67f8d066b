/* Schemas in one line: "name, age int, bio: two sentences". */
#include <string.h>

#include "json.h"
#include "schema.h"

static struct sg_str trimmed(const char *text, size_t len)
{
    while (len && strchr(" \t\r\n", text[0]) && text[0]) {
        text++;
        len--;
    }
    while (len && strchr(" \t\r\n", text[len - 1]) && text[len - 1])
        len--;
    return (struct sg_str){text, len};
}

static const char *json_type(struct sg_str word)
{
    static const char *const types[][2] = {{"", "string"},       {"str", "string"},      {"string", "string"},
                                           {"int", "integer"},   {"integer", "integer"}, {"float", "number"},
                                           {"number", "number"}, {"bool", "boolean"},    {"boolean", "boolean"}};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (strlen(types[i][0]) == word.len && memcmp(types[i][0], word.data, word.len) == 0)
            return types[i][1];
    }
    return NULL;
}

static bool is_name(struct sg_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '-')))
            return false;
    }
    return s.len > 0;
}

static enum sg_status add_field(struct sg_str field, struct buf *properties, struct buf *required, struct sg_error *err)
{
    char shown[ESCAPED_MAX];
    const char *colon = memchr(field.data, ':', field.len);
    size_t head_len = colon ? (size_t)(colon - field.data) : field.len, at = 0;
    while (at < head_len && field.data[at] != ' ' && field.data[at] != '\t')
        at++;
    struct sg_str name = {field.data, at}, type = trimmed(field.data + at, head_len - at);
    struct sg_str about = colon ? trimmed(colon + 1, field.len - head_len - 1) : (struct sg_str){"", 0};
    if (!is_name(name))
        return fail(err, SG_USAGE, "schema: \"%s\" does not begin with a name", escaped(shown, field.data, field.len));
    if (!json_type(type))
        return fail(err, SG_USAGE, "schema: there is no type \"%s\" (str, int, float and bool are)", escaped(shown, type.data, type.len));
    if (properties->len)
        buf_putc(properties, ',');
    json_put_string(properties, name.data, name.len);
    buf_printf(properties, ":{\"type\":\"%s\"", json_type(type));
    if (about.len) {
        buf_puts(properties, ",\"description\":");
        json_put_string(properties, about.data, about.len);
    }
    buf_putc(properties, '}');
    if (required->len)
        buf_putc(required, ',');
    json_put_string(required, name.data, name.len);
    return SG_OK;
}

enum sg_status schema_expand(const char *text, size_t len, struct buf *out, struct sg_error *err)
{
    struct buf properties = {0}, required = {0};
    struct sg_str rest = trimmed(text, len);
    char separator = memchr(rest.data, '\n', rest.len) ? '\n' : ',';
    enum sg_status status = rest.len ? SG_OK : fail(err, SG_USAGE, "schema: no field is named");
    while (rest.len && status == SG_OK) {
        const char *end = memchr(rest.data, separator, rest.len);
        size_t n = end ? (size_t)(end - rest.data) : rest.len;
        struct sg_str field = trimmed(rest.data, n);
        if (field.len || separator == ',')
            status = add_field(field, &properties, &required, err);
        n += end != NULL;
        rest = (struct sg_str){rest.data + n, rest.len - n};
    }
    if (status == SG_OK) {
        buf_puts(out, "{\"type\":\"object\",\"properties\":{");
        buf_append(out, properties.data, properties.len);
        buf_puts(out, "},\"required\":[");
        buf_append(out, required.data, required.len);
        buf_puts(out, "],\"additionalProperties\":false}");
        if (properties.failed || required.failed || out->failed)
            status = fail(err, SG_NO_MEMORY, "out of memory for a schema");
    }
    buf_free(&properties);
    buf_free(&required);
    return status;
}
