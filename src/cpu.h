/* cpu.h: what this processor and this process may use. Layer: base. */
#ifndef SIGNUM_CPU_H
#define SIGNUM_CPU_H

#include "base.h"

enum cpu_feature {        /* bits of cpu_features(); a bit is set only if the OS also saves the registers */
    CPU_AVX2 = 1 << 0,    /* AVX2, FMA and F16C */
    CPU_AVXVNNI = 1 << 1, /* 256-bit AVX-VNNI */
    CPU_AVX512 = 1 << 2,  /* F, BW, VL, DQ */
    CPU_AVX512VNNI = 1 << 3,
    CPU_VPOPCNTDQ = 1 << 4,
    CPU_BITALG = 1 << 5,
    CPU_VBMI = 1 << 6,
    CPU_GFNI = 1 << 7,
    CPU_AMX = 1 << 8, /* AMX-TILE and AMX-INT8, permission granted */
    CPU_NEON = 1 << 16,
    CPU_DOTPROD = 1 << 17,
    CPU_I8MM = 1 << 18,
};

/* Detected once; asks Linux for the AMX tile permission. */
unsigned cpu_features(void);

/* Physical cores within the affinity mask, capped by the cgroup v1/v2 quota
 * (rounded down, at least 1). */
int cpu_default_threads(void);

/* Logical CPUs that this process may run on, quota included: with more threads
 * than this nothing may spin. */
int cpu_usable(void);

/* Memory that this process may still take, cgroup limits included, in bytes. */
size_t cpu_memory_available(void);

/* Processor name, as the kernel tells it ("unknown" if it does not). Static. */
const char *cpu_name(void);

#endif
