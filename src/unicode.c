/* unicode.c: lookups in the generated tables, and normalization form C after UAX #15.
 *
 * A character that is a starter (combining class 0) and surely never joins what precedes it
 * (NFC_Quick_Check = Yes) is called a boundary here: text may be cut before it, and the parts
 * normalize on their own. Ordinary text is boundaries only and is copied; what lies between
 * two boundaries and may need work (a segment) is decomposed, sorted and composed. */
#include "unicode.h"

#include <stdlib.h>
#include <string.h>

#include "utf8.h"

enum quick_check {
    QC_YES,
    QC_MAYBE,
    QC_NO
};

struct record { /* all that is known of a character; few are different */
    uint8_t class, width, ccc, quick_check, decomposes;
};
struct span { /* the canonical decomposition of c, to the end */
    uint32_t c;
    uint16_t at, len; /* in pool */
};
struct pair { /* first + second = composite; sorted */
    uint32_t first, second, composite;
};

#include "unicode_tables.h"

const char unicode_version[] = UNICODE_TABLES_VERSION;

static const struct record *record_of(uint32_t c)
{
    if (c > 0x10FFFF)
        c = 0x10FFFF; /* unassigned */
    return &records[stage2[(size_t)stage1[c / UNICODE_BLOCK] * UNICODE_BLOCK + c % UNICODE_BLOCK]];
}

enum unicode_class unicode_class(uint32_t c) { return (enum unicode_class)record_of(c)->class; }

int unicode_width(uint32_t c) { return record_of(c)->width; }

/* Hangul syllables are computed, not tabulated (The Unicode Standard, section 3.12). */
enum {
    HANGUL_L = 0x1100,
    HANGUL_N_L = 19,
    HANGUL_V = 0x1161,
    HANGUL_N_V = 21,
    HANGUL_T = 0x11A7,
    HANGUL_N_T = 28, /* T + 0 is no character: "no final" */
    HANGUL_S = 0xAC00,
    HANGUL_N_S = HANGUL_N_L * HANGUL_N_V * HANGUL_N_T,
};

/* The code points of a segment. */
struct codes {
    uint32_t *data, *sorted; /* sorted: as long as data, for sorting */
    size_t len, cap;
    uint32_t local[64], local_sorted[64];
};

static bool codes_push(struct codes *v, uint32_t c)
{
    if (v->len == v->cap) {
        /* Both arrays in one allocation. */
        size_t cap, bytes;
        if (!mul_size(v->cap, 2, &cap) || !mul_size(cap, 2 * sizeof *v->data, &bytes))
            return false;
        uint32_t *grown = malloc(bytes);
        if (!grown)
            return false;
        memcpy(grown, v->data, v->len * sizeof *grown);
        if (v->data != v->local)
            free(v->data);
        v->data = grown;
        v->sorted = grown + cap;
        v->cap = cap;
    }
    v->data[v->len++] = c;
    return true;
}

static bool push_decomposed(struct codes *v, uint32_t c, const struct record *r)
{
    if (c - HANGUL_S < HANGUL_N_S) {
        uint32_t s = c - HANGUL_S, t = s % HANGUL_N_T;
        return codes_push(v, HANGUL_L + s / (HANGUL_N_V * HANGUL_N_T)) && codes_push(v, HANGUL_V + s / HANGUL_N_T % HANGUL_N_V) &&
               (t == 0 || codes_push(v, HANGUL_T + t));
    }
    if (!r->decomposes)
        return codes_push(v, c);
    size_t low = 0, high = ARRAY_LEN(spans) - 1;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (spans[mid].c < c)
            low = mid + 1;
        else
            high = mid;
    }
    for (size_t i = 0; i < spans[low].len; i++)
        if (!codes_push(v, pool[spans[low].at + i]))
            return false;
    return true;
}

/* Sorts a run of marks by combining class, stably. Long runs are counted into place: a file of
 * nothing but marks must not take quadratic time. */
static void sort_marks(uint32_t *marks, uint32_t *sorted, size_t n)
{
    if (n <= 32) {
        for (size_t i = 1; i < n; i++) {
            uint32_t c = marks[i];
            size_t at = i;
            for (; at > 0 && record_of(marks[at - 1])->ccc > record_of(c)->ccc; at--)
                marks[at] = marks[at - 1];
            marks[at] = c;
        }
        return;
    }
    size_t begin[257] = {0};
    for (size_t i = 0; i < n; i++)
        begin[record_of(marks[i])->ccc + 1]++;
    for (size_t i = 1; i < ARRAY_LEN(begin); i++)
        begin[i] += begin[i - 1];
    for (size_t i = 0; i < n; i++)
        sorted[begin[record_of(marks[i])->ccc]++] = marks[i];
    memcpy(marks, sorted, n * sizeof *marks);
}

static void sort_segment(struct codes *v)
{
    for (size_t i = 0; i < v->len; i++) {
        size_t begin = i;
        while (i < v->len && record_of(v->data[i])->ccc != 0)
            i++;
        sort_marks(v->data + begin, v->sorted, i - begin);
    }
}

/* The composite of two characters, or 0. */
static uint32_t composite(uint32_t first, uint32_t second)
{
    if (first - HANGUL_L < HANGUL_N_L && second - HANGUL_V < HANGUL_N_V)
        return HANGUL_S + ((first - HANGUL_L) * HANGUL_N_V + (second - HANGUL_V)) * HANGUL_N_T;
    if (first - HANGUL_S < HANGUL_N_S && (first - HANGUL_S) % HANGUL_N_T == 0 && second - (HANGUL_T + 1) < HANGUL_N_T - 1)
        return first + (second - HANGUL_T);
    if (record_of(second)->quick_check != QC_MAYBE)
        return 0;
    size_t low = 0, high = ARRAY_LEN(pairs);
    while (low < high) {
        size_t mid = (low + high) / 2;
        const struct pair *p = &pairs[mid];
        if (p->first == first && p->second == second)
            return p->composite;
        if (p->first < first || (p->first == first && p->second < second))
            low = mid + 1;
        else
            high = mid;
    }
    return 0;
}

static void compose_segment(struct codes *v)
{
    size_t starter = SIZE_MAX, len = 0; /* SIZE_MAX: none yet */
    for (size_t i = 0; i < v->len; i++) {
        uint32_t c = v->data[i];
        unsigned ccc = record_of(c)->ccc;
        if (starter != SIZE_MAX) {
            /* c reaches the starter unless something between them stands in its way. */
            bool reaches = len == starter + 1 || record_of(v->data[len - 1])->ccc < ccc;
            uint32_t whole = reaches ? composite(v->data[starter], c) : 0;
            if (whole) {
                v->data[starter] = whole;
                continue;
            }
        }
        if (ccc == 0)
            starter = len;
        v->data[len++] = c;
    }
    v->len = len;
}

/* Decodes the character at text; false when the bytes are ill-formed. */
static bool decode(const char *text, size_t len, uint32_t *c, size_t *n)
{
    *n = utf8_decode(text, len, c);
    return *c != UTF8_REPLACEMENT || (*n == 3 && memcmp(text, "\xEF\xBF\xBD", 3) == 0);
}

size_t unicode_nfc_prefix(const char *text, size_t len)
{
    size_t boundary = 0; /* where the last one is */
    unsigned ccc = 0;    /* of the character before i */
    for (size_t i = 0; i < len;) {
        if ((unsigned char)text[i] < 0x80) {
            ccc = 0;
            boundary = i++;
            continue;
        }
        uint32_t c;
        size_t n;
        if (!decode(text + i, len - i, &c, &n))
            return i; /* U+FFFD, which replaces it, is a boundary */
        const struct record *r = record_of(c);
        if (r->quick_check != QC_YES || (r->ccc != 0 && r->ccc < ccc))
            return boundary;
        if (r->ccc == 0)
            boundary = i;
        ccc = r->ccc;
        i += n;
    }
    return len;
}

/* Normalizes from text up to the next boundary (but at least one character) and returns how many
 * bytes that were. */
static size_t normalize_segment(struct buf *out, const char *text, size_t len)
{
    struct codes v = {.cap = ARRAY_LEN(v.local)};
    v.data = v.local;
    v.sorted = v.local_sorted;
    size_t i = 0;
    while (i < len) {
        uint32_t c;
        size_t n;
        bool well_formed = decode(text + i, len - i, &c, &n);
        const struct record *r = record_of(c);
        if (i > 0 && r->ccc == 0 && r->quick_check == QC_YES)
            break;
        if (!push_decomposed(&v, c, r)) {
            out->failed = true;
            break;
        }
        i += n;
        if (!well_formed)
            break; /* a boundary follows, or another replacement */
    }
    sort_segment(&v);
    compose_segment(&v);
    for (size_t k = 0; k < v.len; k++) {
        char bytes[4];
        buf_append(out, bytes, utf8_encode(v.data[k], bytes));
    }
    if (v.data != v.local)
        free(v.data);
    return i;
}

void unicode_nfc(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len && !out->failed;) {
        size_t n = unicode_nfc_prefix(text + i, len - i);
        buf_append(out, text + i, n);
        i += n;
        if (i < len)
            i += normalize_segment(out, text + i, len - i);
    }
}
