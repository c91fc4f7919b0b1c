# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Everything at once. Worth most with two CPUs: lab test kernel --bed x86_64

stress()	# PAIR-OPTIONS SECONDS SEED
{
	prepare "$1"
	forget_nics
	kt stress --seconds "$2" --seed "$3" all
}
t "10 seconds" 120 stress iommu=0 10 1
t "10 seconds, one packet an MSS" 120 stress gro=off 10 2
full "10 minutes" 900 stress mtu=1500 600 "${RANDOM:-3}"
