/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rank.c - a rank process from its first message to its exit status, and what
 * the measurements need from it: errors, the launcher's gather, idle waits.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench.h"

/* Keeps the first error only; returns `code` for the caller to hand up. */
int rank_fail(struct rank *r, enum error_kind kind, int code, const char *fmt,
	      ...)
{
	struct error_report *e = &r->error;
	va_list ap;

	if (e->code)
		return e->code;
	e->when_ns = now_ns();
	e->kind = kind;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return code;
}

/* A slot of the table that did not return ncclSuccess. */
int net_fail(struct rank *r, const char *slot, ncclResult_t rc, const char *fmt,
	     ...)
{
	char what[256], size[48] = "", warn[512], said[560] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (r->size)
		snprintf(size, sizeof(size), " at size %zu", r->size);
	log_last_warn(warn, sizeof(warn));
	if (warn[0])
		snprintf(said, sizeof(said), "; the plugin said: %s", warn);
	return rank_fail(r, ERR_NET, EXIT_FAIL, "%s, %s%s: %s%s", slot, what,
			 size, nccl_name(rc), said);
}

int gpu_fail(struct rank *r, const char *what, size_t n, int rc)
{
	return rank_fail(r, ERR_OTHER, EXIT_FAIL,
			 "%s %zu bytes of GPU memory at size %zu: %s", what, n,
			 r->size, gpu_text(rc));
}

static int boot_fail(struct rank *r, const char *what, int rc)
{
	return rank_fail(r, ERR_OTHER, EXIT_FAIL, "%s: %s: %s", what,
			 rc == -ETIMEDOUT ? "the other ranks did not follow" :
					    "the launcher is gone",
			 strerror(-rc));
}

int rank_send(struct rank *r, enum msg_type type, const void *data, size_t len)
{
	int rc = msg_send(r->fd, type, 0, data, len, r->deadline);

	return rc ? boot_fail(r, "sending a report", rc) : 0;
}

/* All ranks give `len` bytes; each gets those of all, in order of rank. */
int rank_gather(struct rank *r, const void *mine, size_t len, void *all,
		unsigned int *flags)
{
	struct msg_head h;
	int rc;

	rc = msg_send(r->fd, MSG_GATHER, 0, mine, len, r->deadline);
	if (!rc)
		rc = io_full(r->fd, &h, sizeof(h), false, r->deadline);
	if (!rc && (h.magic != MSG_MAGIC || h.type != MSG_GATHER ||
		    h.len != len * r->ranks))
		return rank_fail(r, ERR_OTHER, EXIT_FAIL,
				 "the launcher's "
				 "reply is malformed");
	if (!rc && h.len)
		rc = io_full(r->fd, all, h.len, false, r->deadline);
	if (rc)
		return boot_fail(r, "waiting for the other ranks", rc);
	if (flags)
		*flags = h.flags;
	return 0;
}

int rank_barrier(struct rank *r)
{
	return rank_gather(r, NULL, 0, NULL, NULL);
}

/*
 * For loops that wait for the plugin: gives the processor away, which the
 * other ranks need where there is only one, and ends the wait when time is up
 * or the launcher is gone.
 */
int rank_idle(struct rank *r, const char *what)
{
	struct pollfd p = { .fd = r->fd, .events = POLLRDHUP };
	char warn[512], said[560] = "";

	sched_yield();
	if (++r->idle % 256)
		return 0;
	if (now_ns() > r->deadline) {
		log_last_warn(warn, sizeof(warn));
		if (warn[0])
			snprintf(said, sizeof(said), "; the plugin said: %s",
				 warn);
		return rank_fail(r, ERR_OTHER, EXIT_FAIL,
				 "%s at size %zu: no "
				 "end after %d s (--timeout)%s",
				 what, r->size, r->o->timeout_s, said);
	}
	if (poll(&p, 1, 0) > 0 && p.revents)
		return boot_fail(r, what, -ECONNRESET);
	return 0;
}

/* The first line of /proc/cpuinfo that names the processor. */
static void cpu_model(char *buf, size_t size)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256], *p;

	snprintf(buf, size, "unknown CPU");
	while (f && fgets(line, sizeof(line), f)) {
		p = strchr(line, ':');
		if (strncmp(line, "model name", 10) || !p)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(buf, size, "%.63s", p + 1 + strspn(p + 1, " "));
		break;
	}
	if (f)
		fclose(f);
}

static int send_info(struct rank *r)
{
	struct info_report i = { .pid = getpid(),
				 .table = r->plugin.table,
				 .dev = r->plugin.devs[0],
				 .speed = r->plugin.speed };
	const struct options *o = r->o;
	struct utsname u;

	uname(&u);
	i.cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_model(i.cpu, sizeof(i.cpu));
	snprintf(i.host, sizeof(i.host), "%.63s", u.nodename);
	snprintf(i.kernel, sizeof(i.kernel), "%s %.60s", u.sysname, u.release);
	snprintf(i.machine, sizeof(i.machine), "%.31s", u.machine);
	if (o->nnetns)
		snprintf(i.netns, sizeof(i.netns), "%s", o->netns[r->rank]);
	snprintf(i.plugin, sizeof(i.plugin), "%.63s", r->plugin.net->name);
	snprintf(i.device, sizeof(i.device), "%s", r->plugin.names);
	snprintf(i.memory, sizeof(i.memory), "%s", memory_name(r->memory));
	if (gpu_is_open())
		snprintf(i.memory, sizeof(i.memory), "%s (GPU %d, %.64s)",
			 memory_name(r->memory), gpu_number(), gpu_name());
	return rank_send(r, MSG_INFO, &i, sizeof(i));
}

bool rank_gpu(struct rank *r, char *why, size_t size)
{
	int number = r->o->gpu, count;

	if (gpu_is_open())
		return true;
	if (number < 0) {
		count = gpu_count(why, size);
		if (count < 0)
			return false;
		number = r->rank % count;
	}
	return gpu_open(number, why, size);
}

static bool takes_dmabufs(const struct rank *r)
{
	return r->plugin.ptr_support & NCCL_PTR_DMABUF &&
	       r->plugin.net->regMrDmaBuf;
}

/*
 * As NCCL registers it: as a dma-buf where plugin and GPU both can, otherwise by
 * its address. @why: of the GPU that there is not; empty if there is.
 */
static int pick_cuda(struct rank *r, const char *why)
{
	bool dmabufs = takes_dmabufs(r);
	bool plain = r->plugin.ptr_support & NCCL_PTR_CUDA;

	if (!dmabufs && !plain)
		return rank_fail(r, ERR_OTHER, EXIT_SKIP,
				 "--memory cuda: the plugin does not take GPU "
				 "memory (no NCCL_PTR_CUDA, no "
				 "NCCL_PTR_DMABUF)");
	if (!gpu_is_open())
		return rank_fail(r, ERR_OTHER, EXIT_SKIP, "--memory cuda: %s",
				 why);
	r->memory = MEM_CUDA;
	r->by_dmabuf = dmabufs && gpu_exports();
	if (r->by_dmabuf || plain)
		return 0;
	return rank_fail(
		r, ERR_OTHER, EXIT_SKIP,
		"--memory cuda: the plugin takes GPU memory as "
		"dma-bufs only, and the memory of GPU %d cannot be one",
		gpu_number());
}

/* GPU memory is asked for only: auto is what needs no GPU. */
static int pick_memory(struct rank *r, const char *no_gpu)
{
	bool takes = takes_dmabufs(r);
	char why[256] = "";

	r->memory = MEM_HOST;
	if (r->o->memory == MEM_HOST)
		return 0;
	if (r->o->memory == MEM_CUDA)
		return pick_cuda(r, no_gpu);
	/* One that takes GPU memory expects that of dma-bufs. */
	if (r->o->memory == MEM_AUTO && r->plugin.ptr_support & NCCL_PTR_CUDA)
		return 0;
	if (takes && udmabuf_works(why, sizeof(why))) {
		r->memory = MEM_UDMABUF;
		r->by_dmabuf = true;
		return 0;
	}
	if (r->o->memory == MEM_AUTO)
		return 0;
	return rank_fail(
		r, ERR_OTHER, EXIT_SKIP, "--memory udmabuf: %s",
		why[0] ? why :
			 "a device of the plugin does not take "
			 "dma-bufs (no NCCL_PTR_DMABUF, or no regMrDmaBuf)");
}

static int measure(struct rank *r)
{
	if (mode_is_coll(r->o->mode))
		return coll_run(r);
	return r->o->mode == MODE_LATENCY ? latency_run(r) : bandwidth_run(r);
}

static int start(struct rank *r, const struct variant *v)
{
	struct msg_hello h = { .version = MSG_VERSION,
			       .rank = r->rank,
			       .ranks = r->ranks,
			       .run = r->run,
			       .digest = options_digest(r->o) };
	char no_gpu[256] = "";
	int rc;

	rc = rank_send(r, MSG_HELLO, &h, sizeof(h));
	/* Of NCCL's processes each has its GPU before it has a plugin. */
	if (r->o->memory == MEM_CUDA)
		rank_gpu(r, no_gpu, sizeof(no_gpu));
	if (!rc)
		rc = plugin_open(r, v);
	if (!rc)
		rc = pick_memory(r, no_gpu);
	if (!rc)
		rc = send_info(r);
	return rc;
}

/*
 * The whole life of a rank; returns its exit status. `fd` leads to the
 * launcher. An error is reported before anything is closed, so that its time
 * does not depend on how long closing takes.
 */
int rank_main(const struct options *o, const struct variant *v, int run,
	      int rank, int fd)
{
	static struct rank r;
	struct path_report path;
	bool reported = false;
	int rc;

	r = (struct rank){
		.o = o,
		.rank = rank,
		.ranks = o->ranks,
		.run = run,
		.fd = fd,
		.deadline = now_ns() + o->timeout_s * 1000000000ll,
		.check = o->check && !variant_unchecked(v),
		.connections = v && v->connections ? v->connections :
						     o->connections,
		.inflight = v && v->inflight ? v->inflight : o->inflight,
	};
	log_setup(rank, o->debug);
	rc = start(&r, v);
	if (!rc)
		rc = measure(&r);
	r.size = 0;
	if (rc) {
		msg_send(fd, MSG_ERROR, 0, &r.error, sizeof(r.error),
			 r.deadline);
		reported = true;
	}
	links_close(&r);
	plugin_close(&r);
	gpu_close();
	if (r.error.code && !reported)
		msg_send(fd, MSG_ERROR, 0, &r.error, sizeof(r.error),
			 r.deadline);
	log_path(&path);
	path.rx_sum[RX_UNPACKED] = r.unpacked;
	msg_send(fd, MSG_PATH, 0, &path, sizeof(path), r.deadline);
	msg_send(fd, MSG_DONE, 0, NULL, 0, r.deadline);
	close(fd);
	return r.error.code;
}
