// SPDX-License-Identifier: BSD-3-Clause
/*
 * test_stats_read.cc - the arithmetic of histograms, JSON, and what is read of a
 * file of statistics that changes meanwhile, or lies.
 */
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "c_headers.h"

extern "C" {
#include "json.h"
#include "stats_proc.h"
#include "stats_read.h"
}

namespace {

/* ---- histograms ---------------------------------------------------------- */

TEST(Histogram, EachTimeIsInTheBucketWhoseBoundsItIsWithin)
{
	for (unsigned int i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
		uint64_t bound = histogram_bound(i);

		ASSERT_EQ(histogram_bucket(bound), i);
		ASSERT_EQ(histogram_bucket(bound + 1), i + 1);
	}
	EXPECT_EQ(histogram_bucket(0), 0u);
	EXPECT_EQ(histogram_bound(HISTOGRAM_BUCKETS - 1),
		  (uint64_t(1) << HISTOGRAM_BITS) - 1);
	EXPECT_EQ(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

TEST(Histogram, APercentileIsNeverLessAndAQuarterMoreAtMost)
{
	std::mt19937_64 random(1);
	struct histogram h = {};
	std::vector<uint64_t> all;

	for (int i = 0; i < 10000; i++) {
		all.push_back(random() >> (24 + random() % 40));
		histogram_add(&h, all.back());
	}
	std::sort(all.begin(), all.end());
	EXPECT_EQ(histogram_count(&h), all.size());
	EXPECT_EQ(h.max, all.back());
	for (double p : {0.01, 10., 50., 90., 99., 99.9, 100.}) {
		uint64_t exact = all[std::max(
			0, int(std::ceil(p / 100 * 10000)) - 1)];
		uint64_t got = histogram_percentile(&h, p);

		EXPECT_GE(got, exact) << p;
		EXPECT_LE(got, exact + exact / 4) << p;
	}
}

TEST(Histogram, OfNothingAndOfOne)
{
	struct histogram h = {};

	EXPECT_EQ(histogram_percentile(&h, 50), 0u);
	histogram_add(&h, 1000);
	EXPECT_EQ(histogram_percentile(&h, 0), 1000u);
	EXPECT_EQ(histogram_percentile(&h, 100), 1000u);
	EXPECT_EQ(histogram_upto(&h, 895), 0u);
	EXPECT_EQ(histogram_upto(&h, 1023), 1u);
}

TEST(Histogram, MergingAddsUp)
{
	struct histogram a = {}, b = {};

	histogram_add(&a, 5);
	histogram_add(&b, 5000);
	histogram_add(&b, UINT64_MAX / 2);
	histogram_merge(&a, &b);
	EXPECT_EQ(histogram_count(&a), 3u);
	EXPECT_EQ(a.max, UINT64_MAX / 2);
	EXPECT_EQ(a.sum, 5005 + UINT64_MAX / 2);
}

/* ---- JSON ---------------------------------------------------------------- */

std::string json_of(const std::function<void(struct json *)> &write)
{
	struct json j = {};
	std::string text;

	json_begin(&j, open_memstream(&j.text, &j.bytes));
	j.one_line = true;
	write(&j);
	EXPECT_EQ(json_end(&j), 0);
	text.assign(j.text, j.bytes);
	free(j.text);
	return text;
}

std::string json_string_of(const char *text)
{
	return json_of([&](struct json *j) { json_string(j, nullptr, text); });
}

TEST(Json, TextIsEscaped)
{
	EXPECT_EQ(json_string_of("a\"b\\c\n\x01\x7f"),
		  "\"a\\\"b\\\\c\\u000a\\u0001\\u007f\"\n");
	EXPECT_EQ(json_string_of("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
		  "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"\n");
}

TEST(Json, WhatIsNotUtf8IsReplaced)
{
	/* Alone, cut short, too long, a surrogate, beyond the last. */
	EXPECT_EQ(json_string_of("\x80"), "\"\\ufffd\"\n");
	EXPECT_EQ(json_string_of("\xe2\x82"), "\"\\ufffd\\ufffd\"\n");
	EXPECT_EQ(json_string_of("\xc0\xaf"), "\"\\ufffd\\ufffd\"\n");
	EXPECT_EQ(json_string_of("\xed\xa0\x80"),
		  "\"\\ufffd\\ufffd\\ufffd\"\n");
	EXPECT_EQ(json_string_of("\xf4\x90\x80\x80"),
		  "\"\\ufffd\\ufffd\\ufffd\\ufffd\"\n");
}

TEST(Json, CommasAreWhereTheyBelong)
{
	EXPECT_EQ(json_of([](struct json *j) {
			  json_open(j, nullptr, '{');
			  json_open(j, "none", '[');
			  json_close(j, ']');
			  json_open(j, "some", '[');
			  json_u64(j, nullptr, UINT64_MAX);
			  json_i64(j, nullptr, -1);
			  json_double(j, nullptr, 0.5);
			  json_double(j, nullptr, NAN);
			  json_close(j, ']');
			  json_bool(j, "yes", true);
			  json_close(j, '}');
		  }),
		  "{\"none\": [],\"some\": [18446744073709551615,-1,0.5,null],"
		  "\"yes\": true}\n");
}

/* ---- reading ------------------------------------------------------------- */

/* A file in memory, and what happens to it at each read. */
struct Image {
	explicit Image(uint32_t records = 2)
		: bytes(sizeof(struct stats_header) +
			records * sizeof(struct stats_record))
	{
		struct stats_header *h = head();

		memcpy(h->magic, STATS_MAGIC, sizeof(h->magic));
		h->version = STATS_VERSION;
		h->header_bytes = sizeof(*h);
		h->record_bytes = sizeof(struct stats_record);
		h->records = records;
		for (uint32_t i = 0; i < records; i++) {
			record(i)->state = STATS_OPEN;
			record(i)->id = i + 1;
		}
	}
	struct stats_header *head()
	{
		return reinterpret_cast<struct stats_header *>(bytes.data());
	}
	struct stats_record *record(uint32_t i)
	{
		return reinterpret_cast<struct stats_record *>(head() + 1) + i;
	}
	int read(struct stats_snapshot *s)
	{
		return stats_read(pread, this, s);
	}
	static ssize_t pread(void *arg, void *to, size_t n, uint64_t at)
	{
		auto *image = static_cast<Image *>(arg);

		if (image->before)
			image->before(at);
		if (at >= image->bytes.size())
			return 0;
		n = std::min<size_t>(n, image->bytes.size() - at);
		memcpy(to, &image->bytes[at], n);
		return ssize_t(n);
	}

	std::vector<char> bytes;
	std::function<void(uint64_t at)> before;
};

TEST(StatsRead, WhatIsOpenOrClosedIsRead)
{
	struct stats_snapshot s;
	Image image(4);

	image.record(0)->state = STATS_FREE;
	image.record(1)->state = STATS_MAKING;
	image.record(2)->state = STATS_CLOSED;
	image.record(3)->counters.messages = 7;
	ASSERT_EQ(image.read(&s), 0);
	ASSERT_EQ(s.count, 2u);
	EXPECT_EQ(s.record[0].id, 3u);
	EXPECT_EQ(s.record[1].counters.messages, 7u);
	stats_snapshot_free(&s);
}

TEST(StatsRead, OfTwoOfOneNumberOneIsRead)
{
	struct stats_snapshot s;
	Image image(3);

	image.record(2)->id = 1;
	ASSERT_EQ(image.read(&s), 0);
	ASSERT_EQ(s.count, 2u);
	EXPECT_EQ(s.record[0].id, 1u);
	EXPECT_EQ(s.record[1].id, 2u);
	stats_snapshot_free(&s);
}

TEST(StatsRead, ARecordThatChangesMeanwhileIsReadAgain)
{
	const uint64_t at = sizeof(struct stats_header);
	struct stats_snapshot s;
	Image image;
	int reads = 0;

	/* At the second read of it another connection gets it, half way. */
	image.before = [&](uint64_t where) {
		struct stats_record *r = image.record(0);

		if (where != at)
			return;
		reads++;
		if (reads == 2) {
			r->seq++;
			r->id = 99;
		}
		if (reads == 4) {
			snprintf(r->nic, sizeof(r->nic), "new");
			r->seq++;
		}
	};
	ASSERT_EQ(image.read(&s), 0);
	ASSERT_EQ(s.count, 2u);
	EXPECT_EQ(s.torn, 0u);
	EXPECT_EQ(s.record[0].id, 99u);
	EXPECT_STREQ(s.record[0].nic, "new");
	stats_snapshot_free(&s);
}

TEST(StatsRead, AWriterThatDiedInTheMiddleHoldsNobodyUp)
{
	struct stats_snapshot s;
	Image image;

	image.record(0)->seq = 5;
	image.head()->pool[3].seq = 1;
	image.head()->pool[3].state = STATS_OPEN;
	ASSERT_EQ(image.read(&s), 0);
	EXPECT_EQ(s.count, 1u);
	EXPECT_EQ(s.torn, 1u);
	EXPECT_EQ(s.head.pool[3].state, uint32_t(STATS_FREE));
	stats_snapshot_free(&s);
}

TEST(StatsRead, CountsThatMoveToTheTotalsAreNotCountedTwice)
{
	struct stats_snapshot s;
	Image image;
	bool moved = false;

	image.record(0)->counters.messages = 10;
	/* After the header was read, and before the record is. */
	image.before = [&](uint64_t where) {
		if (moved || where < sizeof(struct stats_header))
			return;
		moved = true;
		image.head()->turn += 2;
		image.head()->total[0].counters.messages += 10;
		image.record(0)->state = STATS_FREE;
	};
	ASSERT_EQ(image.read(&s), 0);
	uint64_t sum = s.head.total[0].counters.messages;
	for (unsigned int i = 0; i < s.count; i++)
		sum += s.record[i].counters.messages;
	EXPECT_EQ(sum, 10u);
	stats_snapshot_free(&s);
}

TEST(StatsRead, WhatIsNoSuchFileIsRefused)
{
	struct stats_snapshot s;

	for (size_t size : {size_t(0), size_t(8), sizeof(struct stats_header) - 1,
			    sizeof(struct stats_header),
			    sizeof(struct stats_header) +
				    2 * sizeof(struct stats_record) - 1}) {
		Image image;

		image.bytes.resize(size);
		EXPECT_EQ(image.read(&s), -EINVAL) << size;
	}
	for (uint32_t records : {STATS_RECORDS + 1, 0x80000000u, UINT32_MAX}) {
		Image image;

		image.head()->records = records;
		EXPECT_EQ(image.read(&s), -EINVAL) << records;
	}
	Image magic, version, size;
	magic.head()->magic[0] = 'X';
	EXPECT_EQ(magic.read(&s), -EINVAL);
	version.head()->version++;
	EXPECT_EQ(version.read(&s), -EPROTONOSUPPORT);
	size.head()->record_bytes--;
	EXPECT_EQ(size.read(&s), -EPROTONOSUPPORT);
}

/* Whatever is in it: text ends, numbers stay within bounds, JSON is JSON. */
TEST(StatsRead, HostileContentsDoNoHarm)
{
	std::mt19937 random(7);

	for (int round = 0; round < 200; round++) {
		struct stats_snapshot s;
		Image image(3);
		const size_t keep = offsetof(struct stats_header, turn);

		for (size_t i = keep; i < image.bytes.size(); i++)
			image.bytes[i] = char(random());
		image.head()->turn &= ~1u;
		for (uint32_t i = 0; i < 3; i++) {
			image.record(i)->seq &= ~1u;
			image.record(i)->state = STATS_OPEN + random() % 2;
		}
		ASSERT_EQ(image.read(&s), 0);
		ASSERT_EQ(s.count, 3u);
		for (unsigned int i = 0; i < s.count; i++) {
			EXPECT_LT(strlen(s.record[i].error),
				  sizeof(s.record[i].error));
			EXPECT_LE(s.record[i].pools,
				  unsigned(DEVMEM_MAX_RAILS));
			histogram_percentile(&s.record[i].time[0], 99);
		}
		for (const struct stats_pool &p : s.head.pool)
			EXPECT_LE(p.queues, unsigned(DEVMEM_MAX_QUEUES));
		std::string text = json_of(
			[&](struct json *j) { stats_json(j, &s); });
		for (char c : text)
			ASSERT_TRUE(c == '\n' || uint8_t(c) >= ' ');
		stats_life_of(&s.head);
		stats_snapshot_free(&s);
	}
}

/* Named as ours, but a link, a folder, a pipe: not followed, not waited for. */
TEST(StatsRead, OnlyPlainFilesAreOpened)
{
	char dir[] = "/tmp/devmem-stats-XXXXXX";
	uint32_t uid;
	int fd, at;

	ASSERT_TRUE(mkdtemp(dir));
	at = open(dir, O_RDONLY | O_DIRECTORY);
	ASSERT_GE(at, 0);
	ASSERT_EQ(symlinkat("/etc/passwd", at, STATS_PREFIX "0-1"), 0);
	ASSERT_EQ(mkfifoat(at, STATS_PREFIX "0-2", 0600), 0);
	ASSERT_EQ(mkdirat(at, STATS_PREFIX "0-3", 0700), 0);
	fd = openat(at, STATS_PREFIX "0-4", O_CREAT | O_WRONLY, 0600);
	close(fd);
	EXPECT_LT(stats_open_file(at, STATS_PREFIX "0-1", &uid), 0);
	EXPECT_LT(stats_open_file(at, STATS_PREFIX "0-2", &uid), 0);
	EXPECT_LT(stats_open_file(at, STATS_PREFIX "0-3", &uid), 0);
	fd = stats_open_file(at, STATS_PREFIX "0-4", &uid);
	EXPECT_GE(fd, 0);
	EXPECT_EQ(uid, geteuid());
	close(fd);
	EXPECT_EQ(stats_open_file(at, STATS_PREFIX "0-x", &uid), -EINVAL);
	EXPECT_EQ(stats_open_file(at, "passwd", &uid), -EINVAL);
	/* So long that two could be taken for one. */
	EXPECT_EQ(stats_open_file(
			  at,
			  (STATS_PREFIX + std::string(STATS_NAME, '1')).c_str(),
			  &uid),
		  -EINVAL);
	for (const char *name : {"0-1", "0-2", "0-4"})
		unlinkat(at, (std::string(STATS_PREFIX) + name).c_str(), 0);
	unlinkat(at, STATS_PREFIX "0-3", AT_REMOVEDIR);
	close(at);
	rmdir(dir);
}

} // namespace
