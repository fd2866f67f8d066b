#include "proc.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_BYTES = 4096
};

/* ------------------------------------------------------------- small files */

static FILE *open_below(const char *root, const char *dir, const char *name)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s%s/%s", root, dir, name);
    return n > 0 && n < (int)sizeof path ? fopen(path, "re") : NULL;
}

/* The first line of a file, without its newline; false when there is none. */
static bool first_line(const char *root, const char *dir, const char *name, char *line, size_t size)
{
    FILE *f = open_below(root, dir, name);
    if (!f)
        return false;
    bool ok = fgets(line, (int)size, f) != NULL;
    fclose(f);
    if (ok)
        line[strcspn(line, "\n")] = 0;
    return ok;
}

/* An unsigned number at *text, which then stands behind it. What is no number ("max",
 * "-1") or does not fit is false. */
static bool number(char **text, uint64_t *out)
{
    uint64_t n = 0;
    char *s = *text;
    while (*s == ' ' || *s == '\t')
        s++;
    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(n, (uint64_t)10, &n) || __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
            return false;
    *text = s;
    *out = n;
    return true;
}

static bool number_file(const char *root, const char *dir, const char *name, uint64_t *out)
{
    char line[128], *at = line;
    return first_line(root, dir, name, line, sizeof line) && number(&at, out);
}

/* Adds up the values of two keys in a file of lines "key value". */
static uint64_t sum_of_keys(const char *root, const char *dir, const char *name, const char *key1, const char *key2)
{
    FILE *f = open_below(root, dir, name);
    if (!f)
        return 0;
    uint64_t sum = 0, value;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        size_t n = strcspn(line, " :\t");
        char *at = line + n + (line[n] != 0);
        line[n] = 0;
        if ((strcmp(line, key1) == 0 || strcmp(line, key2) == 0) && number(&at, &value))
            sum += value;
    }
    fclose(f);
    return sum;
}

/* ------------------------------------------------------------------- cores */

bool proc_cpus_has(const struct proc_cpus *cpus, size_t cpu) { return cpu < PROC_MAX_CPUS && cpus->bits[cpu / 64] >> cpu % 64 & 1; }

void proc_cpus_add(struct proc_cpus *cpus, size_t cpu)
{
    if (cpu < PROC_MAX_CPUS)
        cpus->bits[cpu / 64] |= (uint64_t)1 << cpu % 64;
}

/* Whether a list such as "0-1,64" names a CPU of the set below `cpu`. */
static bool lists_earlier(char *list, const struct proc_cpus *cpus, size_t cpu)
{
    uint64_t first, last;
    while (number(&list, &first)) {
        last = first;
        if (*list == '-') {
            list++;
            if (!number(&list, &last))
                return false;
        }
        for (uint64_t i = first; i <= last && i < cpu; i++)
            if (proc_cpus_has(cpus, (size_t)i))
                return true;
        if (*list != ',')
            break;
        list++;
    }
    return false;
}

int proc_cores(const char *root, const struct proc_cpus *cpus)
{
    int cores = 0;
    for (size_t cpu = 0; cpu < PROC_MAX_CPUS; cpu++) {
        if (!proc_cpus_has(cpus, cpu))
            continue;
        char dir[80], siblings[1024];
        snprintf(dir, sizeof dir, "/sys/devices/system/cpu/cpu%zu/topology", cpu);
        bool known = first_line(root, dir, "thread_siblings_list", siblings, sizeof siblings);
        cores += !(known && lists_earlier(siblings, cpus, cpu));
    }
    return MAX(cores, 1);
}

/* ----------------------------------------------------------------- cgroups */

/* Whether a comma-separated list holds a word. */
static bool listed(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        if (n == len && memcmp(at, word, len) == 0)
            return true;
        at += n + (at[n] == ',');
    }
    return false;
}

/* mountinfo writes a blank in a path as \040, and so on. */
static void unescape(char *path)
{
    char *to = path;
    for (const char *from = path; *from; to++) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = 0;
}

/* Where the hierarchy of a version 1 controller (NULL: version 2) is mounted, and which of
 * its directories the mount shows there.
 * A line: 36 35 98:0 /shown /mounted/at rw,noatime master:1 - cgroup2 source rw,cpu */
static bool find_mount(const char *root, const char *controller, char mount[PATH_BYTES], char shown[PATH_BYTES])
{
    FILE *f = open_below(root, "/proc/self", "mountinfo");
    if (!f)
        return false;
    char *line = NULL;
    size_t cap = 0;
    bool found = false;
    while (!found && getline(&line, &cap, f) > 0) {
        char type[32], options[1024];
        char *tail = strstr(line, " - ");
        if (!tail || sscanf(tail, " - %31s %*s %1023s", type, options) != 2)
            continue;
        if (controller ? strcmp(type, "cgroup") != 0 || !listed(options, controller) : strcmp(type, "cgroup2") != 0)
            continue;
        found = sscanf(line, "%*s %*s %*s %4095s %4095s", shown, mount) == 2;
    }
    free(line);
    fclose(f);
    if (found) {
        unescape(mount);
        unescape(shown);
    }
    return found;
}

/* One directory of a cgroup, from the process's own up to the top of what is mounted. */
typedef void visit_fn(void *arg, const char *root, const char *dir, bool v2);

static void visit_up(const char *root, const char *controller, const char *group, visit_fn *visit, void *arg)
{
    char mount[PATH_BYTES], shown[PATH_BYTES], dir[2 * PATH_BYTES];
    if (!find_mount(root, controller, mount, shown))
        return;
    /* Inside a container the mount often shows only the container's own directory. Paths
     * beyond it ("/..") can not be seen: then the top of the mount is all there is. */
    size_t hidden = strcmp(shown, "/") == 0 ? 0 : strlen(shown);
    if (strncmp(group, shown, hidden) != 0 || (group[hidden] != '/' && group[hidden] != 0) || strstr(group, ".."))
        group = "";
    else
        group += hidden;
    snprintf(dir, sizeof dir, "%s%s", mount, group);
    size_t top = strlen(mount), len = strlen(dir);
    for (;;) {
        while (len > top && dir[len - 1] == '/')
            dir[--len] = 0;
        visit(arg, root, dir, controller == NULL);
        if (len <= top)
            return;
        while (len > top && dir[len - 1] != '/')
            dir[--len] = 0;
    }
}

/* Visits all directories whose limits on `controller` ("cpu", "memory") bind this process. */
static void visit_cgroups(const char *root, const char *controller, visit_fn *visit, void *arg)
{
    FILE *f = open_below(root, "/proc/self", "cgroup");
    if (!f)
        return;
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, f) > 0) { /* 4:cpu,cpuacct:/path, and of version 2 0::/path */
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group || strlen(group) > PATH_BYTES)
            continue;
        controllers++;
        *group++ = 0;
        if (!*controllers)
            visit_up(root, NULL, group, visit, arg);
        else if (listed(controllers, controller))
            visit_up(root, controller, group, visit, arg);
    }
    free(line);
    fclose(f);
}

static void visit_cpu(void *arg, const char *root, const char *dir, bool v2)
{
    int *cpus = arg;
    uint64_t quota, period;
    if (v2) {
        char line[128], *at = line;
        if (!first_line(root, dir, "cpu.max", line, sizeof line) || !number(&at, &quota) || !number(&at, &period))
            return;
    } else if (!number_file(root, dir, "cpu.cfs_quota_us", &quota) || !number_file(root, dir, "cpu.cfs_period_us", &period)) {
        return;
    }
    if (quota > 0 && period > 0 && quota / period < (uint64_t)*cpus)
        *cpus = (int)MAX(quota / period, (uint64_t)1);
}

int proc_cpu_quota(const char *root)
{
    int cpus = INT_MAX;
    visit_cgroups(root, "cpu", visit_cpu, &cpus);
    return cpus;
}

static void visit_memory(void *arg, const char *root, const char *dir, bool v2)
{
    uint64_t *available = arg, limit = UINT64_MAX, used = 0, more;
    if (v2) {
        if (number_file(root, dir, "memory.max", &more))
            limit = more;
        if (number_file(root, dir, "memory.high", &more)) /* beyond it the kernel slows us down */
            limit = MIN(limit, more);
    } else {
        number_file(root, dir, "memory.limit_in_bytes", &limit);
    }
    if (limit >= UINT64_MAX / 4) /* version 1 writes "none" as almost 2^63 */
        return;
    uint64_t cache;
    number_file(root, dir, v2 ? "memory.current" : "memory.usage_in_bytes", &used);
    if (v2)
        cache = sum_of_keys(root, dir, "memory.stat", "inactive_file", "active_file");
    else
        cache = sum_of_keys(root, dir, "memory.stat", "total_inactive_file", "total_active_file");
    used -= MIN(used, cache); /* the model's own pages, most of all */
    *available = MIN(*available, limit - MIN(limit, used));
}

uint64_t proc_memory_available(const char *root)
{
    uint64_t kib = sum_of_keys(root, "/proc", "meminfo", "MemAvailable", "MemAvailable");
    if (kib == 0) /* before Linux 3.14 */
        kib = sum_of_keys(root, "/proc", "meminfo", "MemFree", "Cached");
    uint64_t available = kib == 0 || kib > UINT64_MAX / 1024 ? UINT64_MAX : kib * 1024;
    visit_cgroups(root, "memory", visit_memory, &available);
    return available;
}

uint64_t proc_address_space(const char *root) { return sum_of_keys(root, "/proc/self", "status", "VmSize", "VmSize") * 1024; }

/* -------------------------------------------------------------------- name */

void proc_cpu_name(const char *root, char *name, size_t size)
{
    snprintf(name, size, "unknown");
    FILE *f = open_below(root, "/proc", "cpuinfo");
    if (!f)
        return;
    char line[256], implementer[32] = "", part[32] = "";
    while (fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (!value)
            continue;
        value += 1 + strspn(value + 1, " \t");
        for (char *c = value; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7F)
                *c = c[1] ? ' ' : 0; /* the newline, and nothing that could move a terminal's cursor */
        if (strncmp(line, "model name", 10) == 0 && *value) {
            snprintf(name, size, "%s", value);
            fclose(f);
            return;
        }
        if (strncmp(line, "CPU implementer", 15) == 0) /* ARM has numbers only */
            snprintf(implementer, sizeof implementer, "%.31s", value);
        if (strncmp(line, "CPU part", 8) == 0)
            snprintf(part, sizeof part, "%.31s", value);
    }
    fclose(f);
    if (*implementer && *part)
        snprintf(name, size, "ARM implementer %s part %s", implementer, part);
}
