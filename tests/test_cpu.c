/* cpu.c and proc.c: machines made of files. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "check.h"
#include "cpu.h"
#include "proc.h"

static char machine[256];

/* A fresh, empty machine. */
static void make_machine(void)
{
    static int count;
    snprintf(machine, sizeof machine, "%s/machine%d", test_tmp(), count++);
    mkdir(machine, 0700);
}

/* Writes a file of the machine, with the folders above it. */
static void put(const char *path, const char *text)
{
    char full[1024];
    snprintf(full, sizeof full, "%s%s", machine, path);
    for (char *slash = full + strlen(machine) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    if (!CHECKF(f, "%s", full))
        return;
    fputs(text, f);
    fclose(f);
}

static struct proc_cpus cpus_of(int first, int n)
{
    struct proc_cpus cpus = {0};
    for (int i = 0; i < n; i++)
        proc_cpus_add(&cpus, (size_t)(first + i));
    return cpus;
}

TEST(cpu_nothing_known)
{
    make_machine();
    struct proc_cpus cpus = cpus_of(3, 5);
    char name[64];
    CHECK(proc_cores(machine, &cpus) == 5);
    CHECK(proc_cpu_quota(machine) == INT_MAX);
    CHECK(proc_memory_available(machine) == UINT64_MAX);
    CHECK(proc_address_space(machine) == 0);
    proc_cpu_name(machine, name, sizeof name);
    CHECK(strcmp(name, "unknown") == 0);
}

TEST(cpu_cores)
{
    make_machine();
    char path[96], text[32];
    for (int i = 0; i < 8; i++) { /* cores {0,4} {1,5} {2,6} {3,7} */
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
        snprintf(text, sizeof text, "%d,%d\n", i % 4, i % 4 + 4);
        put(path, text);
    }
    for (int i = 8; i < 12; i++) { /* cores {8,9} {10,11} */
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
        snprintf(text, sizeof text, "%d-%d\n", i / 2 * 2, i / 2 * 2 + 1);
        put(path, text);
    }
    static const struct {
        int first, n, cores;
    } cases[] = {{0, 12, 6}, {0, 8, 4}, {0, 4, 4}, {4, 4, 4},  {2, 4, 4}, {3, 5, 4},
                 {8, 4, 2},  {9, 2, 2}, {9, 3, 2}, {11, 1, 1}, {11, 3, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct proc_cpus cpus = cpus_of(cases[i].first, cases[i].n);
        CHECKF(proc_cores(machine, &cpus) == cases[i].cores, "%d from %d: %d", cases[i].n, cases[i].first, proc_cores(machine, &cpus));
    }
    struct proc_cpus none = {0}, odd = cpus_of(20, 2);
    CHECK(proc_cores(machine, &none) == 1);
    put("/sys/devices/system/cpu/cpu20/topology/thread_siblings_list", "");
    put("/sys/devices/system/cpu/cpu21/topology/thread_siblings_list", "99999999999999999999999-,x\n");
    CHECK(proc_cores(machine, &odd) == 2);
    put("/sys/devices/system/cpu/cpu21/topology/thread_siblings_list", "0-18446744073709551615\n");
    CHECK(proc_cores(machine, &odd) == 1);
    CHECK(!proc_cpus_has(&odd, PROC_MAX_CPUS));
    proc_cpus_add(&odd, PROC_MAX_CPUS);
    CHECK(!proc_cpus_has(&odd, PROC_MAX_CPUS));
}

TEST(cpu_quota_v2)
{
    make_machine();
    put("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
                                "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
    put("/proc/self/cgroup", "0::/user.slice/job.scope\n");
    CHECK(proc_cpu_quota(machine) == INT_MAX);
    put("/sys/fs/cgroup/user.slice/job.scope/cpu.max", "max 100000\n");
    CHECK(proc_cpu_quota(machine) == INT_MAX);
    put("/sys/fs/cgroup/user.slice/job.scope/cpu.max", "350000 100000\n");
    CHECK(proc_cpu_quota(machine) == 3);
    put("/sys/fs/cgroup/user.slice/cpu.max", "250000 100000\n"); /* the parent binds too */
    CHECK(proc_cpu_quota(machine) == 2);
    put("/sys/fs/cgroup/user.slice/cpu.max", "400000 100000\n");
    CHECK(proc_cpu_quota(machine) == 3);
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n"); /* so does the top, and less than one CPU is one */
    CHECK(proc_cpu_quota(machine) == 1);
    put("/sys/fs/cgroup/cpu.max", "5 0\n");
    CHECK(proc_cpu_quota(machine) == 3);
    put("/sys/fs/cgroup/cpu.max", "0 100000\n");
    CHECK(proc_cpu_quota(machine) == 3);
    put("/sys/fs/cgroup/cpu.max", "\n");
    CHECK(proc_cpu_quota(machine) == 3);
}

TEST(cpu_quota_v1)
{
    make_machine();
    /* As inside a container whose mount shows only its own directory; a blank in the path. */
    put("/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
                                "not a line\n"
                                "40 31 0:29 /docker/ab\\040c /sys/fs/cgroup/cpu,cpu\\040acct rw - cgroup cgroup rw,cpu,cpuacct\n");
    put("/proc/self/cgroup", "12:cpuset:/docker/ab c\n3:cpuacct,cpu:/docker/ab c/inner\n1:name=systemd:/\n\nodd\n");
    put("/sys/fs/cgroup/cpu,cpu acct/inner/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpu acct/inner/cpu.cfs_period_us", "100000\n");
    CHECK(proc_cpu_quota(machine) == INT_MAX);
    put("/sys/fs/cgroup/cpu,cpu acct/inner/cpu.cfs_quota_us", "800000\n");
    CHECK(proc_cpu_quota(machine) == 8);
    put("/sys/fs/cgroup/cpu,cpu acct/cpu.cfs_quota_us", "200000\n");
    CHECK(proc_cpu_quota(machine) == 8); /* no period there */
    put("/sys/fs/cgroup/cpu,cpu acct/cpu.cfs_period_us", "100000\n");
    CHECK(proc_cpu_quota(machine) == 2);
    /* A path that the mount does not show: the top of the mount is what can be seen. */
    put("/proc/self/cgroup", "3:cpuacct,cpu:/../elsewhere\n");
    CHECK(proc_cpu_quota(machine) == 2);
    put("/proc/self/cgroup", "3:cpuacct,cpu:/docker/ab cd\n");
    CHECK(proc_cpu_quota(machine) == 2);
    put("/proc/self/cgroup", "3:cpuacct:/docker/ab c\n"); /* "cpu" is not "cpuacct" */
    CHECK(proc_cpu_quota(machine) == INT_MAX);
}

TEST(cpu_memory)
{
    make_machine();
    put("/proc/meminfo", "MemTotal:  16000000 kB\nMemFree:  1000000 kB\nMemAvailable:    8000000 kB\nCached: 500000 kB\n");
    CHECK(proc_memory_available(machine) == 8000000u * UINT64_C(1024));
    put("/proc/meminfo", "MemTotal:  16000000 kB\nMemFree:  1000000 kB\nCached: 500000 kB\nSwapCached: 7 kB\n");
    CHECK(proc_memory_available(machine) == 1500000u * UINT64_C(1024));

    put("/proc/self/mountinfo", "41 31 0:38 / /cg rw - cgroup2 none rw\n40 31 0:29 / /mem rw - cgroup cgroup rw,memory\n");
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/cg/a/b/memory.max", "1000000000\n");
    put("/cg/a/b/memory.current", "700000000\n");
    CHECK(proc_memory_available(machine) == 300000000);
    put("/cg/a/b/memory.stat", "anon 100\nfile 600000000\ninactive_file 400000000\nactive_file 100000000\n");
    CHECK(proc_memory_available(machine) == 800000000); /* page cache can be taken back */
    put("/cg/a/b/memory.high", "900000000\n");
    CHECK(proc_memory_available(machine) == 700000000);
    put("/cg/a/memory.max", "max\n");
    put("/cg/a/memory.current", "1\n");
    CHECK(proc_memory_available(machine) == 700000000);
    put("/cg/a/memory.max", "5000000\n");
    put("/cg/a/memory.current", "6000000\n"); /* already over: nothing, not a huge number */
    CHECK(proc_memory_available(machine) == 0);

    put("/proc/self/cgroup", "4:memory:/job\n0::/nowhere\n");
    CHECK(proc_memory_available(machine) == 1500000u * UINT64_C(1024));
    put("/mem/memory.limit_in_bytes", "9223372036854771712\n"); /* what version 1 calls unlimited */
    put("/mem/job/memory.limit_in_bytes", "200000000\n");
    put("/mem/job/memory.usage_in_bytes", "150000000\n");
    put("/mem/job/memory.stat", "inactive_file 99\ntotal_inactive_file 30000000\ntotal_active_file 20000000\n");
    CHECK(proc_memory_available(machine) == 100000000);

    put("/proc/self/status", "Name:\tsignum\nVmPeak:\t 99 kB\nVmSize:\t    1234 kB\n");
    CHECK(proc_address_space(machine) == 1234 * 1024);
}

TEST(cpu_name)
{
    make_machine();
    char name[64];
    put("/proc/cpuinfo", "processor\t: 0\nvendor_id\t: X\nmodel name\t: Some CPU @ 3 GHz\nflags\t: a b\nmodel name\t: Other\n");
    proc_cpu_name(machine, name, sizeof name);
    CHECKF(strcmp(name, "Some CPU @ 3 GHz") == 0, "%s", name);
    proc_cpu_name(machine, name, 5);
    CHECK(strcmp(name, "Some") == 0);
    put("/proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n");
    proc_cpu_name(machine, name, sizeof name);
    CHECKF(strcmp(name, "ARM implementer 0x41 part 0xd0c") == 0, "%s", name);
    put("/proc/cpuinfo", "model name\t: a\033[31mb\n");
    proc_cpu_name(machine, name, sizeof name);
    CHECKF(strcmp(name, "a [31mb") == 0, "%s", name);
    put("/proc/cpuinfo", "model name\t:\n");
    proc_cpu_name(machine, name, sizeof name);
    CHECKF(strcmp(name, "unknown") == 0, "%s", name);
}

/* Random bytes in every file: any answer is fine, none may crash or hang. */
TEST(cpu_garbage)
{
    static const char *files[] = {
        "/proc/self/mountinfo", "/proc/self/cgroup", "/cg/cpu.max",   "/cg/memory.max",
        "/cg/memory.stat",      "/proc/cpuinfo",     "/proc/meminfo", "/sys/devices/system/cpu/cpu1/topology/thread_siblings_list"};
    static const char alphabet[] = "0123456789,-:/ /\n\t\\cgroup2 - cpu,memory rw max\001\377";
    make_machine();
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            char text[600];
            size_t n = (size_t)test_below(sizeof text), at = 0;
            if (i == 0)
                at = (size_t)sprintf(text, "1 2 3:4 / /cg rw - cgroup2 x rw\n1 2 3:4 /a /cg rw - cgroup x rw,cpu,memory\n");
            if (i == 1)
                at = (size_t)sprintf(text, "0::/\n1:cpu,memory:/a\n");
            for (; at < n; at++)
                text[at] = alphabet[test_below(sizeof alphabet - 1)];
            text[MIN(at, sizeof text - 1)] = 0;
            put(files[i], text);
        }
        struct proc_cpus cpus = cpus_of(0, 3);
        char name[64];
        CHECK(proc_cores(machine, &cpus) >= 1 && proc_cores(machine, &cpus) <= 3);
        CHECK(proc_cpu_quota(machine) >= 1);
        proc_memory_available(machine);
        proc_cpu_name(machine, name, sizeof name);
        CHECK(strlen(name) < sizeof name);
    }
}

TEST(cpu_this_machine)
{
    CHECK(cpu_usable() >= 1);
    CHECK(cpu_default_threads() >= 1 && cpu_default_threads() <= cpu_usable());
    CHECK(cpu_memory_available() > 0);
    CHECK(cpu_name() == cpu_name() && cpu_name()[0]);
    unsigned f = cpu_features();
    CHECK(f == cpu_features());
    CHECK(!(f & CPU_AVX512) || (f & CPU_AVX2)); /* no known CPU has it otherwise */
    CHECK((f & CPU_AVX512) || !(f & (CPU_AVX512VNNI | CPU_VPOPCNTDQ | CPU_BITALG | CPU_VBMI)));
#ifdef __aarch64__
    CHECK(f & CPU_NEON);
#endif
    /* The kernel's own list of flags must agree. */
    FILE *p = fopen("/proc/cpuinfo", "r");
    char line[8192], *flags = NULL;
    while (p && !flags && fgets(line, sizeof line, p))
        if (strncmp(line, "flags", 5) == 0 || strncmp(line, "Features", 8) == 0)
            flags = line;
    if (p)
        fclose(p);
    static const struct {
        const char *flag;
        unsigned feature;
    } names[] = {
        {" avx2 ", CPU_AVX2},
        {" avx_vnni ", CPU_AVXVNNI},
        {" avx512vl ", CPU_AVX512},
        {" avx512_vnni ", CPU_AVX512VNNI},
        {" avx512_vpopcntdq ", CPU_VPOPCNTDQ},
        {" avx512_bitalg ", CPU_BITALG},
        {" avx512vbmi ", CPU_VBMI},
        {" gfni ", CPU_GFNI},
        {" asimd ", CPU_NEON},
        {" asimddp ", CPU_DOTPROD},
        {" i8mm ", CPU_I8MM},
    };
    if (flags && strcmp(cpu_name(), "unknown") != 0) {
        line[strcspn(line, "\n")] = ' ';
#if defined __x86_64__
        bool same_machine = strstr(line, " lm ") != NULL; /* not so under an emulator */
#else
        bool same_machine = strstr(line, " asimd ") != NULL;
#endif
        for (size_t i = 0; same_machine && i < sizeof names / sizeof *names; i++) {
            bool listed = strstr(line, names[i].flag) != NULL;
            if (f & names[i].feature)
                CHECKF(listed, "%s detected, but the kernel does not list it", names[i].flag);
            else if (names[i].feature != CPU_AVX512 && names[i].feature != CPU_AVX2)
                CHECKF(!listed, "%s not detected, but the kernel lists it", names[i].flag);
        }
    }
}

/* ulimit -v counts. */
TEST(cpu_address_space_limit)
{
    struct rlimit old, small;
    uint64_t taken = proc_address_space("");
    if (taken == 0 || taken > (uint64_t)1 << 40 || getrlimit(RLIMIT_AS, &old) != 0 || old.rlim_cur != RLIM_INFINITY)
        return; /* no /proc, or a sanitizer's terabytes */
    small = (struct rlimit){.rlim_cur = (rlim_t)taken + (64u << 20), .rlim_max = old.rlim_max};
    struct rlimit set;
    if (setrlimit(RLIMIT_AS, &small) != 0 || getrlimit(RLIMIT_AS, &set) != 0 || set.rlim_cur != small.rlim_cur)
        return; /* an emulator pretends */
    size_t available = cpu_memory_available();
    setrlimit(RLIMIT_AS, &old);
    CHECKF(available <= 64u << 20, "%zu", available);
}
