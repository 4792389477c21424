# SPDX-License-Identifier: Apache-2.0
# Capstan. The lists below are the architecture: which program links what. `make layers` proves the walls.
#
#   make            everything into build/bin, build/lib, build/vats
#   make test       build and run all tests (installs missing packages first)
#   make demo       the whole thing, shown
#   make bench      figures; make fuzz-NAME fuzzes one decoder; make SAN=address,undefined … sanitised
SHELL := /bin/bash
CC ?= gcc
SAN ?=
B ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
comma := ,
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

WARN := -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wundef \
	-Wwrite-strings -Wvla $(if $(findstring clang,$(CC)),,-Wno-format-truncation) # text for people is cut on purpose
# Annotated with the language we use: gnu11, hidden symbols nowhere, asserts on in every build.
BASE_CFLAGS := -std=gnu11 -g -O2 -D_GNU_SOURCE -Iinclude -DCAPSTAN_VERSION='"$(VERSION)"' $(WARN) -MMD -MP
CFLAGS ?=
ALL_CFLAGS = $(BASE_CFLAGS) $(CFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
ALL_LDFLAGS = $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN))

# --- who links what ---------------------------------------------------------------------------------------------

# The kernel's own services, besides the console.
SERVICES := broker/arguments.c broker/timer.c broker/random.c broker/facet.c

# Shared by several programs. Only lib/reader.c and broker/store.c know LMDB.
LIB_BASE   := lib/util.c lib/ref.c
LIB_WIRE   := lib/wire.c
LIB_SCHEMA := lib/schema.c lib/vatwalk.c
LIB_JSON   := lib/smallcaps.c lib/jtext.c
LIB_CONFIG := lib/config.c
LIB_READER := lib/reader.c
LIB_CHECK  := lib/check.c lib/check_base.c lib/check_refs.c
LIB_OMAP   := lib/omap.c

CAPSTAND := broker/main.c broker/options.c broker/uidblock.c broker/instance.c broker/spawner.c broker/jail.c \
	broker/fsmount.c broker/fusermount.c broker/given.c \
	broker/broker.c broker/boot.c broker/kernel.c lib/loop.c broker/store.c broker/overlay.c broker/vatstore.c \
	broker/space.c \
	broker/channel.c broker/translate.c broker/clist.c broker/object.c broker/promise.c broker/queue.c \
	broker/router.c broker/crank.c broker/syscall.c broker/gc.c broker/cycle.c broker/collect.c broker/sweep.c broker/vat.c broker/life.c broker/aside.c broker/process.c \
	broker/launch.c broker/service.c broker/console.c broker/hosted.c broker/io.c broker/iopath.c broker/system.c broker/arrival.c broker/control.c broker/methods.c broker/upkeep.c broker/code.c broker/lease.c broker/live.c \
	$(LIB_BASE) $(LIB_WIRE) $(LIB_SCHEMA) $(LIB_JSON) $(LIB_CONFIG) $(LIB_OMAP)
CAPSTAND += $(SERVICES) broker/deadline.c broker/charge.c broker/underway.c
CAPSTAND_LIBS := -llmdb -ljansson -lcap -lmd -lpthread -lresolv -lsystemd

VATD := vatd/vatd.c
VATD_LIBS := -lcap -lseccomp

FS_TREE := fs/tree.c fs/tree_rows.c fs/tree_refs.c fs/text.c fs/view.c fs/work.c fs/render.c fs/render_queue.c fs/render_ref.c \
	fs/render_holders.c fs/render_waits.c fs/render_gc.c fs/render_vat.c fs/render_store.c \
	fs/tree_vats.c fs/render_life.c fs/render_usage.c fs/render_code.c fs/render_sub.c \
	fs/vatdata.c fs/vat_kinds.c fs/store_key.c fs/render_library.c \
	$(LIB_BASE) $(LIB_SCHEMA) $(LIB_JSON) $(LIB_READER)
FS_TREE += fs/render_event.c fs/tree_frozen.c
FS := fs/main.c fs/session.c fs/mount.c fs/serve.c fs/answer.c fs/request.c fs/path.c fs/look.c fs/access.c fs/charge.c fs/lease.c fs/lock.c lib/loop.c $(FS_TREE) $(LIB_CONFIG)
FS += fs/mount_open.c fs/mount_events.c fs/logfile.c fs/stream.c fs/watch.c fs/frozen.c
FS_LIBS := -lfuse3 -llmdb -ljansson -lseccomp -lpthread -lm

CLI := tools/capstan.c tools/client.c tools/view.c tools/viewer.c tools/text_json.c tools/fsck.c tools/output.c \
	$(LIB_BASE) $(LIB_WIRE) $(LIB_SCHEMA) $(LIB_JSON) $(LIB_CONFIG) $(LIB_READER) $(LIB_CHECK)
CLI_LIBS := -llmdb -ljansson

# The vat library: what a vat links. No store, no broker.
LIBCAPSTAN := vatd/lib/main.c vatd/lib/stdio.c vatd/lib/crank.c vatd/lib/channel.c vatd/lib/refs.c vatd/lib/cache.c vatd/lib/sweep.c vatd/lib/clean.c \
	vatd/lib/promise.c vatd/lib/wait.c vatd/lib/settled.c vatd/lib/send.c vatd/lib/combine.c vatd/lib/stream.c \
	vatd/lib/kinds.c vatd/lib/object.c vatd/lib/state.c vatd/lib/store.c vatd/lib/signature.c vatd/lib/value.c vatd/lib/valuetext.c vatd/lib/interface.c vatd/lib/keys.c vatd/lib/collection.c \
	$(LIB_BASE) $(LIB_WIRE) lib/jtext.c
LIBCAPSTAN += vatd/lib/watch.c
LIBCAPSTAN_LIBS :=

# The test library: several vats and a kernel in one process, so it holds both sides. Each half keeps its names to itself
# (both have a struct vat, and functions of the same name); what remains is what the public headers declare.
KIT_KERNEL := vatd/test/kernel.c $(LIB_CHECK) # and KERNEL, below
KIT_VATS = vatd/test/vat_test.c $(filter-out vatd/lib/main.c vatd/lib/stdio.c,$(LIBCAPSTAN))

# Example and test vats: one static program per source.
EXAMPLE_VATS := alice bob carol counter mint buyer seller table fork philosopher room member membrane plugin journal filter watcher
TEST_VATS := caller
TEST_VATS += hostile visitor keeper
TEST_VATS += waiter porter panel
TEST_VATS += sleeper steward

# Unit tests: test_NAME links what its module names and nothing more.
UNIT_TESTS :=
FUZZERS :=

UNIT_TESTS += test_util test_ref test_omap test_loop test_wire
LINK_test_util := lib/util.c
LINK_test_ref := $(LIB_BASE)
LINK_test_omap := $(LIB_OMAP) lib/util.c
LIBS_test_omap := -Wl,--wrap=malloc
LINK_test_loop := lib/loop.c lib/util.c
WIRE_SEEDS := tests/fuzz/wire_seeds.c tests/fuzz/wire_replay.c $(LIB_WIRE) $(LIB_BASE)
LINK_test_wire := $(WIRE_SEEDS)
LIBS_test_wire := -Wl,--wrap=realloc
FUZZERS += fuzz_wire
LINK_fuzz_wire := $(WIRE_SEEDS)

UNIT_TESTS += test_config test_control
LINK_test_config := lib/config.c lib/util.c
LIBS_test_config := -ljansson
FUZZERS += fuzz_config
LINK_fuzz_config := lib/config.c lib/util.c
LIBS_fuzz_config := -ljansson
LINK_test_control := broker/control.c lib/loop.c lib/util.c
LIBS_test_control := -ljansson -lpthread
UNIT_TESTS += test_cli test_view
LIBS_test_cli := -ljansson
LINK_test_view := tools/view.c tools/viewer.c tools/text_json.c tools/output.c $(LIB_JSON) $(LIB_BASE)
LIBS_test_view := -ljansson -lm -Wl,--wrap=poll

# The store and what reads it.
STORE := broker/store.c broker/overlay.c broker/space.c $(LIB_SCHEMA) $(LIB_OMAP) $(LIB_BASE)
UNIT_TESTS += test_schema test_store test_vatstore test_reader test_check test_fsck
LINK_test_schema := $(LIB_SCHEMA) $(LIB_BASE)
LINK_test_store := $(STORE)
LIBS_test_store := -llmdb
LINK_test_vatstore := broker/vatstore.c $(STORE)
LIBS_test_vatstore := -llmdb
LINK_test_reader := $(LIB_READER) $(STORE)
LIBS_test_reader := -llmdb
LINK_test_check := $(LIB_CHECK) broker/vatstore.c $(STORE)
LIBS_test_check := -llmdb
LINK_test_fsck := tools/fsck.c tools/output.c $(LIB_READER) $(LIB_CHECK) $(LIB_JSON) $(STORE)
LIBS_test_fsck := -llmdb -ljansson
FUZZERS += fuzz_rows
LINK_fuzz_rows := $(LIB_SCHEMA) $(LIB_BASE)

# The kernel in process: all that decides, without its processes and its socket.
KERNEL := broker/boot.c broker/kernel.c lib/loop.c broker/channel.c broker/translate.c broker/clist.c broker/object.c \
	broker/promise.c broker/queue.c broker/router.c broker/crank.c broker/syscall.c broker/gc.c broker/cycle.c broker/collect.c broker/sweep.c \
	broker/vat.c broker/life.c broker/aside.c broker/launch.c broker/service.c broker/console.c broker/hosted.c broker/io.c broker/iopath.c broker/system.c broker/arrival.c broker/code.c broker/vatstore.c \
	$(LIB_WIRE) $(LIB_JSON) $(LIB_CONFIG) $(STORE)
KERNEL += $(SERVICES) broker/methods.c broker/upkeep.c broker/deadline.c broker/charge.c broker/underway.c broker/live.c
KERNEL_TESTS := $(patsubst %,test_kernel_%,route promise cycle syscall life gc ahead io hostile random hosted)
KERNEL_TESTS += test_kernel_model
KERNEL_TESTS += test_kernel_limits test_kernel_underway test_kernel_facet test_kernel_live
UNIT_TESTS += $(KERNEL_TESTS)
$(foreach t,$(KERNEL_TESTS),$(eval LINK_$(t) := tests/unit/kernel_harness.c tests/runner/words.c $(LIB_CHECK) $(KERNEL)))
LINK_test_kernel_model += tests/unit/model.c
$(foreach t,$(KERNEL_TESTS),$(eval LIBS_$(t) := -llmdb -ljansson -lmd -lresolv -lpthread))

# Its clocks are played.
UNIT_TESTS += test_kernel_timer
LINK_test_kernel_timer := $(LINK_test_kernel_life)
LIBS_test_kernel_timer := $(LIBS_test_kernel_life) -Wl,--wrap=now_realtime_us,--wrap=now_boottime_us

# The scenario runner plays everything around the broker, which is a process or in it.
SCENARIO := $(patsubst %,tests/runner/%.c,main runner script words backend actors links tables steps ending)
SCENARIO_BROKER := $(filter-out broker/main.c broker/options.c broker/uidblock.c broker/instance.c broker/spawner.c broker/jail.c \
	broker/fsmount.c broker/fusermount.c broker/given.c,$(CAPSTAND)) $(LIB_READER) $(LIB_CHECK)

# The fault sweep: the same, but tests/fault/points.c stands between the broker and what can fail. Never sanitised: it has its own malloc.
FAULT := tests/fault/main.c tests/fault/points.c $(filter-out tests/runner/main.c,$(SCENARIO)) $(SCENARIO_BROKER)
FAULT_WRAPPED := broker_open kernel_savepoint kernel_rollback steps_run actor_spawn exit epoll_wait fallocate now_monotonic_ns now_realtime_us \
	$(addprefix store_,get put del next next_of savepoint release rollback commit) \
	$(addprefix mdb_,txn_begin txn_renew txn_commit put del get cursor_open cursor_renew cursor_get) \
	send sendmsg write socketpair memfd_create accept4 eventfd epoll_create1 open openat epoll_ctl pthread_create
FAULT_WRAP = $(patsubst %,-Wl$(comma)--wrap=%,$(FAULT_WRAPPED))

# The spawner's tests run real vats: capstan-vatd and a probe without a library.
UNIT_TESTS += test_options test_uidblock test_instance test_spawner test_code test_lease
LINK_test_options := broker/options.c lib/util.c
LINK_test_uidblock := broker/uidblock.c lib/util.c
LINK_test_instance := broker/instance.c broker/uidblock.c lib/util.c
LINK_test_spawner := broker/spawner.c broker/jail.c broker/fsmount.c broker/fusermount.c lib/util.c
LIBS_test_spawner := -lcap
LINK_test_code := broker/code.c lib/loop.c lib/util.c
LIBS_test_code := -lmd -lpthread
UNIT_TESTS += test_live
LINK_test_live := broker/live.c lib/schema.c $(LIB_BASE)
LIBS_test_live := -lpthread
LINK_test_lease := broker/lease.c broker/live.c lib/loop.c lib/schema.c $(LIB_BASE)

# The mount: its texts without FUSE; then the real thing (root and /dev/fuse, else skipped).
UNIT_TESTS += test_fs test_fs_mount
UNIT_TESTS += test_fs_vats test_fs_refs
LINK_test_fs_refs = $(LINK_test_fs)
LIBS_test_fs_refs := -llmdb -ljansson -lm
UNIT_TESTS += test_fs_library
LINK_test_fs_library = $(LINK_test_fs)
LIBS_test_fs_library := -llmdb -ljansson -lm
LINK_test_fs_vats = $(LINK_test_fs)
LIBS_test_fs_vats := -llmdb -ljansson -lm
LINK_test_fs := $(FS_TREE) $(filter-out $(LIB_BASE) $(LIB_SCHEMA),$(STORE))
LIBS_test_fs := -llmdb -ljansson -lm
LINK_test_fs_mount := $(STORE)
FS_MOUNT_TESTS := test_fs_mount test_fs_follow test_fs_frozen
UNIT_TESTS += test_fs_follow test_fs_frozen
LINK_test_fs_follow := $(STORE)
LINK_test_fs_frozen := $(STORE)
$(foreach t,$(FS_MOUNT_TESTS),$(eval LIBS_$(t) := -llmdb))
$(FS_MOUNT_TESTS:%=$(B)/unit/%): $(B)/bin/capstan-fs
UNIT_TESTS += test_fs_access
LINK_test_fs_access := fs/access.c fs/charge.c fs/logfile.c fs/frozen.c fs/lease.c $(FS_TREE)
LIBS_test_fs_access := -llmdb -ljansson -lm
UNIT_TESTS += test_fs_watch
LINK_test_fs_watch := fs/lease.c fs/watch.c lib/loop.c $(LIB_BASE)
UNIT_TESTS += test_fs_path test_fs_serve
LINK_test_fs_path := fs/path.c $(LINK_test_fs)
LIBS_test_fs_path := $(LIBS_test_fs)
LINK_test_fs_serve := fs/serve.c fs/answer.c fs/request.c fs/path.c fs/stream.c fs/access.c fs/charge.c lib/loop.c $(LINK_test_fs)
LIBS_test_fs_serve := $(LIBS_test_fs) -Wl,--wrap=now_monotonic_ns
FUZZERS += fuzz_serve
LINK_fuzz_serve = fs/serve.c fs/answer.c fs/request.c fs/path.c fs/stream.c fs/access.c fs/charge.c lib/loop.c $(filter-out $(LIB_READER),$(FS_TREE))
LIBS_fuzz_serve := -ljansson -lm

# The vat library, and the edges' half of smallcaps; vats run as processes with the test as their kernel.
VATLIB := $(filter-out vatd/lib/main.c vatd/lib/stdio.c,$(LIBCAPSTAN))
UNIT_TESTS += test_smallcaps test_vats test_vatlib test_vatpromise test_keys test_collections
LINK_test_smallcaps := $(LIB_JSON) $(LIB_BASE)
LIBS_test_smallcaps := -ljansson
LINK_test_vats := $(LIB_WIRE) $(LIB_BASE)
LINK_test_vatlib := $(VATLIB)
LINK_test_vatpromise := $(VATLIB)
LINK_test_keys := $(VATLIB)
LINK_test_collections := $(VATLIB)
FUZZERS += fuzz_smallcaps fuzz_vatvalue fuzz_keys
LINK_fuzz_vatvalue := $(VATLIB)
LINK_fuzz_keys := $(VATLIB)
LINK_fuzz_smallcaps := $(LIB_JSON) $(LIB_BASE)
LIBS_fuzz_smallcaps := -ljansson
$(B)/unit/test_vats: $(EXAMPLE_VATS:%=$(B)/vats/%) $(B)/vats/caller

TEST_VATS += trove
UNIT_TESTS += test_vatobjects
LINK_test_vatobjects := $(VATLIB)
UNIT_TESTS += test_vatthen
LINK_test_vatthen := $(VATLIB)

# Tests of vats by the test library, as their authors write them. PROGRAMS_<test>: programs of vatd/examples in them, each
# named NAME_program.
KIT_TESTS := test_kit test_watch test_mint
KIT_TESTS += test_newcomer test_streams test_keeping
UNIT_TESTS += $(KIT_TESTS)
PROGRAMS_test_kit := alice bob carol
PROGRAMS_test_mint := mint buyer seller
$(foreach t,$(KIT_TESTS),$(eval LIBS_$(t) := $(B)/lib/libcapstan-test.a -llmdb -ljansson -lmd -lresolv -lm -lpthread))
$(KIT_TESTS:%=$(B)/unit/%): $(B)/lib/libcapstan-test.a
$(foreach t,$(KIT_TESTS),$(eval $(B)/unit/$(t): $(PROGRAMS_$(t):%=$(B)/programs/%.o)))

# The same with the inside of the library: it recounts what a vatstore says.
UNIT_TESTS += test_vatrandom
LINK_test_vatrandom = $(KIT_VATS)
LIBS_test_vatrandom = -llmdb -ljansson -lmd -lresolv -lm -lpthread
$(B)/unit/test_vatrandom: $(B)/kit/kernel.o

# A vat in another language, with the test as its kernel: both are scripts.
UNIT_TESTS += test_python
$(B)/unit/test_python: tests/unit/test_python.py
	@mkdir -p $(@D)
	install -m 755 $< $@

# --- rules -------------------------------------------------------------------------------------------------------

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
BIN := $(B)/bin
PROGRAMS := $(BIN)/capstand $(BIN)/capstan-vatd $(BIN)/capstan-fs $(BIN)/capstan
LIBS := $(B)/lib/libcapstan.a $(B)/lib/libcapstan.so $(B)/lib/pkgconfig/libcapstan.pc \
	$(B)/lib/libcapstan-test.a $(B)/lib/pkgconfig/libcapstan-test.pc
VATS := $(patsubst %,$(B)/vats/%,$(EXAMPLE_VATS) $(TEST_VATS))

.PHONY: all programs libs vats test demo install clean layers deps unit fuzzers helpers sweep
.DELETE_ON_ERROR:
.SECONDARY:
all: programs libs vats
programs: $(PROGRAMS)
libs: $(LIBS)
vats: $(VATS)

$(B)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<
$(B)/programs/%.o: vatd/examples/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -DVAT_PROGRAM_NAME=$*_program -c -o $@ $<
# The vat library and vats are never sanitised (vats are static); they are position-independent for the .so.
$(B)/vobj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) $(CFLAGS) -fPIC -c -o $@ $<

$(BIN)/capstand: $(call obj,$(CAPSTAND)) Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(CAPSTAND_LIBS)
# The first stage runs in an empty root: static, and so never sanitised.
$(BIN)/capstan-vatd: $(patsubst %.c,$(B)/vobj/%.o,$(VATD)) Makefile
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -static -o $@ $(filter %.o,$^) $(VATD_LIBS)
$(BIN)/capstan-fs: $(call obj,$(FS)) Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(FS_LIBS)
$(BIN)/capstan: $(call obj,$(CLI)) Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(CLI_LIBS)

$(B)/lib/libcapstan.a: $(patsubst %.c,$(B)/vobj/%.o,$(LIBCAPSTAN)) Makefile
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $(filter %.o,$^)
$(B)/lib/libcapstan.so: $(patsubst %.c,$(B)/vobj/%.o,$(LIBCAPSTAN)) Makefile
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -shared -Wl,-soname,libcapstan.so.0 -o $@ $(filter %.o,$^) $(LIBCAPSTAN_LIBS)
	ln -sf libcapstan.so $(@D)/libcapstan.so.0
$(B)/kit/kernel.o: $(call obj,$(KIT_KERNEL) $(KERNEL)) Makefile
	@mkdir -p $(@D)
	$(LD) -r -o $@ $(sort $(filter %.o,$^))
	objcopy -w -G 'kit_*' $@
$(B)/kit/names: include/capstan/vat.h include/capstan/vat_test.h
	@mkdir -p $(@D)
	grep -ohE '\bvat_[a-z0-9_]+\(' $^ | tr -d '(' | sort -u > $@
$(B)/lib/libcapstan-test.a: $(B)/kit/kernel.o $(call obj,$(KIT_VATS)) $(B)/kit/names Makefile
	@mkdir -p $(@D)
	@rm -f $@
	$(LD) -r -o $(B)/kit/capstan-test.o $(filter %.o,$^)
	objcopy --keep-global-symbols=$(B)/kit/names $(B)/kit/capstan-test.o
	$(AR) rcs $@ $(B)/kit/capstan-test.o
$(B)/lib/pkgconfig/%.pc: vatd/%.pc.in Makefile
	@mkdir -p $(@D)
	sed -e 's|@INCLUDEDIR@|$(CURDIR)/include|' -e 's|@LIBDIR@|$(abspath $(B))/lib|' -e 's|@VERSION@|$(VERSION)|' $< > $@

$(B)/vats/%: vatd/examples/%.c $(B)/lib/libcapstan.a Makefile
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) -static -o $@ $< $(B)/lib/libcapstan.a $(LIBCAPSTAN_LIBS)
$(B)/vats/%: tests/vats/%.c $(B)/lib/libcapstan.a Makefile
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) -Ilib -static -o $@ $< $(B)/lib/libcapstan.a $(LIBCAPSTAN_LIBS)

$(B)/vats/vat_probe: tests/vats/vat_probe.c vatd/stage.h Makefile
	@mkdir -p $(@D)
	$(CC) $(filter-out -MMD -MP,$(BASE_CFLAGS)) -static -o $@ $<
$(B)/unit/test_spawner: $(BIN)/capstan-vatd $(B)/vats/vat_probe

# Unit tests: LINK_<name> lists the sources, LIBS_<name> the libraries.
unit: $(patsubst %,$(B)/unit/%,$(UNIT_TESTS)) $(B)/tests/scenario $(if $(SAN),,$(B)/tests/fault)
.SECONDEXPANSION:
$(B)/unit/%: $(B)/obj/tests/unit/%.o $$(call obj,$$(LINK_$$*)) Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -lcmocka $(LIBS_$*)
# It runs the built program, which stands beside it.
$(B)/unit/test_cli: $(BIN)/capstan

# Fuzzers: clang's libFuzzer over the same LINK_/LIBS_ lists. `fuzz-NAME` runs FUZZ_SECONDS (default 60).
FUZZ_SECONDS ?= 60
FUZZ_CFLAGS := $(filter-out -MMD -MP -Wno-format-truncation,$(BASE_CFLAGS)) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
fuzzers: $(patsubst %,$(B)/fuzz/%,$(FUZZERS))
$(B)/fuzz/%: tests/fuzz/%.c $$(LINK_$$*) Makefile
	@mkdir -p $(@D)
	clang $(FUZZ_CFLAGS) -o $@ $(filter %.c,$^) $(LIBS_$*)
# Renews the frame decoder's seeds; what fuzzing found beside them stays.
.PHONY: corpus-wire
$(B)/make_wire_corpus: $(call obj,tests/fuzz/make_wire_corpus.c $(WIRE_SEEDS)) Makefile
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^)
corpus-wire: $(B)/make_wire_corpus
	@mkdir -p tests/corpus/wire
	$< tests/corpus/wire
# The dumps of docs/PROTOCOL.md.
.PHONY: wire-example
$(B)/make_wire_example: $(call obj,tests/fuzz/make_wire_example.c $(LIB_WIRE) $(LIB_BASE)) Makefile
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^)
wire-example: $(B)/make_wire_example
	@$<
fuzz-%: $(B)/fuzz/fuzz_%
	@mkdir -p $(B)/fuzz/work-$* && $< -max_total_time=$(FUZZ_SECONDS) -max_len=4096 $(B)/fuzz/work-$* tests/corpus/$*

# One scenario, told step by step: make scenario S=tests/scenarios/…
$(B)/tests/scenario: $(call obj,$(SCENARIO) $(SCENARIO_BROKER)) Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -llmdb -ljansson -lmd -lresolv -lpthread
.PHONY: scenario scenario-index
# Which rules no scenario names yet.
scenario-index:
	@tests/runner/index -v
scenario: $(B)/tests/scenario $(BIN)/capstand
	@$< -v -j1 $(S)

$(B)/tests/fault: $(call obj,$(FAULT)) Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -rdynamic $(FAULT_WRAP) -o $@ $(filter %.o,$^) -llmdb -ljansson -lmd -lresolv -lpthread

# Small programs of the tests themselves: deadlines, waiting for events, clients and killers by hand.
HELPERS := within await rpc storm
helpers: $(patsubst %,$(B)/helpers/%,$(HELPERS))
$(B)/helpers/%: tests/helpers/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) $(CFLAGS) -MF $@.d -o $@ $< $(LIBS_helper_$*)
LIBS_helper_storm := -ljansson

# Everything is tested twice: as it is shipped, and sanitised. The last line is the count.
SAN_SUITE := address,undefined
SAN_BUILD := $(B)-$(subst $(comma),-,$(SAN_SUITE))
PARALLEL ?= -j$(shell nproc)
test: deps
	@$(MAKE) --no-print-directory $(PARALLEL) all unit fuzzers helpers
	@$(MAKE) --no-print-directory $(PARALLEL) SAN=$(SAN_SUITE) B=$(SAN_BUILD) all unit
	@tests/run -b $(B) -s $(SAN_BUILD)
layers: all
	@tests/layers $(B)
# The deterministic sweeps: at every single write and sync; and every call of the broker that can fail (docs/FAULTS.md).
sweep: all helpers $(B)/tests/fault
	@$(B)/tests/fault -T $$(sed '/^#/d; s|.*|tests/scenarios/&.txt|' tests/fault/scenarios)
	@SWEEP_STEP=1 SWEEP_CALLS=25 tests/run -b $(B) 'system/sweep'
demo:
	@tests/demo $(B)
# The bench: our own programs and vats; and what they are compared with, as far as it is installed. Those packages are a group
# of their own, which `make test` does not install; without them the bench names what is missing.
BENCH_VATS := ping pong chain busy crowd hoard mine vow
BENCH_PROGRAMS := relay bare control files
BENCH_PEERS := $(shell pkg-config --exists capnp-rpc && command -v capnp c++ > /dev/null && echo capnp) \
	$(shell pkg-config --exists libsystemd && echo dbus)
.PHONY: bench bench-programs
bench:
	@tools/install-deps bench || echo "bench: going on without them" >&2
	@$(MAKE) -s all helpers bench-programs
	@tests/bench/run $(B)
bench-programs: $(patsubst %,$(B)/bench/%,$(BENCH_PROGRAMS) $(BENCH_PEERS)) $(patsubst %,$(B)/vats/%,$(BENCH_VATS))
$(B)/vats/%: tests/bench/%.c $(B)/lib/libcapstan.a Makefile
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) -Ilib -static -MF $@.d -o $@ $< $(B)/lib/libcapstan.a $(LIBCAPSTAN_LIBS)
$(B)/bench/%: tests/bench/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) $(CFLAGS) -MF $@.d -o $@ $< $(LIBS_bench_$*)
LIBS_bench_bare := -static
LIBS_bench_dbus = $(shell pkg-config --cflags --libs libsystemd)
$(B)/bench/control: $(call obj,tests/bench/control.c tools/client.c tools/output.c $(LIB_JSON) $(LIB_BASE)) Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -ljansson
$(B)/bench/pong.capnp.c++: tests/bench/pong.capnp Makefile
	@mkdir -p $(@D)
	capnp compile -oc++:$(@D) --src-prefix=tests/bench $<
$(B)/bench/capnp: tests/bench/capnp.c++ $(B)/bench/pong.capnp.c++ Makefile
	$(CXX) -std=c++17 -g -O2 -Wall -Wextra -I$(B)/bench -MMD -MP -MF $@.d -o $@ $(filter %.c++,$^) \
		$$(pkg-config --cflags --libs capnp-rpc)

# capstand finds capstan-vatd and capstan-fs beside itself, so all programs go to one folder.
install: programs libs
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include/capstan
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(addprefix include/capstan/,ref.h wire.h vat.h vat_test.h) $(DESTDIR)$(PREFIX)/include/capstan
	install -m 644 $(B)/lib/libcapstan.a $(B)/lib/libcapstan-test.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(B)/lib/libcapstan.so $(DESTDIR)$(PREFIX)/lib/libcapstan.so.0
	ln -sf libcapstan.so.0 $(DESTDIR)$(PREFIX)/lib/libcapstan.so
	@for pc in libcapstan libcapstan-test; do \
		sed -e 's|@INCLUDEDIR@|$(PREFIX)/include|' -e 's|@LIBDIR@|$(PREFIX)/lib|' -e 's|@VERSION@|$(VERSION)|' \
			vatd/$$pc.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/$$pc.pc || exit 1; \
	done
	@for page in docs/*.[1-9]; do \
		install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit 1; \
	done

deps:
	tools/install-deps
clean:
	rm -rf build build-*

-include $(shell find $(B) -name '*.d' 2>/dev/null)
