/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 */

/*
 * The seam: what QEMU and libvirtd call in the C library is taken to the parts
 * of this library, by LD_PRELOAD; and so is what any process of the host asks
 * of /dev/sev. libvirt hands LD_PRELOAD on to QEMU.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host.h"

#pragma GCC visibility push(default)

static int open_file(int folder, const char *path, int flags, mode_t mode)
{
    if (in_qemu && path && !strcmp(path, "/dev/kvm"))
        return kvm_open();
    return syscall(SYS_openat, folder, path, flags, mode);
}

#define OPEN(folder)                                 \
    mode_t mode = 0;                                 \
    if (flags & (O_CREAT | __O_TMPFILE)) {           \
        va_list arguments;                           \
        va_start(arguments, flags);                  \
        mode = va_arg(arguments, mode_t);            \
        va_end(arguments);                           \
    }                                                \
    return open_file(folder, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD); }
int openat(int folder, const char *path, int flags, ...) { OPEN(folder); }
int openat64(int folder, const char *path, int flags, ...) { OPEN(folder); }

/* What glibc's headers make of open() with two arguments. */
int __open_2(const char *path, int flags)
{
    return open_file(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return open_file(AT_FDCWD, path, flags, 0);
}

/* The device of this host's namespace is null's twin, so the name tells. */
static int is_psp(int fd)
{
    char link[32], path[16];
    ssize_t size;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof(path));
    return size == (ssize_t)strlen("/dev/sev") &&
           !memcmp(path, "/dev/sev", size);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    void *argument;

    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    request = (uint32_t)request; /* QEMU's are sign-extended */
    if (in_qemu && _IOC_TYPE(request) == KVMIO)
        return kvm_ioctl(fd, request, argument);
    if (request == SEV_ISSUE_CMD && is_psp(fd)) {
        read_host(); /* it may have booted since this process began */
        return psp_ioctl(argument,
                         (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY);
    }
    return syscall(SYS_ioctl, fd, request, argument);
}

/*
 * Memory of an encrypted guest is locked. Where a container may not lock that
 * much (it lacks CAP_SYS_RESOURCE), say that it is; no limit is passed.
 */
static int limit(pid_t pid, int resource, const struct rlimit *new,
                 struct rlimit *old)
{
    int result = syscall(SYS_prlimit64, pid, resource, new, old);

    if (result < 0 && errno == EPERM && new && resource == RLIMIT_MEMLOCK &&
        (in_qemu || in_libvirtd))
        return syscall(SYS_prlimit64, pid, resource, NULL, old);
    return result;
}

int prlimit(pid_t pid, __rlimit_resource_t resource,
            const struct rlimit *new, struct rlimit *old)
{
    return limit(pid, resource, new, old);
}

int prlimit64(pid_t pid, __rlimit_resource_t resource,
              const struct rlimit64 *new, struct rlimit64 *old)
{
    return limit(pid, resource, (void *)new, (void *)old);
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *new)
{
    return limit(0, resource, new, NULL);
}

int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *new)
{
    return limit(0, resource, (void *)new, NULL);
}

int mlockall(int flags)
{
    int result = syscall(SYS_mlockall, flags);

    return in_qemu ? 0 : result;
}

#pragma GCC visibility pop
