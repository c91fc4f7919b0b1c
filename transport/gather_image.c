// SPDX-License-Identifier: BSD-3-Clause
/*
 * gather_image.c - the gather kernel's code as a part of the library; see
 * gather_image.h. The build names the file, or none.
 */
#include "gather_image.h"

#ifdef GATHER_IMAGE_FILE
/* Global for the sake of link-time optimisation, which takes asm apart from C. */
__asm__(".pushsection .rodata\n"
	".balign 16\n"
	".globl devmem_gather_image\n"
	".hidden devmem_gather_image\n"
	"devmem_gather_image:\n"
	".incbin \"" GATHER_IMAGE_FILE "\"\n"
	".globl devmem_gather_image_end\n"
	".hidden devmem_gather_image_end\n"
	"devmem_gather_image_end:\n"
	".byte 0\n"
	".popsection\n");

extern const char devmem_gather_image[],
	devmem_gather_image_end[] __attribute__((visibility("hidden")));

const void *gather_image(size_t *bytes)
{
	if (bytes)
		*bytes =
			(size_t)(devmem_gather_image_end - devmem_gather_image);
	return devmem_gather_image;
}
#else
const void *gather_image(size_t *bytes)
{
	if (bytes)
		*bytes = 0;
	return NULL;
}
#endif
