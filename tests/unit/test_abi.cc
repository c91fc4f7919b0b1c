// SPDX-License-Identifier: BSD-3-Clause
/* test_abi.cc - the shared library exports what its header promises. */
#include <dlfcn.h>

#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

/* "DEVMEM_API int devmem_open(const ..." */
TEST(SharedLibrary, ExportsWhatTheHeaderDeclares)
{
	const std::string mark = "\nDEVMEM_API ", prefix = "devmem_";
	std::ifstream header(DEVMEM_HEADER);
	std::stringstream text;
	text << header.rdbuf();
	std::string all = text.str();
	void *library = dlopen(DEVMEM_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	ASSERT_NE(library, nullptr) << dlerror();

	int count = 0;
	for (size_t at = 0; (at = all.find(mark, at)) != std::string::npos;
	     at++, count++) {
		size_t end = all.find('(', at), begin = all.rfind(prefix, end);
		ASSERT_GT(begin, at);
		std::string name = all.substr(begin, end - begin);
		EXPECT_NE(dlsym(library, name.c_str()), nullptr) << name;
	}
	EXPECT_GE(count, 20);
	dlclose(library);
}
