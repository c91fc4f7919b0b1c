/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nccl_allreduce.h - what the files of devmem-nccl share. It drives NCCL itself,
 * on GPU memory, over any of its networks, and compares every element.
 *
 * A *run* is one set of rank processes with the environment of one setting. The
 * launcher (nccl_allreduce_hub.c) starts them as this program with --as-rank and
 * never loads CUDA or NCCL itself; the ranks (nccl_allreduce_rank.c and below)
 * do, each with a NCCL_HOSTID of its own, so that NCCL takes them for hosts and
 * several may share a GPU. Of devmem-bench only io_full is used.
 */
#ifndef DEVMEM_NCCL_ALLREDUCE_H
#define DEVMEM_NCCL_ALLREDUCE_H

#include "bench.h"
#include "cuda_abi.h"
#include "nccl_abi.h"

#define JOB_RANKS    32 /* so that sums stay exact, see the types */
#define JOB_COLLS    8
#define JOB_SETTINGS 8

enum coll {
	COLL_ALLREDUCE,
	COLL_ALLGATHER,
	COLL_REDUCESCATTER,
	COLL_BROADCAST,
	COLL_SENDRECV,
	COLL_ALLTOALL,
	COLLS
};

/* A type of elements. Sums are exact up to `exact`. */
struct dtype {
	const char *name;
	int nccl;
	unsigned int size;
	unsigned int exact;
};

enum job_mode {
	JOB_TABLE,
	JOB_GRAPH,    /* the same, replayed from CUDA graphs */
	JOB_RECREATE, /* communicators one after the other */
	JOB_ABORT,
	JOB_PROBE, /* no ranks: what the GPU and the driver offer */
};

/* What one run differs in from another. */
struct setting {
	const char *name;
	const char
		*net; /* as in NCCL_NET; NCCL compares without regard to case */
	int nenv;
	char *env[MAX_ENV]; /* "NAME=VALUE" */
};

struct job {
	enum job_mode mode;
	int ranks;
	int ncolls;
	enum coll colls[JOB_COLLS];
	int ntypes;
	const struct dtype *types[JOB_COLLS];
	size_t min_bytes, max_bytes;
	unsigned int factor;
	int iters, warmup, check;
	int replays, communicators; /* of --graph, --recreate */
	int abort_after_ms, abort_within_ms;
	int rounds, seconds, timeout_s;
	const char *net; /* of settings that have none of their own */
	int nsettings;
	struct setting settings[JOB_SETTINGS];
	int nenv; /* of all settings */
	char *env[MAX_ENV];
	const char *plugin, *nccl, *proto, *algo, *wrap, *logs;
	const char *require_rx, *require_gather;
	bool out_of_place; /* only */
	bool any_path;	   /* NCCL need not take the network alone */
	/* --as-rank: which one of which run, and the launcher's socket. */
	int as_rank, as_setting;
	const char *as_socket;
	int argc;
	char **argv;
	char command[4096]; /* the command line, for the reports */
};

/* One operation of the table. The same on all ranks, in the same order. */
struct step {
	enum coll coll;
	const struct dtype *type;
	size_t count; /* elements, as NCCL's call takes them */
	size_t bytes; /* as nccl-tests counts a collective's size */
};

/* Who a rank is. Sent as it is. */
struct rank_info {
	uint32_t pid;
	int32_t device, devices, nccl, driver;
	char host[64], name[64], pci[32];
};

#define OUT_OF_PLACE 0
#define IN_PLACE     1

/* A rank's figures of one step, or of one communicator. Sent as it is. */
struct rank_row {
	double us[2];	   /* of one iteration; of --recreate: init, destroy */
	uint64_t wrong[2]; /* elements; every byte outside counts as one */
	uint32_t checked[2];
	int32_t files, threads; /* open in the process, of --recreate */
};

/* All ranks' of one step: times are means, as in nccl-tests. */
struct job_row {
	struct step step;
	struct rank_row sum;
	int ranks; /* that have reported it */
};

/* Sums and words of the lines that a net plugin writes on its paths. */
#define PATH_KEYS 32
struct path_side {
	int lines;
	char word[64];	 /* "devmem+host" */
	char gather[32]; /* who moved payload to its place: "cuda" */
	char reason[256];
	int nkeys;
	struct {
		char key[20];
		uint64_t sum;
	} keys[PATH_KEYS];
};

/* What NCCL wrote into the log of one rank. */
struct rank_log {
	bool there;
	char net[64]; /* of "Using network", of all communicators "a+b" */
	char other
		[64]; /* transports that were used beside networks: "P2P+SHM" */
	int via, gdr; /* connections by networks; those with GPU memory */
	struct path_side recv, send;
	int nwarn;
	char warn[3][256]; /* the last */
};

struct job_result {
	int code;
	char error[1200];
	int nrows, cap;
	struct job_row *rows;
	struct rank_info info[JOB_RANKS];
	struct rank_log log[JOB_RANKS];
	char notes[JOB_RANKS][256];
};

/* nccl_allreduce_options.c */
void job_parse(int argc, char **argv, struct job *j);

/* nccl_allreduce_data.c: elements, in host memory */
#define PATTERN_VALUES 16

/* Elements whose value is a function of their index and of who sends them. */
struct pattern {
	uint32_t bits[PATTERN_VALUES]; /* of the value for each hash */
	unsigned int size;
	uint32_t seed;
};

const struct dtype *dtype_find(const char *name, size_t len);
const char *dtype_names(void);
void pattern_of(struct pattern *p, const struct dtype *t, int ranks, int from,
		uint32_t seed);
void pattern_sum(struct pattern *p, const struct dtype *t, int ranks,
		 uint32_t seed);
void pattern_fill(const struct pattern *p, void *to, size_t n, size_t first);
uint64_t pattern_wrong(const struct pattern *p, const void *from, size_t n,
		       size_t first);

/* nccl_allreduce_coll.c: what each collective is */
const char *coll_name(enum coll c);
bool coll_reduces(enum coll c);
bool coll_in_place(enum coll c);
bool coll_repeats(enum coll c, bool in_place);
double coll_bus_factor(enum coll c, int ranks);
size_t coll_elements(enum coll c, bool output, int ranks, size_t count);
size_t coll_offset(enum coll c, bool output, int rank, size_t count);
void step_make(struct step *s, enum coll c, const struct dtype *t, size_t bytes,
	       int ranks);
int job_steps(const struct job *j, struct step *steps, int max);

/* Where a part of the result comes from. */
struct segment {
	size_t at, n;
	int from;     /* a rank; -1: the sum of all */
	size_t first; /* index of the first element in what that rank sends */
};

int coll_segments(enum coll c, int ranks);
void coll_segment(const struct step *s, int rank, int ranks, int i,
		  struct segment *seg);

/* nccl_allreduce_libs.c: the two libraries */
#define CUDA_MEMBER(member, symbol, params) int(*member) params;
struct libs {
	struct {
		CUDA_CALLS(CUDA_MEMBER)
		CUDA_CALLS_OPTIONAL(CUDA_MEMBER) /* may be NULL */
	} cu;
	struct nccl nccl;
	struct cuda_graphs graph;
	char missing_graph
		[64]; /* what the driver lacks for graphs; "": nothing */
};
#undef CUDA_MEMBER

bool cuda_load(struct libs *l, int *devices, char *why, size_t size);
bool nccl_load(struct libs *l, const char *file, char *why, size_t size);
const char *cuda_error(const struct libs *l, int error);

/* Messages between a rank and the launcher: a head and a body. */
enum job_msg {
	JOB_HELLO = 1,
	JOB_INFO,
	JOB_GATHER, /* all give some bytes and get those of all */
	JOB_ROW,
	JOB_NOTE, /* a line for the report */
	JOB_ERROR,
	JOB_DONE,
};

#define JOB_MAGIC 0x6c63636eu
#define JOB_BODY  2048 /* of the largest message from a rank */

struct job_head {
	uint32_t magic, type, len;
};

struct job_error {
	int32_t code;
	char text[1024];
};

/* nccl_allreduce_rank.c: a rank process, its memory and its steps */
struct rank_state {
	const struct job *j;
	const struct setting *setting;
	int rank, ranks;
	int fd; /* to the launcher */
	int64_t deadline;
	struct libs libs;
	void *ctx, *stream, *comm;
	int device;
	uint64_t base[2]; /* allocations: a guard, data, a guard */
	size_t room;	  /* of the data of each */
	void *bounce;	  /* pinned, BOUNCE_BYTES */
	uint32_t seed;	  /* of verified iterations, never repeats */
	const struct step *step;
	struct job_error error;
};

#define GUARD_BYTES  4096
#define BOUNCE_BYTES ((size_t)4 << 20)

int job_rank(const struct job *j);
int job_fail(struct rank_state *r, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int cuda_fail(struct rank_state *r, const char *what, int error);
int nccl_fail(struct rank_state *r, const char *what, int result);
int job_send(struct rank_state *r, enum job_msg type, const void *body,
	     size_t len);
int job_gather(struct rank_state *r, const void *mine, size_t len, void *all);
int job_barrier(struct rank_state *r);
int comm_open(struct rank_state *r);
int comm_close(struct rank_state *r);
int stream_wait(struct rank_state *r, const char *what);

/* nccl_allreduce_step.c: one step, verified and timed */
int memory_open(struct rank_state *r, const struct step *steps, int n);
void memory_close(struct rank_state *r);
int step_call(struct rank_state *r, const struct step *s, bool in_place);
int step_fill(struct rank_state *r, const struct step *s, bool in_place,
	      uint32_t seed);
int step_verify(struct rank_state *r, const struct step *s, bool in_place,
		uint32_t seed, uint64_t *wrong);
int step_run(struct rank_state *r, const struct step *s, struct rank_row *row);

/* nccl_allreduce_modes.c */
int mode_table(struct rank_state *r);
int mode_recreate(struct rank_state *r);
int mode_abort(struct rank_state *r);

/* nccl_allreduce_hub.c: the launcher's side of a run */
int job_run(const struct job *j, int setting, int run, bool live,
	    struct job_result *res);

/* nccl_allreduce_log.c: NCCL's log, and what it proves */
void log_read(const char *file, struct rank_log *log);
int log_judge(const struct job *j, const struct setting *s,
	      struct job_result *res);

/* nccl_allreduce_report.c */
void job_header(const struct job *j, const struct setting *s,
		const struct job_result *res);
void job_columns(const struct job *j);
void job_row(const struct job *j, const struct job_row *row, int index);
void job_end(const struct job *j, const struct setting *s,
	     const struct job_result *res);
void job_compare(const struct job *j, const struct job_result *all, int rounds);

/* nccl_allreduce_probe.c */
int job_probe(const struct job *j);

#endif /* DEVMEM_NCCL_ALLREDUCE_H */
