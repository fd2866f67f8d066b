# signum: `make` builds ./signum and ./libsignum.a, `make test` proves them.
# Settings: CC=clang  SAN=1 (address and undefined-behaviour sanitizers)  OPENMP=1
#           OPT=-O0  WERROR=-Werror  PREFIX=/usr/local  LIBDIR=$(PREFIX)/lib  DESTDIR=
#           V=1 (show whole commands)  -jN (jobs at once; else as many as there are cores)
# Every variant has its own folder below build/, so they never mix.

CC      ?= cc
OPT     ?= -O2
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
VERSION := $(shell sed -n 's/.define SIGNUM_VERSION "\(.*\)"/\1/p' include/signum.h)
ARCH    := $(patsubst arm64,aarch64,$(firstword $(subst -, ,$(shell $(CC) -dumpmachine))))

# One file for every instruction-set level, with exactly its own flags; everything
# else is built for the baseline, so one binary runs everywhere.
ISA.x86_64   := avx2 avxvnni avx512 avx512popcnt avx512vnni amx
ISA.aarch64  := neon dotprod i8mm
FLAGS.avx2       := -mavx2 -mfma -mf16c -fno-tree-slp-vectorize
FLAGS.avxvnni    := $(FLAGS.avx2) -mavxvnni
FLAGS.avx512     := $(FLAGS.avx2) -mavx512f -mavx512bw -mavx512vl -mavx512dq
FLAGS.avx512vnni := $(FLAGS.avx512) -mavx512vnni
FLAGS.avx512popcnt := $(FLAGS.avx512vnni) -mavx512bitalg
FLAGS.amx        := $(FLAGS.avx512vnni) -mgfni -mamx-tile -mamx-int8
FLAGS.neon       :=
FLAGS.dotprod    := -march=armv8.2-a+dotprod
FLAGS.i8mm       := -march=armv8.2-a+dotprod+i8mm
LEVELS := $(foreach i,$(ISA.$(ARCH)),$(if $(wildcard src/kernels/$(i).c),$(i)))

CPPFLAGS += -Iinclude -Isrc -D_POSIX_C_SOURCE=200809L $(foreach i,$(LEVELS),-DSIGNUM_HAVE_$(i))
CFLAGS   += -std=c11 -g $(OPT) -ffp-contract=off -fno-math-errno -pthread -Wall -Wextra -Wshadow -Wundef \
            -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wvla $(WERROR)
LDLIBS   += -lm -pthread
VARIANT  := $(ARCH)-$(notdir $(firstword $(CC)))
ifdef SAN
  VARIANT := $(VARIANT)-san
  CFLAGS  += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
  LDFLAGS += -fsanitize=address,undefined
endif
ifdef OPENMP
  VARIANT := $(VARIANT)-openmp
  CFLAGS  += -fopenmp
  LDFLAGS += -fopenmp
endif
B ?= build/$(VARIANT)

POOL     := $(if $(OPENMP),src/pool_omp.c,src/pool.c)
LIB_SRC  := $(filter-out src/pool.c src/pool_omp.c,$(wildcard src/*.c)) $(POOL) \
            src/kernels/kernels.c src/kernels/scalar.c $(foreach i,$(LEVELS),src/kernels/$(i).c)
CLI_SRC  := $(wildcard src/cli/*.c)
TEST_SRC := $(wildcard tests/*.c)
obj       = $(patsubst %.c,$B/%.o,$(1))
LIB_OBJ  := $(call obj,$(LIB_SRC))
CLI_OBJ  := $(call obj,$(CLI_SRC))
TEST_OBJ := $(call obj,$(TEST_SRC))
TOOLS    := $(patsubst tools/%.c,$B/tools/%,$(wildcard tools/*.c))
OBJCOPY  ?= $(shell $(CC) -print-prog-name=objcopy)

# All cores by default. Not below another make, which has jobs of its own to give, and not
# when something is to be removed before something else is made.
ifeq ($(MAKELEVEL)$(filter clean uninstall,$(MAKECMDGOALS)),0)
  MAKEFLAGS += -j$(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
endif

# What is made, in one line each; with V=1 how; with -s nothing.
ifndef V
  Q := @
  ifeq ($(findstring s,$(firstword -$(filter-out --%,$(MAKEFLAGS)))),)
    say = @printf '  %-3s %s\n' $(1) $(2)
  endif
endif

.PHONY: all signum libsignum.a test check-all tools bench eval install uninstall clean help format lint fuzz replay isa-check
.SUFFIXES:

all: signum libsignum.a ## build ./signum and ./libsignum.a

$(foreach i,$(LEVELS),$(eval $B/src/kernels/$(i).o: CFLAGS += $(FLAGS.$(i))))

$B/tests/amx_model.o: CFLAGS += $(if $(filter x86_64,$(ARCH)),$(FLAGS.avx512vnni) -mgfni)
$B/tests/avxvnni_model.o: CFLAGS += $(if $(filter x86_64,$(ARCH)),$(FLAGS.avx2))

$B/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# What other programs link: one object whose only global names are the public ones, so that
# the library's own fail() or buf_append() never meets theirs.
$B/libsignum.a: $(LIB_OBJ)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(CC) $(filter -m%,$(CFLAGS)) -r -nostdlib -o $B/libsignum.o $^
	$(Q)$(OBJCOPY) --wildcard --keep-global-symbol='sg_*' $B/libsignum.o
	$(Q)$(AR) rcs $@ $B/libsignum.o

$B/signum: $(CLI_OBJ) $(LIB_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The test binary also links the CLI's modules but its main, so that they can be tested without a process.
$B/signum-tests: $(TEST_OBJ) $(filter-out %/main.o,$(CLI_OBJ)) $(LIB_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$B/tools/%: tools/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LDLIBS)

tools: $(TOOLS) ## build the C programs of tools/

# Phony, because each variant has its own original.
signum libsignum.a: %: $B/%
	@cmp -s $< $@ || cp -f $< $@

test: $B/signum $B/signum-tests $B/libsignum.a $B/signum.1 $(TOOLS) ## build and pass all tests (TESTS="gguf cli/layers" only these)
	@CC='$(CC)' sh tests/run.sh $B $(TESTS)

check-all: ## everything that is checked before a change is accepted: all variants, emulators, fuzzing
	@.ci/run

# Needs python3. WRONG=--wrong also prints each wrong answer, WRONG=--markdown the table of models/README.md.
eval: $B/signum ## ask the bundled model its 850 held-out questions and score the answers
	@rm -f $B/answers.jsonl
	$B/signum batch -q --temp 0 -m models/signum-demo.gguf -i models/eval.jsonl -o $B/answers.jsonl
	python3 tools/train/score.py $(WRONG) models/eval.jsonl $B/answers.jsonl

isa-check: $B/signum $B/libsignum.a ## no baseline object uses a wider instruction set
	@sh tests/run.sh $B cli/isa

# libFuzzer comes with clang. Without it: `make replay`, then $B/fuzz/fuzz_gguf [-n ROUNDS] FILE...
FUZZ         := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SRC     := $(addprefix src/,bpe.c buf.c error.c file.c gguf.c json.c model.c pretokenize.c quant.c r64.c tokenizer.c unicode.c utf8.c)
FUZZ_SECONDS ?= 30

build/fuzz/%: tests/fuzz/%.c tests/fuzz/fuzz.h $(FUZZ_SRC)
	@mkdir -p $(@D)
	clang $(CPPFLAGS) -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $@ $(filter %.c,$^) -lm

$B/fuzz/%: tests/fuzz/%.c tests/fuzz/replay.c tests/fuzz/fuzz.h $(LIB_OBJ)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.o,$^) $(LDLIBS)

replay: $(FUZZ:%=$B/fuzz/%) ## build the fuzz targets without libFuzzer

fuzz: $(FUZZ:%=build/fuzz/%) $B/tools/bad_files ## fuzz each target for FUZZ_SECONDS
	@sh tests/fuzz/run.sh build/fuzz $B/tools/bad_files $(FUZZ_SECONDS)

C_FILES := $(filter-out %_tables.h,$(wildcard $(addsuffix /*.[ch],include src src/kernels src/cli tests tests/fuzz tools tools/train)))

format: ## write all C files as .clang-format says
	clang-format -i $(C_FILES)

lint: ## what cppcheck and shellcheck have to say, and whether the format is right
	clang-format --dry-run -Werror $(C_FILES)
	cppcheck -q --error-exitcode=1 --std=c11 --platform=unix64 --enable=warning,performance --suppressions-list=.cppcheck \
	    -j2 $(filter-out $(foreach i,$(LEVELS),-DSIGNUM_HAVE_$(i)),$(CPPFLAGS)) -D__x86_64__ src src/kernels src/cli $(wildcard tools/*.c)
	shellcheck -x $(wildcard .ci/run tools/*.sh tests/*.sh tests/cli/*.sh tests/fuzz/*.sh)

# The man page's flags come from the program. When it was built for another machine, RUN is an
# emulator for it; without one the page has no list of flags.
$B/signum.1: src/cli/signum.1 tools/man.sh $B/signum
	@$(RUN) $B/signum --version >/dev/null 2>&1 || echo 'signum.1 will lack the flags: the program does not run here' >&2
	$(call say,MAN,$@)
	$(Q)sh tools/man.sh src/cli/signum.1 $(RUN) $B/signum >$@

# The demonstration model is the only one in models/ that belongs to the sources.
DEMO := $(wildcard models/signum-demo.gguf)
D     = $(DESTDIR)$(PREFIX)

install: $B/signum $B/libsignum.a $B/signum.1 ## program, library, header, pkg-config file, man page, demonstration model
	install -d $(D)/bin $(D)/include $(D)/share/man/man1 $(D)/share/signum $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 755 $B/signum $(D)/bin/
	install -m 644 $B/libsignum.a $(DESTDIR)$(LIBDIR)/
	install -m 644 include/signum.h $(D)/include/
	install -m 644 $B/signum.1 $(D)/share/man/man1/
	printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'Name: signum' 'Description: Inference for 1-bit language models' \
	    'Version: $(VERSION)' 'Cflags: -I$${prefix}/include' 'Libs: -L$${libdir} -lsignum -lm -pthread$(if $(OPENMP), -fopenmp)' \
	    >$(DESTDIR)$(LIBDIR)/pkgconfig/signum.pc
	$(if $(DEMO),install -m 644 $(DEMO) $(D)/share/signum/)

uninstall: ## remove what install put there (same PREFIX, LIBDIR and DESTDIR)
	rm -f $(D)/bin/signum $(D)/include/signum.h $(D)/share/man/man1/signum.1 $(D)/share/signum/signum-demo.gguf
	rm -f $(DESTDIR)$(LIBDIR)/libsignum.a $(DESTDIR)$(LIBDIR)/pkgconfig/signum.pc
	-rmdir $(D)/share/signum

clean: ## remove everything that was built
	rm -rf build signum libsignum.a

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

-include $(patsubst %.o,%.d,$(LIB_OBJ) $(CLI_OBJ) $(TEST_OBJ)) $(TOOLS:%=%.d)
