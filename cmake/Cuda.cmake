# SPDX-License-Identifier: BSD-3-Clause
# What there is of CUDA to build with. None of it is needed: the driver is loaded at
# run time, and without nvcc the library lacks the kernel that gathers on a GPU, and
# says so where one is asked for. Sets
#
#	DEVMEM_CUDA_INCLUDE	folder of cuda.h, for tests; or NOTFOUND
#	DEVMEM_GPU_CODES	what kernels are compiled for, as numbers; empty: not
#
# nvcc is called by hand, not as a language of the project: CMake would ask for a
# working CUDA runtime and host compiler, and all that is wanted is one file.
set(DEVMEM_CUDA AUTO CACHE STRING
	"GPU kernels: AUTO (where an nvcc is found that works), ON, OFF")
set_property(CACHE DEVMEM_CUDA PROPERTY STRINGS AUTO ON OFF)

find_program(DEVMEM_NVCC nvcc
	HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda
	PATH_SUFFIXES bin DOC "CUDA's compiler, for GPU kernels")
find_path(DEVMEM_CUDA_INCLUDE cuda.h
	HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda
	PATH_SUFFIXES include DOC "folder of CUDA's headers, for tests")
mark_as_advanced(DEVMEM_NVCC DEVMEM_CUDA_INCLUDE)

# The kernel has no host code, so an untried host compiler, which only does the
# preprocessing, can do no harm.
set(nvcc_flags -O3 -std=c++17 -allow-unsupported-compiler
	-Wno-deprecated-gpu-targets)

# What nvcc can make code for. Why it does not work, if so, in `why`.
function(devmem_ask_nvcc codes version why)
	set(probe ${CMAKE_BINARY_DIR}/CMakeFiles/devmem-probe)
	set(${codes} "" PARENT_SCOPE)
	if(NOT DEVMEM_NVCC)
		set(${why} "no nvcc was found (in PATH, CUDA_HOME, CUDA_PATH, /usr/local/cuda)" PARENT_SCOPE)
		return()
	endif()
	execute_process(COMMAND ${DEVMEM_NVCC} --version
		OUTPUT_VARIABLE about ERROR_VARIABLE ignored RESULT_VARIABLE rc)
	string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" found "${about}")
	set(${version} "${CMAKE_MATCH_1}" PARENT_SCOPE)
	execute_process(COMMAND ${DEVMEM_NVCC} --list-gpu-code
		OUTPUT_VARIABLE list ERROR_VARIABLE ignored RESULT_VARIABLE rc)
	string(REGEX MATCHALL "sm_[0-9]+" list "${list}")
	list(TRANSFORM list REPLACE "sm_" "")
	list(REMOVE_DUPLICATES list)
	list(SORT list COMPARE NATURAL)
	list(FILTER list EXCLUDE REGEX "^[1-6][0-9]$")
	if(rc OR NOT list)
		set(${why} "${DEVMEM_NVCC} is too old: 11.7 or later is needed"
			PARENT_SCOPE)
		return()
	endif()
	file(WRITE ${probe}.cu "__global__ void probe(int *p) { *p = 1; }\n")
	list(GET list 0 first)
	execute_process(COMMAND ${DEVMEM_NVCC} ${nvcc_flags} -arch=sm_${first}
			-cubin -o ${probe}.cubin ${probe}.cu
		OUTPUT_VARIABLE ignored ERROR_VARIABLE error RESULT_VARIABLE rc)
	if(rc)
		string(REGEX REPLACE "\n.*" "" error "${error}")
		set(${why} "${DEVMEM_NVCC} does not work: ${error}" PARENT_SCOPE)
		return()
	endif()
	set(${codes} ${list} PARENT_SCOPE)
endfunction()

set(DEVMEM_GPU_CODES "")
set(cuda_why "DEVMEM_CUDA is OFF")
if(DEVMEM_CUDA)
	devmem_ask_nvcc(DEVMEM_GPU_CODES nvcc_version cuda_why)
	if(NOT DEVMEM_GPU_CODES AND NOT DEVMEM_CUDA STREQUAL "AUTO")
		message(FATAL_ERROR "DEVMEM_CUDA is ${DEVMEM_CUDA}, but ${cuda_why}")
	endif()
endif()
if(DEVMEM_GPU_CODES)
	list(JOIN DEVMEM_GPU_CODES " " codes)
	message(STATUS "GPU kernels: by nvcc ${nvcc_version}, for sm ${codes}")
else()
	message(STATUS "GPU kernels: none, ${cuda_why}; "
		"payload is not received into GPU memory then")
endif()

# devmem_add_gather_image(IMAGE SOURCE HEADER...): a fat binary of SOURCE in the
# build folder, whose path is in the variable IMAGE; empty without kernels. It has
# machine code for every GPU that nvcc knows, embedded ones included: without them it
# would be smaller by a quarter, no more. PTX of the newest generation is for the
# GPUs that come after: the driver compiles it, once, when it is loaded.
function(devmem_add_gather_image image source)
	set(${image} "" PARENT_SCOPE)
	if(NOT DEVMEM_GPU_CODES)
		return()
	endif()
	set(flags ${nvcc_flags})
	foreach(code ${DEVMEM_GPU_CODES})
		list(APPEND flags -gencode arch=compute_${code},code=sm_${code})
		# Of a generation, not of one GPU in it: 120, not 121.
		if(code MATCHES "0$")
			set(newest ${code})
		endif()
	endforeach()
	if(newest)
		list(APPEND flags
			-gencode arch=compute_${newest},code=compute_${newest})
	endif()
	# Drivers from before 550 cannot undo it; those of CUDA 13 all can.
	if(nvcc_version VERSION_GREATER_EQUAL 13)
		list(APPEND flags --compress-mode=size)
	endif()
	get_filename_component(name ${source} NAME_WE)
	set(output ${CMAKE_CURRENT_BINARY_DIR}/${name}.fatbin)
	add_custom_command(OUTPUT ${output}
		COMMAND ${DEVMEM_NVCC} ${flags} --fatbin -o ${output}
			${CMAKE_CURRENT_SOURCE_DIR}/${source}
		DEPENDS ${source} ${ARGN}
		COMMENT "Compiling ${source} for GPUs" VERBATIM)
	set(${image} ${output} PARENT_SCOPE)
endfunction()
