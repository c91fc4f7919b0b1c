// SPDX-License-Identifier: BSD-3-Clause
/* test_abi.cc - the shared library exports what its header promises. */
#include <dlfcn.h>

#include <fstream>
#include <regex>
#include <sstream>

#include <gtest/gtest.h>

TEST(SharedLibrary, ExportsWhatTheHeaderDeclares)
{
	std::ifstream header(DEVMEM_HEADER);
	std::stringstream text;
	text << header.rdbuf();
	std::string all = text.str();
	void *library = dlopen(DEVMEM_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	ASSERT_NE(library, nullptr) << dlerror();

	std::regex declared("\nDEVMEM_API [^;(]*?(devmem_[a-z_]+)\\(");
	int count = 0;
	for (std::sregex_iterator at(all.begin(), all.end(), declared), end;
	     at != end; ++at, ++count) {
		std::string name = (*at)[1];
		EXPECT_NE(dlsym(library, name.c_str()), nullptr) << name;
	}
	EXPECT_GE(count, 20);
	dlclose(library);
}
