/* proc.h: what Linux says in /proc and /sys about the machine and about this process's
 * share of it. Every function reads below `root` ("" is the real system), so that a test
 * can show it a machine made of files. A missing or strange file means "no limit", never
 * an error: containers hide all kinds of them. Layer: base. */
#ifndef SIGNUM_PROC_H
#define SIGNUM_PROC_H

#include "base.h"

enum {
    PROC_MAX_CPUS = 8192
};

/* A set of logical CPUs: CPU i is bit i%64 of word i/64. */
struct proc_cpus {
    uint64_t bits[PROC_MAX_CPUS / 64];
};
bool proc_cpus_has(const struct proc_cpus *cpus, size_t cpu);
void proc_cpus_add(struct proc_cpus *cpus, size_t cpu);

/* Physical cores that the CPUs of a set belong to: hyper-threads of one core count once. */
int proc_cores(const char *root, const struct proc_cpus *cpus);

/* How many CPUs' time the process's cgroups (version 1 and 2, and all their parents) allow:
 * rounded down, at least 1; INT_MAX without a limit. */
int proc_cpu_quota(const char *root);

/* Bytes of memory that can still be taken without swapping, after the cgroups' limits; page
 * cache counts as free. UINT64_MAX when nothing is known. */
uint64_t proc_memory_available(const char *root);

/* Bytes of addresses that the process has mapped; 0 when not known. */
uint64_t proc_address_space(const char *root);

/* The processor's name from cpuinfo, cut to size; "unknown" when it has none. */
void proc_cpu_name(const char *root, char *name, size_t size);

#endif
