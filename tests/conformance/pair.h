// SPDX-License-Identifier: BSD-3-Clause
/*
 * pair.h - a connection, driven the way NCCL's proxy threads drive one:
 * every call returns at once, whatever is not ready is asked again, requests
 * are posted in order, and each wait has a deadline that names what was still
 * pending.
 */
#ifndef CONFORMANCE_PAIR_H
#define CONFORMANCE_PAIR_H

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "memory.h"
#include "side.h"

using Clock = std::chrono::steady_clock;
using testing::AssertionResult;

/* How long anything may take: 10 s, or CONFORMANCE_TIMEOUT_MS. */
std::chrono::milliseconds patience();

/* Calls `step` until it returns true or time is up. */
bool poll_until(const std::function<bool()> &step,
		std::chrono::milliseconds limit = patience());

/* The device under test: 0, or CONFORMANCE_DEV. */
int test_device();

/* By the ptrSupport of its properties. */
bool takes_gpu_memory(int ptr_support);

const char *result_name(ncclResult_t result);

/* A send or a receive from before it is posted until it is over. */
struct Transfer {
	enum class State { waiting, posted, done, failed };

	bool sends;
	std::vector<Piece> pieces;
	State state = State::waiting;
	ncclResult_t result = ncclSuccess;
	void *request = nullptr;
	void *preset = nullptr;
	std::array<int, 64> sizes = {};
	bool want_sizes = true;
	int order = 0; /* counts completions on this connection */

	bool over() const
	{
		return state == State::done || state == State::failed;
	}
	bool failed() const { return state == State::failed; }
	bool posted() const { return state == State::posted; }
};

class Pair {
public:
	/* A side with a context each; both may be the same. */
	struct End {
		Side *side;
		void *ctx;
		int dev = test_device();
		void *comm = nullptr;
	};

	Pair(End sender, End receiver);
	~Pair() { close(); }
	Pair(const Pair &) = delete;
	Pair &operator=(const Pair &) = delete;

	/* Up to the listening comm, then both ends from there. */
	AssertionResult listen();
	AssertionResult connect();
	/* One round of connect and accept, for tests that look closer. */
	AssertionResult connect_step();
	AssertionResult accept_step();
	bool connected() const { return tx.comm && rx.comm; }

	/*
	 * Registers it once per buffer and end: as the GPU's if that is wanted
	 * and the device takes such, otherwise as host memory.
	 */
	void *mr(End &end, const Buffer &buffer);
	Got register_buffer(End &end, const Buffer &buffer);
	Piece piece(End &end, const Buffer &buffer, size_t size, int tag = 0);

	Transfer *send(const Piece &piece);
	Transfer *recv(const std::vector<Piece> &pieces);
	Transfer *send(const Buffer &buffer, size_t size, int tag = 0);
	Transfer *recv(const Buffer &buffer, size_t size, int tag = 0);

	/* Posts what can be posted and tests what is posted. */
	void progress();
	bool idle() const;
	/* Until all transfers are over; false if time ran out or one failed. */
	AssertionResult wait(std::chrono::milliseconds limit = patience());
	AssertionResult wait_for(const std::function<bool()> &condition);
	std::string pending() const;

	/* Sends `size` bytes made from `seed` and checks what arrives. */
	AssertionResult exchange(size_t size, uint64_t seed);

	/* In NCCL's order: deregistrations, then the comms. */
	void close();
	void close_sender();
	void close_receiver();
	ncclResult_t close_listen();
	/* Drops what belongs to an end whose process is dead. */
	void forget(End &end);

	End tx, rx;
	void *listener = nullptr;
	Handle &handle; /* in the test memory, as connect wants it */
	/* Tests all requests, in this order; else the oldest of each direction. */
	std::mt19937 *shuffle = nullptr;

private:
	struct Registration {
		End *end;
		const uint8_t *data;
		void *mr;
	};

	bool step(Transfer &transfer, bool may_post);
	void finish(Transfer &transfer, ncclResult_t result);
	void deregister(End &end);

	std::deque<Transfer> transfers_;
	std::vector<Transfer *> live_;
	std::vector<Registration> registrations_;
	int completions_ = 0;
};

#endif
