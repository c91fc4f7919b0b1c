// SPDX-License-Identifier: BSD-3-Clause
/*
 * worker.c - threads that make progress; see worker.h.
 *
 * A worker goes round its connections that have requests, one bounded turn each, so
 * none waits longer than for a turn of the others. When nothing moves it goes on
 * for a short while, then sleeps until a socket is ready or a request is posted.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "conn.h"
#include "sends.h"
#include "worker.h"

/* Rounds in which nothing moves before a worker sleeps. */
#define SPINS 64
/* A connection is looked after so often, though its sockets tell nothing. */
#define SLEEP_MS 100
/* The same where sockets cannot tell what it waits for. */
#define NAP_MS 1
/* Sockets that a sleeping worker watches; more are looked at after each nap. */
#define POLL_MAX 512u
/* Usable CPUs for one thread, and the most threads, if nobody says how many. */
#define AUTO_CPUS 16
#define AUTO_MAX  4

struct worker {
	pthread_t thread;
	pid_t pid; /* a child of fork() does not have the thread */
	int event; /* wakes it */
	bool asleep;
	unsigned int count;   /* connections, also those that are suspended */
	pthread_mutex_t lock; /* for what follows; held but for the trips */
	pthread_cond_t back;
	/*
	 * The times that it has left the lock with what it found in the list,
	 * and come back: while that is odd it is on such a trip.
	 */
	uint64_t trips;
	bool stop;
	struct devmem_conn *first, *at; /* at: the next of this round */
	struct pollfd poll[POLL_MAX];
};

static struct {
	pthread_mutex_t lock;
	unsigned int users, count;
	pid_t pid;
	struct worker *worker[DEVMEM_MAX_THREADS];
} workers = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- the thread ---------------------------------------------------------- */

static void depart(struct worker *w)
{
	w->trips++;
	pthread_mutex_unlock(&w->lock);
}

static void come_back(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	w->trips++;
	pthread_cond_broadcast(&w->back);
}

/* A turn for each connection that has requests. Did any of them move? */
static bool go_round(struct worker *w, bool late)
{
	bool moved = false;

	for (struct devmem_conn *c = w->first; c; c = w->at) {
		w->at = c->link;
		if (!conn_under_way(c))
			continue;
		depart(w);
		moved |= conn_turn(c, late);
		come_back(w);
	}
	return moved;
}

/*
 * The sockets that a connection waits for. Control is not among them while what
 * is there has to wait: it would always be ready.
 */
static unsigned int waits_for(struct devmem_conn *c, struct pollfd *p)
{
	const struct control *k = &c->control;
	bool full = c->is_sender ? tx_waits_for_control(c) :
				   rx_waits_for_control(c);
	short in = k->eof || c->rx.stalled ? 0 : POLLIN;
	short out = full ? POLLOUT : 0;
	unsigned int n = 0;

	/* Completions of sends are errors to poll(), which it always tells. */
	if (in || out || sends_wait(k->sends))
		p[n++] = (struct pollfd){ .fd = k->fd, .events = in | out };
	for (unsigned int i = 0; i < c->flows; i++) {
		const struct flow *f = &c->flow[i];
		short runs = c->is_sender ? POLLOUT : POLLIN;

		if (f->count || sends_wait(f->sends))
			p[n++] = (struct pollfd){
				.fd = f->fd,
				.events = f->count ? runs : 0,
			};
	}
	return n;
}

/* Does it wait for what no socket tells of: room in a pool, a GPU? */
static bool waits_unseen(struct devmem_conn *c)
{
	return c->is_sender ? tx_waits_unseen(c) : rx_waits_unseen(c);
}

/*
 * What wakes the worker, in w->poll: how many, and in *ms after what time it has
 * to look in any case. 0: it must not sleep.
 */
static unsigned int watch(struct worker *w, int *ms)
{
	unsigned int n = 1;

	if (w->stop)
		return 0;
	*ms = -1;
	w->poll[0] = (struct pollfd){ .fd = w->event, .events = POLLIN };
	for (struct devmem_conn *c = w->first; c; c = c->link) {
		if (conn_is_posted(c) || rx_unpack_pending(c))
			return 0;
		if (!conn_under_way(c))
			continue;
		if (n + 1 + c->flows > POLL_MAX || waits_unseen(c))
			*ms = NAP_MS;
		else if (*ms < 0)
			*ms = SLEEP_MS;
		if (n + 1 + c->flows <= POLL_MAX)
			n += waits_for(c, w->poll + n);
	}
	return n;
}

enum woken {
	BY_TIME,
	BY_SOCKET,
	BY_POST,
};

/* @vain: sockets told that there is something to do, and there was not. */
static enum woken doze(struct worker *w, bool vain)
{
	enum woken by = BY_POST;
	unsigned int n;
	uint64_t wakes;
	int ms, ready = 0;

	__atomic_store_n(&w->asleep, true, __ATOMIC_SEQ_CST);
	n = watch(w, &ms);
	if (n && vain) {
		n = 1;
		ms = NAP_MS;
	}
	if (n) {
		depart(w);
		ready = poll(w->poll, n, ms);
		come_back(w);
		by = !ready		? BY_TIME :
		     w->poll[0].revents ? BY_POST :
					  BY_SOCKET;
	}
	__atomic_store_n(&w->asleep, false, __ATOMIC_SEQ_CST);
	if (ready > 0 && by == BY_POST &&
	    read(w->event, &wakes, sizeof(wakes)) < 0)
		WARN("reading an eventfd: %s", strerror(errno));
	return by;
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	enum woken by = BY_POST;
	unsigned int spins = 0;
	bool vain = false;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		bool moved = go_round(w, by == BY_TIME);

		vain = !moved && (vain || by == BY_SOCKET);
		by = BY_POST;
		spins = moved ? 0 : spins + 1;
		if (spins > SPINS) {
			by = doze(w, vain);
			vain = false;
			/* Nothing woke it: one round, to look at clocks. */
			spins = by == BY_TIME ? SPINS : 0;
		} else if (spins) {
			pthread_mutex_unlock(&w->lock);
			sched_yield();
			pthread_mutex_lock(&w->lock);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

void worker_wake(struct worker *w)
{
	const uint64_t one = 1;

	if (!__atomic_load_n(&w->asleep, __ATOMIC_SEQ_CST) ||
	    !__atomic_exchange_n(&w->asleep, false, __ATOMIC_SEQ_CST))
		return;
	if (write(w->event, &one, sizeof(one)) < 0)
		WARN("writing an eventfd: %s", strerror(errno));
}

/* ---- its connections ----------------------------------------------------- */

static void add(struct worker *w, struct devmem_conn *c)
{
	pthread_mutex_lock(&w->lock);
	c->link = w->first;
	w->first = c;
	pthread_mutex_unlock(&w->lock);
	worker_wake(w); /* it may bring requests */
}

/* From here on it is not looked at, nor its sockets. */
static void take_out(struct worker *w, struct devmem_conn *c)
{
	struct devmem_conn **at;
	uint64_t trip;

	pthread_mutex_lock(&w->lock);
	for (at = &w->first; *at != c; at = &(*at)->link)
		;
	*at = c->link;
	if (w->at == c)
		w->at = c->link;
	/* A trip that has begun may be one to this connection. */
	for (trip = w->trips; trip % 2 && w->trips == trip;) {
		worker_wake(w);
		pthread_cond_wait(&w->back, &w->lock);
	}
	pthread_mutex_unlock(&w->lock);
}

static bool is_here(const struct worker *w)
{
	return w && w->pid == getpid();
}

void worker_join(struct devmem_conn *c)
{
	struct worker *w = NULL;
	unsigned int least = 0;

	pthread_mutex_lock(&workers.lock);
	for (unsigned int i = 0; i < workers.count; i++) {
		struct worker *other = workers.worker[i];
		unsigned int count =
			__atomic_load_n(&other->count, __ATOMIC_RELAXED);

		if (is_here(other) && (!w || count < least)) {
			w = other;
			least = count;
		}
	}
	if (w)
		__atomic_fetch_add(&w->count, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&workers.lock);
	c->worker = w;
	if (w)
		add(w, c);
}

void worker_leave(struct devmem_conn *c)
{
	struct worker *w = c->worker;

	c->worker = NULL;
	if (is_here(w)) {
		take_out(w, c);
		__atomic_fetch_sub(&w->count, 1, __ATOMIC_RELAXED);
	}
}

void worker_suspend(struct devmem_conn *c)
{
	if (is_here(c->worker))
		take_out(c->worker, c);
}

void worker_resume(struct devmem_conn *c)
{
	if (is_here(c->worker))
		add(c->worker, c);
}

/* ---- the threads of the process ------------------------------------------ */

static void worker_free(struct worker *w)
{
	if (w->event >= 0)
		close(w->event);
	pthread_cond_destroy(&w->back);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* Signals are for the program's own threads, but for those of a fault here. */
static int start_thread(struct worker *w)
{
	static const int faults[] = { SIGSEGV, SIGBUS,	SIGFPE,
				      SIGILL,  SIGTRAP, SIGSYS };
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&w->thread, NULL, worker_run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -rc;
}

static int worker_new(unsigned int nr, struct worker **out)
{
	struct worker *w = calloc(1, sizeof(*w));
	char name[20];
	int rc;

	if (!w)
		return -ENOMEM;
	w->pid = getpid();
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->back, NULL);
	w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = w->event < 0 ? -errno : start_thread(w);
	if (rc) {
		worker_free(w);
		return rc;
	}
	snprintf(name, sizeof(name), "devmem-%u", nr);
	pthread_setname_np(w->thread, name);
	*out = w;
	return 0;
}

static void worker_end(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_mutex_unlock(&w->lock);
	worker_wake(w);
	pthread_join(w->thread, NULL);
	worker_free(w);
}

static unsigned int usable_cpus(void)
{
	cpu_set_t set;
	long n;

	if (!sched_getaffinity(0, sizeof(set), &set))
		return (unsigned int)CPU_COUNT(&set);
	n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned int)n : 1;
}

static unsigned int auto_threads(unsigned int cpus)
{
	unsigned int n = cpus / AUTO_CPUS;

	return n < AUTO_MAX ? n : AUTO_MAX;
}

static void start(unsigned int threads)
{
	unsigned int cpus = usable_cpus();
	unsigned int want =
		threads == DEVMEM_THREADS_AUTO ? auto_threads(cpus) : threads;
	int rc = 0;

	for (workers.count = 0; workers.count < want; workers.count++) {
		rc = worker_new(workers.count, &workers.worker[workers.count]);
		if (rc)
			break;
	}
	if (rc)
		WARN("starting progress thread %u of %u: %s; %s",
		     workers.count + 1, want, strerror(-rc),
		     workers.count ? "those that run do all the work" :
				     "progress is made inside the calls");
	if (threads == DEVMEM_THREADS_AUTO)
		INFO("progress threads=%u reason=\"%u CPUs are usable, a "
		     "thread takes %u of them (NCCL_DEVMEM_THREADS)\"",
		     workers.count, cpus, AUTO_CPUS);
	else
		INFO("progress threads=%u reason=\"NCCL_DEVMEM_THREADS=%u\"",
		     workers.count, threads);
}

/* Those of the parent are not here; what they held is lost. */
static void after_fork(void)
{
	if (workers.pid != getpid())
		workers.count = 0;
	workers.pid = getpid();
}

void workers_get(unsigned int threads)
{
	pthread_mutex_lock(&workers.lock);
	after_fork();
	if (!workers.users++)
		start(threads);
	pthread_mutex_unlock(&workers.lock);
}

void workers_put(void)
{
	pthread_mutex_lock(&workers.lock);
	after_fork();
	if (!--workers.users)
		while (workers.count)
			worker_end(workers.worker[--workers.count]);
	pthread_mutex_unlock(&workers.lock);
}
