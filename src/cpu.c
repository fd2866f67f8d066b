#define _GNU_SOURCE /* sched_getaffinity, syscall */
#include "cpu.h"

#include <pthread.h>
#include <unistd.h>

#include "proc.h"

#ifdef __linux__
#include <sched.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#endif

/* ---------------------------------------------------------------- features */

#if defined __x86_64__ || defined __i386__

#include <cpuid.h>

static bool bit(unsigned word, int i) { return word >> i & 1; }

/* Which register files the system saves at a context switch (XCR0). */
static uint64_t saved_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* The 8 KiB of tiles are granted only to a process that asks. */
static bool amx_granted(void)
{
#if defined __linux__ && defined __x86_64__
    enum {
        ARCH_REQ_XCOMP_PERM = 0x1023,
        XFEATURE_XTILEDATA = 18
    };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

static unsigned detect(void)
{
    enum {
        XMM_YMM = 0x6,
        AND_ZMM = 0xE6,
        TILES = 0x60000
    };
    unsigned a, b, c, d, features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    bool fma = bit(c, 12), xsave = bit(c, 27), avx = bit(c, 28), f16c = bit(c, 29);
    if (!xsave || !avx || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    uint64_t state = saved_state();
    if ((state & XMM_YMM) != XMM_YMM)
        return 0;
    if (bit(b, 5) && fma && f16c)
        features |= CPU_AVX2;
    if (bit(c, 8))
        features |= CPU_GFNI;
    if ((state & AND_ZMM) == AND_ZMM && bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31)) { /* F DQ BW VL */
        features |= CPU_AVX512;
        features |= bit(c, 1) ? CPU_VBMI : 0;
        features |= bit(c, 11) ? CPU_AVX512VNNI : 0;
        features |= bit(c, 12) ? CPU_BITALG : 0;
        features |= bit(c, 14) ? CPU_VPOPCNTDQ : 0;
    }
    if ((state & TILES) == TILES && bit(d, 24) && bit(d, 25) && amx_granted())
        features |= CPU_AMX;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && bit(a, 4))
        features |= CPU_AVXVNNI;
    return features;
}

#elif defined __aarch64__

static unsigned detect(void)
{
#ifdef __linux__
    enum {
        ASIMD = 1 << 1,
        ASIMDDP = 1 << 20,
        HWCAP2_BIT_I8MM = 1 << 13
    };
    unsigned long hwcap = getauxval(AT_HWCAP), hwcap2 = getauxval(AT_HWCAP2);
    unsigned features = 0;
    features |= hwcap & ASIMD ? CPU_NEON : 0;
    features |= hwcap & ASIMDDP ? CPU_DOTPROD : 0;
    features |= hwcap2 & HWCAP2_BIT_I8MM ? CPU_I8MM : 0;
    return features;
#else
    return CPU_NEON; /* part of the architecture */
#endif
}

#else

static unsigned detect(void) { return 0; }

#endif

static unsigned detected;
static char name[128];

static void look(void)
{
    detected = detect();
    proc_cpu_name("", name, sizeof name);
}

static pthread_once_t looked = PTHREAD_ONCE_INIT;

unsigned cpu_features(void)
{
    pthread_once(&looked, look);
    return detected;
}

const char *cpu_name(void)
{
    pthread_once(&looked, look);
    return name;
}

/* ------------------------------------------------------------------ shares */

/* The CPUs that this process is allowed on; returns how many. */
static int allowed(struct proc_cpus *cpus)
{
    int n = 0;
    *cpus = (struct proc_cpus){0};
#ifdef __linux__
    cpu_set_t sets[PROC_MAX_CPUS / CPU_SETSIZE];
    if (sched_getaffinity(0, sizeof sets, sets) == 0) {
        for (size_t i = 0; i < PROC_MAX_CPUS; i++) {
            if (CPU_ISSET(i % CPU_SETSIZE, &sets[i / CPU_SETSIZE])) {
                proc_cpus_add(cpus, i);
                n++;
            }
        }
    }
#endif
    if (n == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = (int)MIN(MAX(online, 1), (long)PROC_MAX_CPUS);
        for (int i = 0; i < n; i++)
            proc_cpus_add(cpus, (size_t)i);
    }
    return n;
}

int cpu_default_threads(void)
{
    struct proc_cpus cpus;
    allowed(&cpus);
    return MIN(proc_cores("", &cpus), proc_cpu_quota(""));
}

int cpu_usable(void)
{
    struct proc_cpus cpus;
    return MIN(allowed(&cpus), proc_cpu_quota(""));
}

size_t cpu_memory_available(void)
{
    uint64_t bytes = proc_memory_available("");
    if (bytes == UINT64_MAX) { /* no /proc: half of the machine is a fair guess */
        long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
        bytes = pages > 0 && page > 0 ? (uint64_t)pages / 2 * (uint64_t)page : (uint64_t)1 << 30;
    }
#ifdef __linux__
    struct rlimit space;
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) { /* ulimit -v */
        uint64_t limit = space.rlim_cur, taken = proc_address_space("");
        bytes = MIN(bytes, limit - MIN(limit, taken));
    }
#endif
    return (size_t)MIN(bytes, (uint64_t)SIZE_MAX / 2);
}
