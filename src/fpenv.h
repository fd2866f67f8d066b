/* fpenv.h: the floating-point mode that exact results need. A host program may run
 * with denormals flushed (-ffast-math sets that at start-up) or another rounding
 * direction; every public function that computes enters the default mode and
 * restores the caller's on the way out. Layer: base. */
#ifndef SIGNUM_FPENV_H
#define SIGNUM_FPENV_H

#include <fenv.h>

static inline fenv_t fp_enter(void)
{
    fenv_t saved;
    fegetenv(&saved);
    fesetenv(FE_DFL_ENV); /* round to nearest, no flushing, no traps */
    return saved;
}

static inline void fp_leave(fenv_t saved) { fesetenv(&saved); }

#endif
