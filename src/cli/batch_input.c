#include "batch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void batch_input_close(struct batch_input *in)
{
    if (in->fd > STDIN_FILENO)
        close(in->fd);
    free(in->bytes);
    buf_free(&in->line);
    buf_free(&in->header);
}

/* -------------------------------------------------------------------- bytes */

enum {
    READ_BUFFER = 1 << 16
};

/* The next byte, or EOF at the end, when it can not be read (error says why), and when we are
 * interrupted while waiting for it. */
static int refill(struct batch_input *in)
{
    in->at = in->n = 0;
    while (!in->error && !in->cut) {
        ssize_t n = read(in->fd, in->bytes, READ_BUFFER);
        if (n > 0) {
            in->n = (size_t)n;
            return (unsigned char)in->bytes[in->at++];
        }
        if (n == 0)
            return EOF;
        in->cut = cli_interrupted;
        in->error = errno == EINTR ? 0 : errno;
    }
    return EOF;
}

static int next_byte(struct batch_input *in) { return in->at < in->n ? (unsigned char)in->bytes[in->at++] : refill(in); }

bool batch_input_ready(const struct batch_input *in)
{
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    return in->at < in->n || poll(&p, 1, 0) > 0;
}

/* ------------------------------------------------------------------ counting */

enum {
    COUNT_BUFFER = 1 << 20
};
static const off_t COUNT_MOST = (off_t)4 << 30; /* a file larger than that is not read twice */

/* Lines (CSV: rows, which newlines within quotes do not end) that are not blank, in what was
 * read so far. */
struct counter {
    bool quoted, begun; /* begun: the line holds something */
    size_t n;
};

static void end_line(struct counter *c)
{
    c->n += c->begun;
    c->begun = false;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static void count_lines(struct counter *c, const char *data, size_t n)
{
    for (const char *p = data, *end = data + n; p < end;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p)), *stop = newline ? newline : end;
        while (p < stop && is_blank(*p))
            p++;
        c->begun |= p < stop;
        if (newline)
            end_line(c);
        p = stop + 1;
    }
}

static void count_rows(struct counter *c, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n' && !c->quoted)
            end_line(c);
        else
            c->begun |= data[i] != '\r';
        c->quoted ^= data[i] == '"'; /* doubled ones change it back */
    }
}

size_t batch_input_count(const struct batch_input *in)
{
    struct stat s;
    off_t at = lseek(in->fd, 0, SEEK_CUR) - (off_t)(in->n - in->at);
    if (fstat(in->fd, &s) != 0 || !S_ISREG(s.st_mode) || at < 0 || s.st_size - at > COUNT_MOST)
        return 0;
    char *data = malloc(COUNT_BUFFER);
    struct counter c = {0};
    for (ssize_t n; data && (n = pread(in->fd, data, COUNT_BUFFER, at)) > 0; at += n)
        (in->csv ? count_rows : count_lines)(&c, data, (size_t)n);
    free(data);
    return c.n + c.begun; /* a last line without an end counts */
}

/* ------------------------------------------------------------------- reading */

/* One line without its end into in->line. A line over the limit is read to its end without
 * being kept, *long_line. False at the end of the file. */
static bool read_line(struct batch_input *in, bool *long_line)
{
    in->line.len = 0;
    *long_line = false;
    int c = next_byte(in);
    if (c == EOF)
        return false;
    for (; c != EOF && c != '\n'; c = next_byte(in)) {
        if (in->line.len < BATCH_LINE_MAX)
            buf_putc(&in->line, (char)c);
        else
            *long_line = true;
    }
    if (in->line.len && in->line.data[in->line.len - 1] == '\r')
        in->line.data[--in->line.len] = 0;
    return true;
}

/* ---------------------------------------------------------------------- CSV */

static bool is_separator(struct batch_input *in, int c)
{
    if (!in->separator && (c == ',' || c == ';' || c == '\t'))
        in->separator = c;
    return c && c == in->separator;
}

/* The next character of a row's beginning: empty lines and, in front of everything, a byte
 * order mark are skipped. */
static int begin_row(struct batch_input *in)
{
    int c = next_byte(in);
    if (in->number == 0 && c == 0xEF) {
        next_byte(in);
        next_byte(in);
        c = next_byte(in);
    }
    while (c == '\n' || c == '\r')
        c = next_byte(in);
    return c;
}

/* Reads one row (RFC 4180: quotes, doubled quotes, newlines within quotes) into a JSON array
 * of strings. False at the end of the file. */
static bool read_row(struct batch_input *in, struct buf *json, size_t *n_cells, bool *too_long, bool *open_quote)
{
    int c = begin_row(in);
    size_t length = 0;
    *n_cells = 0;
    *too_long = *open_quote = false;
    json->len = 0;
    if (c == EOF)
        return false;
    buf_putc(json, '[');
    struct buf cell = {0};
    for (bool more = true; more;) {
        bool quoted = c == '"';
        cell.len = 0;
        if (quoted)
            c = next_byte(in);
        for (;; c = next_byte(in)) {
            if (c == EOF) {
                *open_quote |= quoted;
                break;
            }
            if (quoted && c == '"') {
                c = next_byte(in);
                if (c != '"') {
                    quoted = false;
                    in->at -= c != EOF; /* it comes again */
                    continue;
                }
            } else if (!quoted && (c == '\n' || is_separator(in, c))) {
                break;
            }
            if (++length > BATCH_LINE_MAX)
                *too_long = true;
            else
                buf_putc(&cell, (char)c);
        }
        if (c != in->separator && cell.len && cell.data[cell.len - 1] == '\r')
            cell.len--;
        buf_puts(json, (*n_cells)++ ? "," : "");
        json_put_string(json, cell.data ? cell.data : "", cell.len);
        more = c == in->separator;
        if (more)
            c = next_byte(in);
    }
    json->failed |= cell.failed;
    buf_free(&cell);
    buf_putc(json, ']');
    return true;
}

/* A header and a row, both JSON arrays of strings, as one object. */
static enum sg_status join_row(const struct buf *header, const struct buf *row, struct buf *object, struct sg_error *err)
{
    struct json names, cells;
    TRY(json_parse(&names, header->data, header->len, err));
    enum sg_status status = json_parse(&cells, row->data, row->len, err);
    if (status != SG_OK) {
        json_free(&names);
        return status;
    }
    if (names.nodes->count != cells.nodes->count) {
        status = fail(err, SG_USAGE, "the row has %u cells, the header %u", cells.nodes->count, names.nodes->count);
    } else {
        const struct json_node *name = json_first(&names, names.nodes), *cell = json_first(&cells, cells.nodes);
        buf_putc(object, '{');
        for (bool first = true; name; first = false) {
            buf_puts(object, first ? "" : ",");
            buf_append(object, names.text + name->begin, name->end - name->begin);
            buf_putc(object, ':');
            buf_append(object, cells.text + cell->begin, cell->end - cell->begin);
            name = json_next(&names, names.nodes, name);
            cell = json_next(&cells, cells.nodes, cell);
        }
        buf_putc(object, '}');
    }
    json_free(&names);
    json_free(&cells);
    return status;
}

/* ----------------------------------------------------------------- template */

/* {name} becomes the field's text (strings as they are, other values as JSON); {{ and }} are
 * braces. The result is a request {"custom_id":..., "prompt":...}. */
static enum sg_status expand(const char *template, const struct json *j, struct buf *out, struct sg_error *err)
{
    if (j->nodes->type != JSON_OBJECT)
        return fail(err, SG_USAGE, "--template needs objects");
    struct buf prompt = {0};
    enum sg_status status = SG_OK;
    for (const char *p = template; *p && status == SG_OK;) {
        if ((p[0] == '{' && p[1] == '{') || (p[0] == '}' && p[1] == '}')) {
            buf_putc(&prompt, *p);
            p += 2;
        } else if (*p == '{') {
            const char *end = strchr(p, '}');
            struct buf name = {0};
            buf_append(&name, p + 1, end ? (size_t)(end - p - 1) : 0);
            const struct json_node *value = end && name.data ? json_get(j, j->nodes, name.data) : NULL;
            if (!end)
                status = fail(err, SG_USAGE, "a { of the template is never closed; {{ stands for a brace");
            else if (!value)
                status = fail(err, SG_USAGE, "the template's field \"%.60s\" is not there", name.data ? name.data : "");
            else if (value->type == JSON_STRING)
                json_string(j, value, &prompt);
            else
                buf_append(&prompt, j->text + value->begin, value->end - value->begin);
            buf_free(&name);
            p = end ? end + 1 : p + 1;
        } else {
            buf_putc(&prompt, *p++);
        }
    }
    if (status == SG_OK) {
        static const char *const id_names[] = {"custom_id", "id"};
        const struct json_node *id = NULL;
        for (size_t i = 0; i < ARRAY_LEN(id_names) && !id; i++)
            id = json_get(j, j->nodes, id_names[i]);
        buf_puts(out, "{");
        if (id && (id->type == JSON_STRING || id->type == JSON_NUMBER)) {
            buf_puts(out, "\"custom_id\":");
            if (id->type == JSON_STRING)
                buf_append(out, j->text + id->begin, id->end - id->begin);
            else
                buf_printf(out, "\"%.*s\"", (int)(id->end - id->begin), j->text + id->begin);
            buf_putc(out, ',');
        }
        buf_puts(out, "\"prompt\":");
        json_put_string(out, prompt.data ? prompt.data : "", prompt.len);
        buf_putc(out, '}');
        out->failed |= prompt.failed;
    }
    buf_free(&prompt);
    return status;
}

static enum sg_status use_template(const struct batch_input *in, const char *object, size_t len, struct buf *text, struct buf *fields,
                                   struct sg_error *err)
{
    struct json j;
    TRY(json_parse(&j, object, len, err));
    enum sg_status status = expand(in->template, &j, text, err);
    if (j.nodes->type == JSON_OBJECT)
        json_put_spaced(fields, &j, j.nodes);
    json_free(&j);
    return status;
}

/* ------------------------------------------------------------------- opening */

static int compare_names(const void *a, const void *b)
{
    const struct sg_str *x = a, *y = b;
    int order = memcmp(x->data, y->data, MIN(x->len, y->len));
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* Which of two columns of the same name would {name} be? Spreadsheets leave several without one. */
static enum sg_status check_names(const struct buf *header, struct sg_error *err)
{
    struct json j;
    TRY(json_parse(&j, header->data, header->len, err));
    size_t n = 0;
    struct sg_str *names = malloc((j.nodes->count + (size_t)1) * sizeof *names);
    enum sg_status status = names ? SG_OK : fail_memory(err, j.nodes->count * sizeof *names, "the header");
    for (const struct json_node *cell = json_first(&j, j.nodes); cell && names; cell = json_next(&j, j.nodes, cell))
        names[n++] = (struct sg_str){j.text + cell->begin, cell->end - cell->begin}; /* with quotes, which makes no difference */
    if (names)
        qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 1; i < n && status == SG_OK; i++)
        if (names[i].len > 2 && compare_names(&names[i - 1], &names[i]) == 0)
            status = fail(err, SG_USAGE, "the header names the column %.*s twice", (int)MIN(names[i].len, (size_t)60), names[i].data);
    free(names);
    json_free(&j);
    return status;
}

/* CSV's first row. A template that names no column of it is wrong for every row. */
static enum sg_status read_header(struct batch_input *in, struct sg_error *err)
{
    size_t n_cells;
    bool too_long, open_quote;
    struct buf object = {0}, text = {0}, fields = {0};
    if (!read_row(in, &in->header, &n_cells, &too_long, &open_quote))
        return SG_OK; /* nothing is no mistake */
    in->number = 1;
    in->separator = in->separator ? in->separator : ',';
    enum sg_status status = SG_OK;
    if (too_long || open_quote)
        status = fail(err, SG_USAGE, "the header is no row of CSV: %s", too_long ? "it is too long" : "a quote is never closed");
    if (status == SG_OK)
        status = check_names(&in->header, err);
    if (status == SG_OK)
        status = join_row(&in->header, &in->header, &object, err);
    if (status == SG_OK)
        status = use_template(in, object.data, object.len, &text, &fields, err);
    buf_free(&object);
    buf_free(&text);
    buf_free(&fields);
    return status;
}

enum sg_status batch_input_open(struct batch_input *in, const struct options *o, struct sg_error *err)
{
    const char *path = o->input && strcmp(o->input, "-") != 0 ? o->input : NULL;
    size_t len = path ? strlen(path) : 0;
    *in = (struct batch_input){.path = path ? path : "standard input", .lines = o->lines, .template = o->template};
    in->fd = STDIN_FILENO;
    in->csv = o->csv || (!o->lines && len > 4 && (strcmp(path + len - 4, ".csv") == 0 || strcmp(path + len - 4, ".tsv") == 0));
    if (in->csv && !in->template)
        return fail(err, SG_USAGE, "CSV needs --template, which says how a row becomes a prompt");
    if (in->lines && (in->csv || in->template))
        return fail(err, SG_USAGE, "--lines goes without --csv and --template");
    in->bytes = malloc(READ_BUFFER);
    if (!in->bytes)
        return fail_memory(err, READ_BUFFER, "the input");
    char shown[ESCAPED_MAX];
    if (path && (in->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return fail(err, SG_FAIL, "cannot open %s: %s", escaped(shown, path, len), strerror(errno));
    return in->csv ? read_header(in, err) : SG_OK;
}

/* --------------------------------------------------------------------- next */

static enum sg_status next_row(struct batch_input *in, struct buf *text, struct buf *fields, bool *more, struct sg_error *err)
{
    size_t n_cells;
    bool too_long, open_quote;
    struct buf object = {0};
    if (!(*more = read_row(in, &in->line, &n_cells, &too_long, &open_quote)))
        return SG_OK;
    in->number++;
    enum sg_status status = SG_OK;
    if (too_long || open_quote)
        status = fail(err, SG_USAGE, too_long ? "the row is longer than 64 MiB" : "a quote is never closed");
    if (status == SG_OK)
        status = join_row(&in->header, &in->line, &object, err);
    if (status == SG_OK)
        status = use_template(in, object.data, object.len, text, fields, err);
    buf_free(&object);
    return status;
}

static enum sg_status next_line(struct batch_input *in, struct buf *text, struct buf *fields, bool *more, struct sg_error *err)
{
    bool long_line;
    size_t blanks;
    do {
        if (!(*more = read_line(in, &long_line)))
            return SG_OK;
        in->number++;
        if (in->number == 1 && in->line.len >= 3 && memcmp(in->line.data, "\xEF\xBB\xBF", 3) == 0)
            buf_drop(&in->line, 3);
        for (blanks = 0; blanks < in->line.len && is_blank(in->line.data[blanks]);)
            blanks++;
    } while (blanks == in->line.len && !long_line);
    if (long_line)
        return fail(err, SG_USAGE, "the line is longer than 64 MiB");
    if (in->lines) {
        buf_puts(text, "{\"prompt\":");
        json_put_string(text, in->line.data, in->line.len);
        buf_putc(text, '}');
        return SG_OK;
    }
    if (in->template)
        return use_template(in, in->line.data, in->line.len, text, fields, err);
    buf_append(text, in->line.data, in->line.len);
    return SG_OK;
}

enum sg_status batch_input_next(struct batch_input *in, struct buf *text, struct buf *fields, bool *more, bool *bad, struct sg_error *err)
{
    text->len = fields->len = 0;
    enum sg_status status = in->csv ? next_row(in, text, fields, more, err) : next_line(in, text, fields, more, err);
    if (text->failed || fields->failed || in->line.failed || in->header.failed)
        return fail(err, SG_NO_MEMORY, "out of memory for a line of the input");
    if (in->error) {
        char shown[ESCAPED_MAX];
        return fail(err, SG_FAIL, "cannot read %s: %s", escaped(shown, in->path, strlen(in->path)), strerror(in->error));
    }
    *more &= !in->cut; /* half a line is no request */
    *bad = *more && status == SG_USAGE;
    return status == SG_USAGE ? SG_OK : status;
}
