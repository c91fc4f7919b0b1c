/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench.h - what the files of devmem-bench share: options, the reports that
 * ranks send to the launcher, and one line per function.
 *
 * A *run* is one set of rank processes with one communicator. The launcher
 * (hub.c) starts the ranks of its machine, passes messages between all ranks,
 * and prints; the ranks (rank.c and below) drive the plugin. Nothing here may
 * include a header of the transport: a plugin is reached by its table only.
 */
#ifndef DEVMEM_BENCH_H
#define DEVMEM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "cuda_memory.h"
#include "nccl_net_abi.h"
#include "nccl_tuner_abi.h"
#include "say.h"
#include "stats.h"
#include "unpacker.h"

#define MAX_RANKS    64
#define MAX_CHANNELS 16
#define MAX_LINKS    64 /* of a rank */
#define MAX_VARIANTS 8
#define MAX_ROUNDS   100
#define MAX_ENV	     16
#define MAX_DEVICES  16
#define MAX_ROWS     64
#define MAX_INFLIGHT NCCL_NET_MAX_REQUESTS
#define SLOTS	     8 /* slots of a connection's buffer, as in NCCL */

enum { EXIT_OK = 0, EXIT_FAIL = 1, EXIT_USAGE = 2, EXIT_SKIP = 77 };

enum mode {
	MODE_ALLREDUCE,
	MODE_ALLGATHER,
	MODE_REDUCESCATTER,
	MODE_BROADCAST,
	MODE_ALLTOALL,
	MODE_SOAK, /* the last of the collectives */
	MODE_BANDWIDTH,
	MODE_LATENCY,
	MODES
};
enum memory { MEM_AUTO, MEM_HOST, MEM_UDMABUF, MEM_CUDA };

/* One setting of a comparison: environment, and optionally another plugin. */
struct variant {
	const char *name;
	const char *plugin;	   /* NULL: the one of --plugin */
	bool tcp;		   /* the built-in plain TCP table instead */
	int connections, inflight; /* 0: as without variants */
	int nenv;
	char *env[MAX_ENV]; /* "NAME=VALUE" */
};

struct options {
	enum mode mode;
	const char *plugin;
	int table;	    /* version of the plugin's table; 0: newest */
	const char *device; /* names or indexes; NULL: 0 */
	enum memory memory;
	int gpu; /* -1: ranks take turns */
	size_t min_bytes, max_bytes;
	unsigned int factor;
	int iters, warmup, check;
	int channels;
	bool tree; /* an all-reduce, not by the ring */
	size_t slice;
	int seconds, seed;	   /* of a soak */
	int connections, inflight; /* the latter of each */
	int ranks;
	int rank;	       /* -1: start all ranks here */
	const char *bootstrap; /* HOST:PORT, with rank >= 0 */
	int nnetns;
	char *netns[MAX_RANKS];
	int timeout_s;
	int nvariants;
	struct variant variants[MAX_VARIANTS];
	int rounds;
	bool limit;	   /* in turn with a bare socket */
	bool limit_shared; /* for both ways */
	const char *json, *plot, *report;
	int64_t started; /* seconds since 1970 */
	const char *require_rx, *require_tx;
	bool debug;
	int kill_rank, kill_after_ms, expect_error_ms;
	const char *break_cmd; /* instead of a kill */
	int pause_at;
	const char *pause_cmd;
	char command[4096]; /* the command line, for the reports */
};

/* Sums of a rank's "path ... done" log lines. Sent as it is: fixed layout. */
enum {
	RX_DEVMEM,
	RX_EMULATED, /* into the pool by the CPU, not by a NIC */
	RX_LINEAR,
	RX_HOST,
	RX_INLINE,
	RX_FRAGS,
	RX_TOKENS,
	RX_RETURNED,
	RX_DONTNEED,
	RX_GRANTS,
	RX_MESSAGES,
	RX_UNPACKED, /* taken out of the pool by us, in place of GPU code */
	RX_KEYS
};
enum {
	TX_DEVMEM,
	TX_STAGED, /* GPU memory that was copied to the host first */
	TX_HOST,
	TX_INLINE,
	TX_MESSAGES,
	TX_KEYS
};

struct path_report {
	uint64_t rx_sum[RX_KEYS];
	uint64_t tx_sum[TX_KEYS];
	uint32_t lines;
	char rx[28], tx[32];		     /* words such as "devmem+host" */
	char rx_reason[256], tx_reason[256]; /* the first for host, if any */
};

/* Who a rank is. Sent as it is. */
struct info_report {
	uint32_t pid;
	int32_t table, dev, speed, cpus;
	char host[64], netns[64], kernel[128], machine[32], cpu[64];
	char plugin[64], device[64], memory[96]; /* "cuda (GPU 0, ...)" */
};

/* One line of the table. Sent as it is, by rank 0. */
struct row {
	uint64_t size;
	uint64_t wrong;
	uint64_t checked;      /* iterations that were compared */
	double us;	       /* time of one iteration or message */
	double gbps;	       /* 1e9 bytes per second */
	double cpu_tx, cpu_rx; /* user + system seconds per 1e9 bytes */
	double lat_min, lat_med, lat_p99; /* microseconds, half round trip */
	/* With --limit: the bare socket's figures, and ours by them. */
	double bare, cpu_bare;	    /* GB/s or microseconds; both sides' s/GB */
	double ratio[3], cpu_ratio; /* lower quartile, median, upper; median */
};

enum error_kind { ERR_OTHER, ERR_NET, ERR_DATA };

/* The first thing that went wrong in a rank. Sent as it is. */
struct error_report {
	int64_t when_ns; /* CLOCK_MONOTONIC */
	uint32_t kind;
	int32_t code; /* exit status */
	char text[1024];
};

/* What a run came to, filled in by the launcher. */
struct result {
	int code;
	int nrows;
	struct row rows[MAX_ROWS];
	struct info_report info[MAX_RANKS];
	struct path_report path[MAX_RANKS];
	bool has_path[MAX_RANKS];
	char error[1200];
	bool killed;
	double error_ms[MAX_RANKS]; /* kill to error; < 0: none */
	char survivor[MAX_RANKS][1024];
};

/* options.c, options_check.c */
void options_parse(int argc, char **argv, struct options *o);
void options_check(const struct options *o);
uint64_t options_digest(const struct options *o);
size_t next_size(const struct options *o, size_t size);

/* modes.c */
const char *mode_name(enum mode m);
bool mode_is_coll(enum mode m);

/* wire.c: messages between ranks and launcher */
enum msg_type {
	MSG_HELLO = 1,
	MSG_INFO,
	MSG_GATHER,
	MSG_ROW,
	MSG_PATH,
	MSG_FAULT,
	MSG_ERROR,
	MSG_DONE,
	MSG_TYPES
};

#define MSG_MAGIC	0x62766564u
#define GATHER_MAX	((size_t)MAX_LINKS * NCCL_NET_HANDLE_MAXSIZE)
#define GATHER_CMD_DONE 1u /* flag of a reply: --pause-cmd has ended */

struct msg_head {
	uint32_t magic;
	uint16_t type;
	uint16_t flags;
	uint32_t len;
};

struct msg_hello {
	uint32_t version, rank, ranks, run;
	uint64_t digest; /* of the options: all ranks need the same */
};

#define MSG_VERSION 3u

size_t msg_max(enum msg_type type);
int io_full(int fd, void *data, size_t len, bool write, int64_t deadline);
int msg_send(int fd, enum msg_type type, unsigned int flags, const void *data,
	     size_t len, int64_t deadline);
int tcp_dial(const char *hostport, int64_t deadline, char *why, size_t size);
int tcp_listen(const char *hostport, char *why, size_t size);

/* hub.c: the launcher's side of a run */
int hub_run(const struct options *o, const struct variant *v, int run,
	    int listener, bool live, struct result *res);
int member_run(const struct options *o, const struct variant *v, int run);

/* launch.c: processes */
pid_t launch_rank(const struct options *o, const struct variant *v, int run,
		  int rank, int *fd);
pid_t launch_shell(const char *command);

/* plugin.c: loading and logging */
struct plugin {
	void *lib;
	const ncclNet_v12_t *net;
	int table; /* the version that is behind it; 0: built in */
	void *ctx;
	bool inited;
	const ncclTuner_v5_t *tuner; /* of the same library, at work */
	int tuner_version;
	void *tuner_ctx;
	int ndevs;
	int devs[MAX_DEVICES]; /* of --device */
	char names[64];	       /* of these, "a,b" */
	int ptr_support;       /* what all of them have */
	bool unpacks;	       /* GPU code is to take what is received */
	int speed;	       /* of all together */
};

struct rank;
int plugin_open(struct rank *r, const struct variant *v);
/* NCCL's next step once it is connected: a tuner, if the library has one. */
int plugin_tune(struct rank *r);
void plugin_close(struct rank *r);

/* device.c: find those of --device in a plugin that is open. */
int devices_pick(struct rank *r);
/* The device of the links of a channel: they take turns. */
int plugin_device(const struct plugin *p, int channel);
void log_setup(int rank, bool debug);
__attribute__((format(printf, 5, 6))) void log_line(ncclDebugLogLevel level,
						    unsigned long flags,
						    const char *file, int line,
						    const char *fmt, ...);
void log_last_warn(char *buf, size_t size);
void log_path(struct path_report *p);
const char *nccl_name(ncclResult_t rc);

/* tcp_net.c: the built-in variant "tcp" */
extern const ncclNet_v12_t tcp_net;
int tcp_net_fd(const void *comm);

/* limit.c: the plugin in turn with a bare socket */
int limit_open(struct rank *r);
void limit_close(void);
int limit_bandwidth(struct rank *r, size_t size);
int limit_latency(struct rank *r, size_t size, double *us);

/*
 * memory.c. The plugin is given `base`. The CPU makes and reads the contents at
 * `cpu`, which is `base` but for GPU memory: buffer_write() hands over what was
 * made there, buffer_read() takes what was received; both return 0 or a CUresult,
 * and cost nothing of other memory.
 */
struct buffer {
	void *base, *cpu;
	size_t size;
	int fd; /* dma-buf, -1: none or closed */
	struct gpu_memory gpu;
};

const char *memory_name(enum memory kind);
bool udmabuf_works(char *why, size_t size);
/* False with the reason. */
bool buffer_alloc(struct buffer *b, enum memory kind, size_t size, char *why,
		  size_t why_size);
void buffer_free(struct buffer *b);
int buffer_read(const struct buffer *b, size_t at, size_t n);
int buffer_write(const struct buffer *b, size_t at, size_t n);
void fill_floats(float *v, size_t n, int rank, int ranks, uint32_t iter);
uint64_t wrong_floats(const float *v, size_t n, size_t at, int from, int to,
		      int ranks, uint32_t iter);
void fill_bytes(void *data, size_t n, uint64_t seed);
uint64_t wrong_bytes(const void *data, size_t n, uint64_t seed);

/* rank.c: a rank process */
struct end {
	int peer; /* -1: this link has no such end */
	void *comm;
	void *mhandle;
	struct buffer buf;
	ncclNetDeviceHandle_v11_t device; /* of a receiver that unpacks */
	struct unpacker *unpack;	  /* NULL: received data is in place */
};

/* A pair of connections with the same number on every rank. */
struct link {
	int dev;
	struct end tx, rx;
	void *lcomm;
};

struct rank {
	const struct options *o;
	int rank, ranks, run;
	int fd; /* to the launcher */
	int64_t deadline;
	struct plugin plugin;
	enum memory memory;
	bool by_dmabuf;		   /* how that is registered */
	uint64_t unpacked;	   /* bytes */
	int connections, inflight; /* of the variant, or else the options */
	int nlinks;
	struct link links[MAX_LINKS];
	size_t size;   /* row at work, for error text */
	uint32_t iter; /* verified iteration, never repeats */
	unsigned int idle;
	bool check;
	struct error_report error;
};

int rank_main(const struct options *o, const struct variant *v, int run,
	      int rank, int fd);
int rank_fail(struct rank *r, enum error_kind kind, int code, const char *fmt,
	      ...) __attribute__((format(printf, 4, 5)));
int net_fail(struct rank *r, const char *slot, ncclResult_t rc, const char *fmt,
	     ...) __attribute__((format(printf, 4, 5)));
int rank_send(struct rank *r, enum msg_type type, const void *data, size_t len);
int rank_gather(struct rank *r, const void *mine, size_t len, void *all,
		unsigned int *flags);
int rank_barrier(struct rank *r);
int rank_idle(struct rank *r, const char *what);
/* The rank's GPU, from the first time on: false with the reason. */
bool rank_gpu(struct rank *r, char *why, size_t size);
/* A call of the GPU's that did not return 0. */
int gpu_fail(struct rank *r, const char *what, size_t n, int rc);

/* link.c: connections and their registered buffers */
int links_open(struct rank *r, size_t buffer_size);
/* What GPU code does first with a message of `bytes` that has been received. */
int link_unpack(struct rank *r, struct end *e, void *data, size_t bytes);
void links_close(struct rank *r);

/* coll.c, p2p.c: what the ranks do */
int coll_run(struct rank *r);
int coll_lanes(const struct options *o);
int bandwidth_run(struct rank *r);
int latency_run(struct rank *r);

/* report.c, json.c */
void report_header(const struct options *o, const struct result *res);
void report_ranks(const struct options *o, const struct result *res,
		  const char *name);
void report_row(const struct options *o, const struct row *row);
void report_end(const struct options *o, const struct result *res);
void report_compare(const struct options *o, const struct result *all);
void report_path(int rank, const struct result *res, const char *prefix);
const char *rx_key(int key);
const char *tx_key(int key);
double devmem_share(const struct path_report *p);
double row_metric(const struct options *o, const struct row *row);
double bus_factor(const struct options *o);
bool variant_unchecked(const struct variant *v);
/* `all`: one run, or rounds times variants. */
struct cJSON *json_tree(const struct options *o, const struct result *all,
			int code);
int json_write(const struct options *o, const struct result *all, int code);

#endif /* DEVMEM_BENCH_H */
