# SPDX-License-Identifier: BSD-3-Clause
# CPack: three packages, as deb and as rpm.
#
#	nccl-devmem	plugin, programs, manual, units, examples
#	libdevmem0	the library, named by its major version
#	libdevmem-dev	header, pkg-config file (rpm: libdevmem-devel)
#
# packaging/build configures a folder for them and runs cpack. What is built into a
# package is for its own prefix, so a folder that is not configured for /usr is refused.
set(soname libdevmem${PROJECT_VERSION_MAJOR})
set(debian ${PROJECT_SOURCE_DIR}/packaging/debian)
set(control ${PROJECT_BINARY_DIR}/packaging/control)

set(CPACK_PACKAGE_NAME nccl-devmem)
set(CPACK_PACKAGE_VENDOR nccl-devmem)
set(CPACK_PACKAGE_CONTACT
	"nccl-devmem maintainers <maintainers@nccl-devmem.invalid>")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSES/BSD-3-Clause.txt)
set(CPACK_COMPONENTS_ALL runtime library development)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_STRIP_FILES ON)
# The real prefix, and /etc outside of it.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE
	OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_GENERATOR DEB)
set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_BINARY_DIR}/packaging/prefix.cmake)
file(WRITE ${CPACK_PROJECT_CONFIG_FILE} "if(NOT \"${CMAKE_INSTALL_PREFIX}\" STREQUAL \"/usr\")
	message(FATAL_ERROR \"${PROJECT_BINARY_DIR} is configured for \"
		\"${CMAKE_INSTALL_PREFIX}, packages are for /usr: use packaging/build\")
endif()
# CPack would put it before the first line of each description.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY \"\")
")

# CPack gives it the form that Debian wants.
set(summary_runtime "NCCL network plugin over TCP with payload in GPU memory")
set(about_runtime
"NCCL's collectives over plain TCP, with Linux devmem TCP: the NIC writes
what it receives to memory of the GPU, and reads from there what it sends.
No RDMA NIC is needed. Where a machine cannot do that the plugin works
over ordinary TCP, and says why.

With it come devmemctl, for the people who run it, devmem-bench, which
measures any NCCL net plugin, and devmem-conformance, which checks any.")
set(summary_library "messages over TCP whose payload lands in device memory")
set(about_library
"The transport of the NCCL plugin nccl-devmem, for other users: reliable,
ordered messages over TCP, whose payload a NIC writes to a dma-buf that is
bound to its receive queues, by Linux devmem TCP.")
set(summary_development
	"messages over TCP into device memory: development files")
set(about_development
"The transport of the NCCL plugin nccl-devmem, for other users: reliable,
ordered messages over TCP, whose payload a NIC writes to a dma-buf that is
bound to its receive queues, by Linux devmem TCP.

This package has the header and what the linker and pkg-config need.")

foreach(component runtime library development)
	string(TOUPPER ${component} upper)
	set(CPACK_DEBIAN_${upper}_DESCRIPTION
		"${summary_${component}}\n${about_${component}}")
	set(CPACK_RPM_${upper}_PACKAGE_SUMMARY "${summary_${component}}")
	set(CPACK_RPM_${upper}_PACKAGE_DESCRIPTION "${about_${component}}")
endforeach()

# ---- deb -------------------------------------------------------------------

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME nccl-devmem)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION net)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME ${soname})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libdevmem-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
	"${soname} (= ${PROJECT_VERSION})")

# What dpkg is told beside the files; CPack takes each by its file's name.
if(CMAKE_LIBRARY_ARCHITECTURE)
	set(CPACK_DEBIAN_LIBRARY_PACKAGE_MULTIARCH same)
endif()
foreach(script postinst prerm postrm)
	configure_file(${debian}/nccl-devmem.${script} ${control}/${script} COPYONLY)
	list(APPEND CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${control}/${script})
endforeach()
file(GLOB settings ${PROJECT_SOURCE_DIR}/packaging/*.conf)
set(conffiles "")
foreach(file ${settings})
	get_filename_component(name ${file} NAME)
	string(APPEND conffiles
		"${CMAKE_INSTALL_FULL_SYSCONFDIR}/nccl-devmem/${name}\n")
endforeach()
if(conffiles)
	file(WRITE ${control}/conffiles "${conffiles}")
	list(APPEND CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${control}/conffiles)
endif()
# Not CPack's own, which would list the plugin as a library, too.
file(WRITE ${control}/shlibs "libdevmem ${PROJECT_VERSION_MAJOR} ${soname} (>= "
	"${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})\n")
file(WRITE ${control}/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA
	${control}/shlibs ${control}/triggers)

# ---- rpm -------------------------------------------------------------------

set(CPACK_RPM_COMPONENT_INSTALL ON)
set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_LICENSE BSD-3-Clause)
set(CPACK_RPM_PACKAGE_RELEASE 1)
set(CPACK_RPM_RUNTIME_PACKAGE_NAME nccl-devmem)
set(CPACK_RPM_LIBRARY_PACKAGE_NAME ${soname})
set(CPACK_RPM_DEVELOPMENT_PACKAGE_NAME libdevmem-devel)
set(CPACK_RPM_DEVELOPMENT_PACKAGE_REQUIRES "${soname} = ${PROJECT_VERSION}")
set(CPACK_RPM_LIBRARY_POST_INSTALL_SCRIPT_FILE
	${PROJECT_SOURCE_DIR}/packaging/rpm/ldconfig)
set(CPACK_RPM_LIBRARY_POST_UNINSTALL_SCRIPT_FILE
	${PROJECT_SOURCE_DIR}/packaging/rpm/ldconfig)
set(CPACK_RPM_RUNTIME_POST_INSTALL_SCRIPT_FILE
	${PROJECT_SOURCE_DIR}/packaging/rpm/post)
set(CPACK_RPM_RUNTIME_PRE_UNINSTALL_SCRIPT_FILE
	${PROJECT_SOURCE_DIR}/packaging/rpm/preun)
set(CPACK_RPM_RUNTIME_POST_UNINSTALL_SCRIPT_FILE
	${PROJECT_SOURCE_DIR}/packaging/rpm/postun)
string(REGEX REPLACE "([^\n]+)\n" "%config(noreplace) \\1;" config "${conffiles}")
string(REGEX REPLACE ";$" "" config "${config}")
set(CPACK_RPM_RUNTIME_USER_FILELIST "${config}")
# Folders that other packages own.
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION
	/etc /usr/share/licenses /usr/sbin /usr/libexec /usr/lib/systemd /usr/lib/systemd/system
	/usr/share/bash-completion /usr/share/bash-completion/completions
	/usr/lib64/pkgconfig /usr/share/man /usr/share/man/man1
	/usr/share/man/man3 /usr/share/man/man5 /usr/share/man/man7
	/usr/share/man/man8)

include(CPack)
