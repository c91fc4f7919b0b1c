// SPDX-License-Identifier: BSD-3-Clause
/* pair.cc - see pair.h. */
#include "pair.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <sstream>

std::chrono::milliseconds patience()
{
	const char *text = getenv("CONFORMANCE_TIMEOUT_MS");
	long value = text ? strtol(text, nullptr, 10) : 0;

	return std::chrono::milliseconds(value > 0 ? value : 10000);
}

bool poll_until(const std::function<bool()> &step,
		std::chrono::milliseconds limit)
{
	auto end = Clock::now() + limit;

	while (!step()) {
		if (Clock::now() > end)
			return false;
		sched_yield();
	}
	return true;
}

bool takes_gpu_memory(int ptr_support)
{
	return ptr_support & NCCL_PTR_CUDA;
}

int test_device()
{
	const char *text = getenv("CONFORMANCE_DEV");

	return text ? atoi(text) : 0;
}

const char *result_name(ncclResult_t result)
{
	switch (static_cast<int>(result)) {
	case ncclSuccess: return "ncclSuccess";
	case ncclUnhandledCudaError: return "ncclUnhandledCudaError";
	case ncclSystemError: return "ncclSystemError";
	case ncclInternalError: return "ncclInternalError";
	case ncclInvalidArgument: return "ncclInvalidArgument";
	case ncclInvalidUsage: return "ncclInvalidUsage";
	case ncclRemoteError: return "ncclRemoteError";
	case ncclInProgress: return "ncclInProgress";
	case peer_gone: return "the side's process is gone";
	case peer_hangs: return "the call blocked";
	default: return "no ncclResult_t";
	}
}

Pair::Pair(End sender, End receiver)
	: tx(sender), rx(receiver),
	  handle(*new (memory::allocate(sizeof(Handle), alignof(Handle)))
			 Handle{})
{
}

AssertionResult Pair::listen()
{
	Got got = rx.side->listen(rx.ctx, rx.dev, handle);

	if (!got.ok() || !got.pointer)
		return testing::AssertionFailure()
		       << "listen on device " << rx.dev << ": "
		       << result_name(got.result) << ", comm " << got.pointer;
	listener = got.pointer;
	return testing::AssertionSuccess();
}

AssertionResult Pair::connect_step()
{
	if (tx.comm)
		return testing::AssertionSuccess();
	Got got = tx.side->connect(tx.ctx, tx.dev, handle);
	if (!got.ok())
		return testing::AssertionFailure()
		       << "connect: " << result_name(got.result);
	tx.comm = got.pointer;
	return testing::AssertionSuccess();
}

AssertionResult Pair::accept_step()
{
	if (rx.comm)
		return testing::AssertionSuccess();
	Got got = rx.side->accept(listener);
	if (!got.ok())
		return testing::AssertionFailure()
		       << "accept: " << result_name(got.result);
	rx.comm = got.pointer;
	return testing::AssertionSuccess();
}

AssertionResult Pair::connect()
{
	AssertionResult result = testing::AssertionSuccess();

	if (!listener)
		result = listen();
	if (!result)
		return result;
	bool in_time = poll_until([&] {
		result = connect_step();
		if (result)
			result = accept_step();
		return !result || connected();
	});
	if (!result)
		return result;
	if (!in_time)
		return testing::AssertionFailure()
		       << "time ran out; connect " << (tx.comm ? "" : "not ")
		       << "finished, accept " << (rx.comm ? "" : "not ")
		       << "finished";
	close_listen();
	return result;
}

Got Pair::register_buffer(End &end, const Buffer &buffer)
{
	ncclNetProperties_v12_t props = {};

	if (memory::kind == memory::Kind::cuda) {
		EXPECT_EQ(end.side->properties(end.dev, &props), ncclSuccess);
	}
	if (takes_gpu_memory(props.ptrSupport))
		return end.side->reg_gpu(end.comm, buffer.data(), buffer.size(),
					 0, buffer.size());
	return end.side->reg_mr(end.comm, buffer.data(), buffer.size(),
				NCCL_PTR_HOST);
}

void *Pair::mr(End &end, const Buffer &buffer)
{
	for (const Registration &known : registrations_)
		if (known.end == &end && known.data == buffer.data())
			return known.mr;
	Got got = register_buffer(end, buffer);
	EXPECT_EQ(got.result, ncclSuccess) << "registering a buffer";
	registrations_.push_back({&end, buffer.data(), got.pointer});
	return got.pointer;
}

Piece Pair::piece(End &end, const Buffer &buffer, size_t size, int tag)
{
	return {buffer.data(), size, tag, mr(end, buffer)};
}

Transfer *Pair::send(const Piece &piece)
{
	transfers_.emplace_back();
	transfers_.back().sends = true;
	transfers_.back().pieces = {piece};
	live_.push_back(&transfers_.back());
	return live_.back();
}

Transfer *Pair::recv(const std::vector<Piece> &pieces)
{
	transfers_.emplace_back();
	transfers_.back().sends = false;
	transfers_.back().pieces = pieces;
	live_.push_back(&transfers_.back());
	return live_.back();
}

Transfer *Pair::send(const Buffer &buffer, size_t size, int tag)
{
	return send(piece(tx, buffer, size, tag));
}

Transfer *Pair::recv(const Buffer &buffer, size_t size, int tag)
{
	return recv(std::vector<Piece>{piece(rx, buffer, size, tag)});
}

void Pair::finish(Transfer &transfer, ncclResult_t result)
{
	transfer.result = result;
	transfer.state = result == ncclSuccess ? Transfer::State::done :
						 Transfer::State::failed;
	transfer.order = completions_++;
}

/* Returns whether later transfers of this end may be posted. */
bool Pair::step(Transfer &transfer, bool may_post)
{
	End &end = transfer.sends ? tx : rx;

	if (transfer.posted()) {
		Tested tested = end.side->test(transfer.request,
					       transfer.want_sizes);
		if (tested.result != ncclSuccess)
			finish(transfer, tested.result);
		else if (tested.done) {
			transfer.sizes = tested.sizes;
			finish(transfer, ncclSuccess);
		}
		return may_post;
	}
	if (!may_post)
		return false;
	Got got = transfer.sends ?
			  end.side->isend(end.comm, transfer.pieces[0],
					  transfer.preset) :
			  end.side->irecv(end.comm, transfer.pieces,
					  transfer.preset);
	if (!got.ok()) {
		finish(transfer, got.result);
		return true;
	}
	transfer.request = got.pointer;
	if (got.pointer)
		transfer.state = Transfer::State::posted;
	return got.pointer != nullptr;
}

void Pair::progress()
{
	bool may_post[2] = {true, true};
	std::vector<Transfer *> waiting, posted;

	for (Transfer *transfer : live_)
		(transfer->posted() ? posted : waiting).push_back(transfer);
	if (shuffle)
		std::shuffle(posted.begin(), posted.end(), *shuffle);
	/* NCCL asks for the oldest of each direction alone. */
	bool asked[2] = {false, false};
	for (Transfer *transfer : posted) {
		if (shuffle || !asked[transfer->sends])
			step(*transfer, false);
		asked[transfer->sends] = true;
	}
	for (Transfer *transfer : waiting) {
		bool &may = may_post[transfer->sends];
		may = step(*transfer, may);
	}
	live_.erase(std::remove_if(live_.begin(), live_.end(),
				   [](Transfer *t) { return t->over(); }),
		    live_.end());
}

bool Pair::idle() const
{
	return live_.empty();
}

AssertionResult Pair::wait_for(const std::function<bool()> &condition)
{
	bool in_time = poll_until([&] {
		progress();
		return condition();
	});
	if (!in_time)
		return testing::AssertionFailure()
		       << "time ran out; pending: " << pending();
	return testing::AssertionSuccess();
}

AssertionResult Pair::wait(std::chrono::milliseconds limit)
{
	bool in_time = poll_until([&] { progress(); return idle(); }, limit);

	if (!in_time)
		return testing::AssertionFailure()
		       << "time ran out; pending: " << pending();
	for (const Transfer &transfer : transfers_)
		if (transfer.failed())
			return testing::AssertionFailure()
			       << (transfer.sends ? "send" : "recv") << " of "
			       << transfer.pieces[0].size << " bytes failed: "
			       << result_name(transfer.result) << "; pending: "
			       << pending();
	transfers_.clear();
	return testing::AssertionSuccess();
}

std::string Pair::pending() const
{
	std::ostringstream text;
	int shown = 0;

	for (const Transfer *transfer : live_) {
		if (++shown > 8) {
			text << "... (" << live_.size() << " in all)";
			break;
		}
		text << (transfer->sends ? "send(" : "recv(")
		     << (transfer->pieces.empty() ? 0 :
						    transfer->pieces[0].size)
		     << (transfer->posted() ? " bytes, posted) " :
					      " bytes, not accepted) ");
	}
	return live_.empty() ? "nothing" : text.str();
}

AssertionResult Pair::exchange(size_t size, uint64_t seed)
{
	Buffer from(size), to(size);

	from.fill(seed);
	Transfer *received = recv(to, size);
	send(from, size);
	AssertionResult result = wait_for([&] { return idle(); });
	if (!result)
		return result;
	size_t reported = static_cast<size_t>(received->sizes[0]);
	result = wait();
	if (result && reported != size)
		return testing::AssertionFailure()
		       << "test reported " << reported << " of " << size;
	if (result && !to.holds(seed, size))
		return testing::AssertionFailure()
		       << size << " bytes arrived with other contents";
	if (result && !to.untouched_from(size))
		return testing::AssertionFailure()
		       << "bytes around a buffer of " << size
		       << " were written";
	return result;
}

void Pair::deregister(End &end)
{
	for (const Registration &known : registrations_)
		if (known.end == &end && known.mr) {
			EXPECT_EQ(end.side->dereg_mr(end.comm, known.mr),
				  ncclSuccess) << "deregMr";
		}
	forget(end);
}

void Pair::forget(End &end)
{
	registrations_.erase(
		std::remove_if(registrations_.begin(), registrations_.end(),
			       [&](auto &known) { return known.end == &end; }),
		registrations_.end());
	live_.erase(std::remove_if(live_.begin(), live_.end(),
				   [&](Transfer *transfer) {
					   return transfer->sends ==
						  (&end == &tx);
				   }),
		    live_.end());
}

void Pair::close_sender()
{
	if (!tx.comm)
		return;
	deregister(tx);
	EXPECT_EQ(tx.side->close_send(tx.comm), ncclSuccess);
	tx.comm = nullptr;
}

void Pair::close_receiver()
{
	if (!rx.comm)
		return;
	deregister(rx);
	EXPECT_EQ(rx.side->close_recv(rx.comm), ncclSuccess);
	rx.comm = nullptr;
}

ncclResult_t Pair::close_listen()
{
	ncclResult_t result = ncclSuccess;

	if (listener)
		result = rx.side->close_listen(listener);
	listener = nullptr;
	return result;
}

void Pair::close()
{
	close_listen();
	close_sender();
	close_receiver();
}
