# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What NCCL does besides a ring's all-reduce is right too, and its payload lands
# in the pool: the tree, parts gathered and scattered, everyone to everyone, and
# all of it in random order, with random pauses.

collective()	# MODE [ARG...]
{
	make_hosts 4
	bench "$@" --ranks 4 --channels 2 --slice 64K -b 12 -e 3000004 -f 50 \
		-n 2 -w 1
	expect_right
	expect_devmem
}
t "tree" 60 collective allreduce --algo tree
for mode in allgather reducescatter broadcast alltoall; do
	t "$mode" 60 collective "$mode"
done

soak()	# SEED
{
	make_hosts 4
	bench soak --ranks 4 --channels 2 --slice 64K -e 4M --seconds 10 \
		--seed "$1"
	expect_right
	expect_devmem
	expect_tokens
}
t "soak, seed 1" 90 soak 1
t "soak, seed 2" 90 soak 2
