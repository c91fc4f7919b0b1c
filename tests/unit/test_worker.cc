// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_worker.cc - progress threads: how many there are and what becomes of
 * them, that no connection waits for another of its thread, and that those with
 * nothing to do cost nothing. Both ends of each connection are in this process.
 */
#include <gtest/gtest.h>

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "hostile.h"

extern "C" {
#include "conn.h"
}

static int threads_to_refuse; /* of those that are started next, the last */
static int threads_to_start;

extern "C" int __real_pthread_create(pthread_t *, const pthread_attr_t *,
				     void *(*)(void *), void *);
extern "C" int __wrap_pthread_create(pthread_t *, const pthread_attr_t *,
				     void *(*)(void *), void *);
extern "C" int __wrap_pthread_create(pthread_t *thread,
				     const pthread_attr_t *attr,
				     void *(*run)(void *), void *arg)
{
	if (threads_to_refuse && threads_to_start-- <= 0)
		return EAGAIN;
	return __real_pthread_create(thread, attr, run, arg);
}

namespace {

using Micros = std::chrono::microseconds;

/* One direction: what is sent and received is in memory of its own. */
class Link {
public:
	explicit Link(struct devmem *ctx)
	{
		uint8_t handle[DEVMEM_HANDLE_BYTES];

		EXPECT_EQ(devmem_listen(ctx, 0, handle, &listener_), 0);
		EXPECT_TRUE(poll_until([&] {
			if (!tx)
				devmem_connect(ctx, 0, handle, &tx);
			if (!rx)
				devmem_accept(listener_, &rx);
			return tx && rx;
		}));
	}
	~Link() { close(); }
	Link(const Link &) = delete;
	Link &operator=(const Link &) = delete;

	void close()
	{
		devmem_conn_close(tx);
		devmem_conn_close(rx);
		devmem_listener_close(listener_);
		tx = rx = nullptr;
		listener_ = nullptr;
	}
	struct devmem_request *send(const std::vector<uint8_t> &from)
	{
		struct devmem_request *r = nullptr;

		EXPECT_EQ(devmem_send(tx, from.data(), from.size(), nullptr,
				      &r), 0);
		return r;
	}
	struct devmem_request *recv(std::vector<uint8_t> &to)
	{
		struct devmem_request *r = nullptr;

		EXPECT_EQ(devmem_recv(rx, to.data(), to.size(), nullptr, &r),
			  0);
		return r;
	}
	static int finish(struct devmem_request *r)
	{
		int rc = -EAGAIN;

		poll_until([&] {
			return (rc = devmem_test(r, nullptr)) != -EAGAIN;
		});
		return rc;
	}
	/* Is a message of @size what it was sent as? */
	bool exchange(size_t size)
	{
		std::vector<uint8_t> from(size), to(size);

		for (size_t i = 0; i < size; i++)
			from[i] = static_cast<uint8_t>(i * 31 + size);
		auto *in = recv(to);
		auto *out = send(from);
		return !finish(in) && !finish(out) && from == to;
	}
	/* Median time of a message of 8 bytes. */
	Micros small_message(int count)
	{
		std::vector<Micros> took;
		std::vector<uint8_t> from(8, 0x31), to(8);

		for (int i = 0; i < count; i++) {
			auto start = Clock::now();
			auto *in = recv(to);
			auto *out = send(from);
			if (finish(in)) {
				ADD_FAILURE() << "message " << i;
				return Micros::max();
			}
			took.push_back(std::chrono::duration_cast<Micros>(
				Clock::now() - start));
			EXPECT_EQ(finish(out), 0);
		}
		std::nth_element(took.begin(), took.begin() + count / 2,
				 took.end());
		return took[count / 2];
	}

	struct devmem_conn *tx = nullptr, *rx = nullptr;

private:
	struct devmem_listener *listener_ = nullptr;
};

class Worker : public testing::Test {
protected:
	void SetUp() override { fds_ = count_fds(); }
	void TearDown() override
	{
		threads_to_refuse = 0;
		close();
		EXPECT_EQ(count_fds(), fds_) << "descriptors were left open";
		EXPECT_TRUE(workers().empty()) << "threads were left";
	}
	void open(unsigned int threads, size_t eager_bytes = 1 << 30)
	{
		struct devmem_options options;

		devmem_options_init(&options);
		options.ifname = "=lo";
		options.region = DEVMEM_REGION_NONE;
		options.threads = threads;
		options.eager_bytes = eager_bytes;
		options.log = log;
		options.log_arg = this;
		ASSERT_EQ(devmem_open(&options, &ctx), 0);
	}
	void close()
	{
		devmem_close(ctx);
		ctx = nullptr;
	}
	/* devmem-0 and so on, but not devmem-unit, which is our own name. */
	static bool is_worker(const std::string &name)
	{
		return name.size() > 7 && !name.compare(0, 7, "devmem-") &&
		       isdigit(name[7]);
	}
	/* The library's threads by name, and what signals they block. */
	static std::map<std::string, uint64_t> workers()
	{
		DIR *dir = opendir("/proc/self/task");
		std::map<std::string, uint64_t> found;

		while (struct dirent *entry = readdir(dir)) {
			std::ifstream file(std::string("/proc/self/task/") +
					   entry->d_name + "/status");
			std::string key, name, value;

			if (entry->d_name[0] == '.')
				continue;
			while (file >> key && std::getline(file >> std::ws, value))
				if (key == "Name:")
					name = value;
				else if (key == "SigBlk:" && is_worker(name))
					found[name] = std::stoull(value, nullptr,
								  16);
		}
		closedir(dir);
		return found;
	}
	std::string said(const std::string &part)
	{
		std::lock_guard<std::mutex> guard(lock_);

		for (const std::string &line : lines_)
			if (line.find(part) != std::string::npos)
				return line;
		return "";
	}
	static Micros cpu_time()
	{
		struct timespec t;

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
		return std::chrono::seconds(t.tv_sec) +
		       Micros(t.tv_nsec / 1000);
	}
	static Micros cpu_time_of(Micros sleep)
	{
		Micros before = cpu_time();

		usleep(sleep.count());
		return cpu_time() - before;
	}

	struct devmem *ctx = nullptr;

private:
	static void log(void *arg, enum devmem_log_level level, const char *,
			int, const char *text)
	{
		auto *self = static_cast<Worker *>(arg);
		std::lock_guard<std::mutex> guard(self->lock_);

		self->lines_.push_back(
			(level == DEVMEM_LOG_WARN ? "WARN " : "INFO ") +
			std::string(text));
	}

	std::mutex lock_;
	std::vector<std::string> lines_;
	int fds_ = 0;
};

constexpr uint64_t bit(int signal)
{
	return uint64_t{1} << (signal - 1);
}

constexpr uint64_t fault_signals = bit(SIGSEGV) | bit(SIGBUS) | bit(SIGFPE) |
				   bit(SIGILL) | bit(SIGTRAP) | bit(SIGSYS);

TEST_F(Worker, AsManyAsAskedForWithNamesAndWithoutSignals)
{
	open(3);
	auto found = workers();
	ASSERT_EQ(found.size(), 3u);
	for (const char *name : {"devmem-0", "devmem-1", "devmem-2"}) {
		ASSERT_TRUE(found.count(name)) << name;
		/* All but KILL, STOP, the C library's two, and faults. */
		EXPECT_EQ(found[name] | 0x180040100 | fault_signals,
			  UINT64_MAX) << name;
		/* A thread begins with all blocked. */
		EXPECT_TRUE(poll_until([&] {
			return !(workers()[name] & fault_signals);
		})) << name;
	}
	EXPECT_NE(said("INFO progress threads=3 ").find(
			  "NCCL_DEVMEM_THREADS=3"), std::string::npos);
	EXPECT_TRUE(Link(ctx).exchange(1000000));
	close();
	EXPECT_TRUE(workers().empty());
	/* And once more. */
	open(1);
	EXPECT_EQ(workers().size(), 1u);
	EXPECT_TRUE(Link(ctx).exchange(1000000));
}

TEST_F(Worker, NoneIfNoneIsAskedFor)
{
	open(0);
	EXPECT_TRUE(workers().empty());
	EXPECT_NE(said("INFO progress threads=0 "), "");
	EXPECT_TRUE(Link(ctx).exchange(1000000));
}

TEST_F(Worker, OneForEachSixteenUsableCpusAndAtMostFour)
{
	cpu_set_t set;

	ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
	open(DEVMEM_THREADS_AUTO);
	EXPECT_EQ(workers().size(), std::min(CPU_COUNT(&set) / 16, 4));
	EXPECT_NE(said("INFO progress threads=")
			  .find(std::to_string(CPU_COUNT(&set)) +
				" CPUs are usable"), std::string::npos);
}

TEST_F(Worker, TheFirstContextDecidesAndTheLastEndsThem)
{
	struct devmem *first;

	open(1);
	first = ctx;
	open(4);
	EXPECT_EQ(workers().size(), 1u);
	devmem_close(first);
	EXPECT_EQ(workers().size(), 1u);
	EXPECT_TRUE(Link(ctx).exchange(100000));
}

TEST_F(Worker, ThatCannotBeStartedIsMissingAndThatIsSaid)
{
	threads_to_refuse = 1;
	threads_to_start = 0;
	open(2);
	EXPECT_TRUE(workers().empty());
	EXPECT_NE(said("WARN starting progress thread 1 of 2")
			  .find("inside the calls"), std::string::npos);
	EXPECT_NE(said("INFO progress threads=0 "), "");
	EXPECT_TRUE(Link(ctx).exchange(1000000));
	close();

	threads_to_start = 1;
	open(2);
	EXPECT_EQ(workers().size(), 1u);
	EXPECT_NE(said("WARN starting progress thread 2 of 2"), "");
	EXPECT_TRUE(Link(ctx).exchange(1000000));
}

/* Nobody calls anything meanwhile. */
TEST_F(Worker, MovesMessagesByItself)
{
	open(1);
	Link link(ctx);
	std::vector<uint8_t> from(8 << 20, 0x42), to(8 << 20);
	auto *in = link.recv(to), *out = link.send(from);

	usleep(500000);
	EXPECT_EQ(devmem_test(in, nullptr), 0);
	EXPECT_EQ(devmem_test(out, nullptr), 0);
	EXPECT_EQ(from, to);
}

/* It sleeps by then, and would for ever, or for 100 ms. */
TEST_F(Worker, IsAwakeSoonAfterAPost)
{
	open(1);
	Link link(ctx);
	std::vector<uint8_t> from(100, 0x42), to(100), never(100);
	int late = 0;

	for (int round = 0; round < 20; round++) {
		/* Also with something that it waits for. */
		auto *in = link.recv(to);
		usleep(20000);
		auto start = Clock::now();
		auto *out = link.send(from);
		ASSERT_EQ(Link::finish(in), 0);
		late += Clock::now() - start > std::chrono::milliseconds(50);
		ASSERT_EQ(Link::finish(out), 0);
		usleep(20000);
	}
	/* One that nothing wakes is late each time; a busy machine now and then. */
	EXPECT_LT(late, 10);
}

TEST_F(Worker, CountersAreThoseOfAllMessagesSoFar)
{
	open(2);
	Link link(ctx);
	struct devmem_stats rx, tx;

	for (uint64_t i = 1; i <= 20; i++) {
		ASSERT_TRUE(link.exchange(100000));
		devmem_conn_stats(link.rx, &rx);
		devmem_conn_stats(link.tx, &tx);
		EXPECT_EQ(rx.messages, i);
		EXPECT_EQ(rx.bytes_inline + rx.bytes_host, i * 100000);
		EXPECT_EQ(tx.bytes_inline + tx.bytes_host, i * 100000);
	}
}

/* Half through, with all that can be posted. */
TEST_F(Worker, GivesAConnectionBackAtAnyTime)
{
	open(1);
	std::vector<uint8_t> from(8 << 20, 1), to(8 << 20);
	Link other(ctx);

	for (int round = 0; round < 50; round++) {
		Link link(ctx);

		for (int i = 0; i < 16; i++) {
			link.recv(to);
			link.send(from);
		}
		usleep(100 * round);
		auto start = Clock::now();
		link.close();
		EXPECT_LT(Clock::now() - start, std::chrono::seconds(10));
		ASSERT_TRUE(other.exchange(1000)) << "round " << round;
	}
}

class HeadOfLine : public Worker {
protected:
	/* All on one thread: the worst that can be. */
	void SetUp() override
	{
		Worker::SetUp();
		open(1);
		pinged_ = std::make_unique<Link>(ctx);
		other_ = std::make_unique<Link>(ctx);
		pinged_->small_message(100);
		for (int i = 0; i < 5; i++)
			alone_ = std::min(alone_, pinged_->small_message(300));
	}
	void TearDown() override
	{
		pinged_.reset();
		other_.reset();
		Worker::TearDown();
	}
	/*
	 * What waits for nothing of the other connection waits for no nap. Others
	 * that have the CPUs delay it as well, but not each time; a nap would.
	 */
	void expect_as_fast()
	{
		Micros beside = Micros::max();

		for (int i = 0; i < 20 && beside >= 3 * alone_ + Micros(100); i++)
			beside = pinged_->small_message(300);
		RecordProperty("alone_us", alone_.count());
		RecordProperty("beside_us", beside.count());
		EXPECT_LT(beside, 3 * alone_ + Micros(100))
			<< alone_.count() << " us alone";
	}

	std::unique_ptr<Link> pinged_, other_;
	Micros alone_ = Micros::max();
};

TEST_F(HeadOfLine, AReceiverThatPostsNothing)
{
	std::vector<uint8_t> from(8 << 20, 1);

	for (int i = 0; i < DEVMEM_MAX_REQUESTS; i++)
		other_->send(from);
	usleep(100000); /* until no socket takes any more */
	expect_as_fast();
}

TEST_F(HeadOfLine, ASenderThatSendsNothing)
{
	std::vector<uint8_t> to(8 << 20);

	for (int i = 0; i < DEVMEM_MAX_REQUESTS; i++)
		other_->recv(to);
	expect_as_fast();
}

TEST_F(HeadOfLine, APeerThatIsGone)
{
	std::vector<uint8_t> to(8 << 20);
	std::vector<struct devmem_request *> in;

	for (int i = 0; i < DEVMEM_MAX_REQUESTS; i++)
		in.push_back(other_->recv(to));
	devmem_conn_close(other_->tx);
	other_->tx = nullptr;
	expect_as_fast();
	for (auto *r : in)
		EXPECT_EQ(Link::finish(r), -ECONNRESET);
	EXPECT_STRNE(devmem_conn_error(other_->rx), "");
}

/* Whose connections have no thread: the test takes their turns. */
class Turn : public Worker, public testing::WithParamInterface<size_t> {
protected:
	static uint64_t moved(const struct devmem_conn *c)
	{
		return c->stats->bytes_inline + c->stats->bytes_host;
	}
	/*
	 * How much it moved, which is no more than its share, and what was read
	 * with a header.
	 */
	static uint64_t turn(struct devmem_conn *c)
	{
		uint64_t before = moved(c);

		conn_turn(c, false);
		EXPECT_LE(moved(c) - before, TURN_BYTES + CONTROL_IN);
		return moved(c) - before;
	}
};

/* So whoever is next waits for that, not for all that the others have. */
TEST_P(Turn, MovesNoMoreThanItsShare)
{
	constexpr int messages = 4;
	std::vector<uint8_t> from(8 << 20), to(8 << 20);
	struct devmem_request *in[messages], *out[messages];
	uint64_t most = 0;

	open(0, GetParam());
	Link link(ctx);
	for (size_t i = 0; i < from.size(); i++)
		from[i] = static_cast<uint8_t>(i * 31 + i / 1000);
	/* Posting is no turn here. */
	link.tx->budget = link.rx->budget = 0;
	for (int i = 0; i < messages; i++) {
		in[i] = link.recv(to);
		out[i] = link.send(from);
	}
	EXPECT_TRUE(poll_until([&] {
		most = std::max(most, turn(link.tx));
		/* Let as much wait as there may be: it would be one call. */
		if (moved(link.tx) < messages * from.size() && turn(link.tx))
			return false;
		most = std::max(most, turn(link.rx));
		return moved(link.rx) == messages * from.size();
	}));
	EXPECT_GE(most, TURN_BYTES) << "it never had more to move";
	for (int i = 0; i < messages; i++) {
		EXPECT_EQ(Link::finish(in[i]), 0);
		EXPECT_EQ(Link::finish(out[i]), 0);
	}
	EXPECT_EQ(from, to);
}

INSTANTIATE_TEST_SUITE_P(, Turn, testing::Values(0, size_t{1} << 30),
			 [](const testing::TestParamInfo<size_t> &eager) {
				 return eager.param ? "OnControl" : "OnFlows";
			 });

class Idle : public Worker {
protected:
	/* A second of many connections that have moved something before. */
	Micros second(bool post)
	{
		std::vector<std::unique_ptr<Link>> links;
		std::vector<uint8_t> to(1 << 20);

		open(2);
		for (int i = 0; i < 32; i++) {
			links.push_back(std::make_unique<Link>(ctx));
			EXPECT_TRUE(links.back()->exchange(100000));
			if (post)
				links.back()->recv(to);
		}
		usleep(100000);
		return cpu_time_of(std::chrono::seconds(1));
	}
};

TEST_F(Idle, ConnectionsWithoutRequestsTakeNoTime)
{
	EXPECT_LT(second(false).count(), 2000);
}

/* They are looked after now and then: the peer's host may have gone. */
TEST_F(Idle, ReceivesThatNothingComesForTakeHardlyAny)
{
	EXPECT_LT(second(true).count(), 5000);
}

/* As with a pool, where receives posted one by one leave a grant for later. */
TEST_F(Idle, GrantsThatAreHeldBackTakeHardlyAny)
{
	std::vector<uint8_t> to[8];

	open(1);
	Link link(ctx);
	ASSERT_TRUE(link.exchange(100));
	link.rx->ungranted = false;
	link.rx->inline_bytes = 0;
	for (auto &one : to) {
		one.resize(1 << 20);
		link.recv(one);
		usleep(5000);
	}
	EXPECT_LT(cpu_time_of(std::chrono::seconds(1)).count(), 5000);
}

/*
 * NCCL's thread that posts and tests has ended when it aborts; then it takes its
 * memory back, and closes at the end.
 */
TEST_F(Worker, TouchesNoMemoryThatWasReleased)
{
	for (size_t size : {100u, 32768u, 1u << 20}) {
		struct devmem_mr *mr;
		void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct devmem_request *in;

		ASSERT_NE(memory, MAP_FAILED);
		open(1);
		Link link(ctx);
		ASSERT_EQ(devmem_mr_host(link.rx, memory, size, &mr), 0);
		/* Released while nothing uses it, it is gone, and that is all. */
		ASSERT_EQ(devmem_mr_release(link.rx, mr), 0);
		ASSERT_TRUE(link.exchange(1000));
		ASSERT_EQ(devmem_mr_host(link.rx, memory, size, &mr), 0);
		ASSERT_EQ(devmem_recv(link.rx, memory, size, mr, &in), 0);
		ASSERT_EQ(devmem_mr_release(link.rx, mr), 0);
		ASSERT_EQ(munmap(memory, size), 0);
		std::vector<uint8_t> from(size, 0x66);
		link.send(from);
		usleep(20000);
		EXPECT_EQ(Link::finish(in), -ECANCELED);
		link.close();
		close();
	}
}

/* Memory comes and goes by two threads, and counters are read meanwhile. */
TEST_F(Worker, PausesForOneAtATime)
{
	std::vector<uint8_t> memory(1 << 16);

	open(1);
	Link link(ctx);
	auto come_and_go = [&] {
		struct devmem_mr *mr;

		ASSERT_EQ(devmem_mr_host(link.rx, memory.data(), memory.size(),
					 &mr), 0);
		ASSERT_EQ(devmem_mr_release(link.rx, mr), 0);
	};
	std::thread other([&] {
		for (int i = 0; i < 3000; i++)
			come_and_go();
	});
	for (int i = 0; i < 3000; i++) {
		struct devmem_stats s;

		come_and_go();
		devmem_conn_stats(link.rx, &s);
	}
	other.join();
	EXPECT_TRUE(link.exchange(100000));
}

/* Which has copies of the connections, but not of the threads. */
TEST_F(Worker, AChildOfForkCanCloseAndBeginAnew)
{
	std::vector<uint8_t> to(1000);

	open(2);
	/* While a thread is busy, or asleep, or holds a lock. */
	for (int round = 0; round < 30; round++) {
		Link link(ctx);
		int status = -1;

		link.recv(to);
		usleep(round % 3 * 10000);
		pid_t child = fork();
		ASSERT_GE(child, 0);
		if (!child) {
			alarm(5); /* a child that hangs dies by it */
			link.close();
			close();
			open(1);
			_exit(workers().size() == 1 &&
			      Link(ctx).exchange(100000) ? 0 : 1);
		}
		ASSERT_EQ(waitpid(child, &status, 0), child);
		ASSERT_EQ(status, 0) << "round " << round;
	}
}

} // namespace
