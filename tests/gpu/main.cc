// SPDX-License-Identifier: BSD-3-Clause
/*
 * main.cc - two GPUs, whose work takes its time, so that what is asynchronous is not
 * done by accident when it is looked at.
 */
#include <gtest/gtest.h>

#include <cstdlib>

int main(int argc, char **argv)
{
	testing::InitGoogleTest(&argc, argv);
	testing::FLAGS_gtest_death_test_style = "threadsafe";
	setenv("FAKECUDA_DEVICES", "2", 0);
	setenv("FAKECUDA_DELAY_US", "200", 0);
	return RUN_ALL_TESTS();
}
