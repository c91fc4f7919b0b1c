// SPDX-License-Identifier: BSD-3-Clause
/*
 * blind_send.c - sending from device memory that the CPU cannot reach.
 *
 *   blind-send HOST-OF-RECEIVER HOST-OF-SENDER
 *
 * The sender registers a dma-buf under an address where there is no memory that
 * may be read or written, as a GPU's address is to the CPU, and nothing of the
 * dma-buf is mapped, neither before nor after. So bytes that arrive were read by
 * the NIC: of any size, from any offset, those of the smallest messages, too.
 *
 * At last the test, which can, writes the memory anew as soon as a message is done:
 * if that was said too early, what is sent again is wrong.
 *
 * Several connections send from one buffer. It is bound once, and stays until the
 * last of them has released it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <dirent.h>
#include <unistd.h>

#include "client.h"

/* More than the receiver can grant at once. */
#define REGION (32u << 20)
#define CONNS  4
#define ROUNDS 100
#define CHUNK  65536u

static const struct {
	size_t offset, size;
} part[] = {
	{ 0, 1 },	{ 0, REGION },	  { 4095, 2 },	     { 1, 4096 },
	{ 4096, 4096 }, { 777, 0 },	  { 12345, 8192 },   { 100, 65536 },
	{ 3, 1048577 }, { REGION - 1, 1 }, { 1, REGION - 1 }, { 0, 8000 },
};
#define PARTS (sizeof(part) / sizeof(part[0]))

static uint8_t byte_at(size_t i) { return (uint8_t)(i * 167 ^ i >> 8 ^ i >> 17); }

static int mem; /* what the dma-buf is made of */

static int dmabuf_of_bytes(void)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC,
					 .size = REGION };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	uint8_t *p;
	int fd;

	mem = memfd_create("blind-send", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (dev < 0 || mem < 0 || ftruncate(mem, REGION) ||
	    fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK))
		die(-errno, "memory for a dma-buf");
	p = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	if (p == MAP_FAILED)
		die(-errno, "mmap");
	for (size_t i = 0; i < REGION; i++)
		p[i] = byte_at(i);
	munmap(p, REGION);
	create.memfd = (uint32_t)mem;
	fd = ioctl(dev, UDMABUF_CREATE, &create);
	if (fd < 0)
		die(-errno, "UDMABUF_CREATE");
	close(dev);
	return fd;
}

static void expect_unmapped(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];

	if (!f)
		die(-errno, "/proc/self/maps");
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "dmabuf") || strstr(line, "memfd"))
			die(0, "the CPU can reach device memory: %s", line);
	fclose(f);
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

static struct devmem_mr *register_buffer(struct devmem_conn *c, void *addr,
					 int fd)
{
	int copy = dup(fd); /* each registration comes with its own */
	struct devmem_mr *mr;
	int rc = devmem_mr_dmabuf(c, addr, REGION, 0, copy, &mr);

	if (rc)
		die(rc, "devmem_mr_dmabuf");
	close(copy);
	return mr;
}

static void send_parts(struct devmem_conn *c, struct devmem_mr *mr, char *addr)
{
	struct devmem_request *r[PARTS];
	struct devmem_stats s;
	uint64_t sum = 0;

	for (size_t i = 0; i < PARTS; i++) {
		int rc = devmem_send(c, addr + part[i].offset, part[i].size, mr,
				     &r[i]);

		if (rc)
			die(rc, "devmem_send");
		sum += part[i].size;
	}
	for (size_t i = 0; i < PARTS; i++)
		if (client_finish(r[i]) != part[i].size)
			die(0, "message %zu has another size", i);
	devmem_conn_stats(c, &s);
	if (s.bytes_devmem != sum || s.bytes_host || s.bytes_inline)
		die(0, "of %llu bytes %llu by devmem, %llu by host, %llu inline",
		    (unsigned long long)sum, (unsigned long long)s.bytes_devmem,
		    (unsigned long long)s.bytes_host,
		    (unsigned long long)s.bytes_inline);
}

static void send_rewritten(struct devmem_conn *c, struct devmem_mr *mr,
			   char *addr)
{
	uint8_t *p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED, mem,
			  0);

	if (p == MAP_FAILED)
		die(-errno, "mmap");
	for (size_t i = 0; i < ROUNDS; i++) {
		struct devmem_request *r;
		int rc;

		for (size_t j = 0; j < CHUNK; j++)
			p[j] = byte_at(i * 7919 + j);
		rc = devmem_send(c, addr, CHUNK, mr, &r);
		if (rc)
			die(rc, "devmem_send");
		client_finish(r);
	}
	munmap(p, CHUNK);
}

static void sender(int peer)
{
	struct devmem *d = client_open(DEVMEM_REQUIRE_TX, 2);
	char handle[DEVMEM_HANDLE_BYTES], accepted, *addr;
	struct devmem_conn *conn[CONNS];
	struct devmem_mr *mr[CONNS];
	int fd = dmabuf_of_bytes(), one, n;

	addr = mmap(NULL, REGION, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	client_handle(peer, handle);
	for (int i = 0; i < CONNS; i++) {
		conn[i] = client_connect(d, handle);
		/* With packets lost the next one could be there before it. */
		if (read(peer, &accepted, 1) != 1)
			die(0, "the peer has not accepted connection %d", i);
	}
	n = descriptors();
	mr[0] = register_buffer(conn[0], addr, fd);
	one = descriptors() - n;
	for (int i = 1; i < CONNS; i++)
		mr[i] = register_buffer(conn[i], addr, fd);
	if (one != 1 || descriptors() != n + one)
		die(0, "%d descriptors for the first registration, %d for %d",
		    one, descriptors() - n, CONNS);
	close(fd);
	expect_unmapped();
	for (int i = 0; i < CONNS; i++) {
		int rc;

		send_parts(conn[i], mr[i], addr);
		expect_unmapped();
		if (i == CONNS - 1)
			send_rewritten(conn[i], mr[i], addr);
		rc = devmem_mr_release(conn[i], mr[i]);
		if (rc)
			die(rc, "devmem_mr_release");
	}
	if (descriptors() != n - 1)
		die(0, "the binding has outlived its registrations");
	client_wait_end(peer);
	devmem_close(d);
}

/* All are posted at once, each with room for its message and no more. */
static void receive_parts(struct devmem_conn *c, uint8_t *buffer)
{
	struct devmem_request *r[PARTS];
	uint8_t *at[PARTS];

	for (size_t i = 0; i < PARTS; buffer += part[i++].size) {
		int rc = devmem_recv(c, buffer, part[i].size, NULL, &r[i]);

		if (rc)
			die(rc, "devmem_recv");
		at[i] = buffer;
	}
	for (size_t i = 0; i < PARTS; i++) {
		if (client_finish(r[i]) != part[i].size)
			die(0, "message %zu has another size", i);
		for (size_t j = 0; j < part[i].size; j++)
			if (at[i][j] != byte_at(part[i].offset + j))
				die(0, "message %zu is wrong at byte %zu", i, j);
	}
}

static void receive_rewritten(struct devmem_conn *c, uint8_t *buffer)
{
	for (size_t i = 0; i < ROUNDS; i++) {
		struct devmem_request *r;
		int rc = devmem_recv(c, buffer, CHUNK, NULL, &r);

		if (rc)
			die(rc, "devmem_recv");
		client_finish(r);
		for (size_t j = 0; j < CHUNK; j++)
			if (buffer[j] != byte_at(i * 7919 + j))
				die(0, "round %zu is wrong at byte %zu", i, j);
	}
}

static void receiver(int peer)
{
	struct devmem *d = client_open(DEVMEM_REQUIRE_RX, 2);
	struct devmem_listener *l = client_listen(d, peer);
	struct devmem_conn *conn[CONNS];
	size_t room = 0;
	uint8_t *buffer;

	for (size_t i = 0; i < PARTS; i++)
		room += part[i].size;
	buffer = malloc(room);
	if (!buffer)
		die(-ENOMEM, "a buffer");
	for (int i = 0; i < CONNS; i++) {
		conn[i] = client_accept(l);
		if (write(peer, "", 1) != 1)
			die(-errno, "telling the peer");
	}
	for (int i = 0; i < CONNS; i++)
		receive_parts(conn[i], buffer);
	receive_rewritten(conn[CONNS - 1], buffer);
	devmem_close(d);
	free(buffer);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr,
			"usage: blind-send HOST-OF-RECEIVER HOST-OF-SENDER\n");
		return 2;
	}
	return client_pair(argv[1], receiver, argv[2], sender);
}
