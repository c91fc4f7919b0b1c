/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.h - threads that make the progress of connections, so that their users
 * only post and look. They are the process's; a connection belongs to one of
 * them, which alone touches its sockets while it does.
 */
#ifndef DEVMEM_WORKER_H
#define DEVMEM_WORKER_H

struct devmem_conn;
struct worker;

/**
 * workers_get() - start @threads of them (DEVMEM_THREADS_AUTO: as many as are
 * right here), if this is the first user; those that cannot be started are
 * missing, which is a WARN line. Any thread.
 */
void workers_get(unsigned int threads);
/* The last user ends them. No connection may belong to one any more. */
void workers_put(void);

/**
 * worker_join() - give a connection to the worker that has the fewest. Without
 * workers nothing happens: c->worker stays NULL.
 */
void worker_join(struct devmem_conn *c);
/**
 * worker_leave() - take it back, to be freed. Waits, at most, for one turn of the worker.
 * Nothing happens if it belongs to none.
 */
void worker_leave(struct devmem_conn *c);

/**
 * worker_suspend() - nothing of a connection is touched until worker_resume().
 * Waits, at most, for one turn of the worker. Both do nothing if it belongs to
 * none. Any thread that holds the connection's mr_lock.
 */
void worker_suspend(struct devmem_conn *c);
void worker_resume(struct devmem_conn *c);

/*
 * To be called after a request was posted. If the store to its state and the load
 * of the worker's are both sequentially consistent, as the other two are on its
 * side, one of the two sees the other: no request is overlooked.
 */
void worker_wake(struct worker *w);

#endif /* DEVMEM_WORKER_H */
