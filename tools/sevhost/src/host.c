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

/* What the host is, what this process is, and the log. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

struct host host;
int in_qemu, in_libvirtd;

static char guest[128], name[128]; /* UUID and name of QEMU's guest */

void read_host(void)
{
    const struct { const char *name; unsigned *value; } fields[] = {
        { "sev", &host.sev }, { "es", &host.es }, { "snp", &host.snp },
        { "kvm_snp", &host.kvm_snp }, { "psp_minor", &host.psp_minor },
        { "psp_no_cpuid", &host.psp_no_cpuid },
        { "cbitpos", &host.cbitpos }, { "min_asid", &host.min_asid },
        { "max_asid", &host.max_asid }, { "psp", &host.psp },
        { "psp_es", &host.psp_es }, { "psp_error", &host.psp_error },
        { "psp_dead", &host.psp_dead }, { "psp_lazy", &host.psp_lazy } };
    char key[32];
    unsigned value;
    FILE *file = fopen(HOST_DIR "/host.conf", "re");

    if (!file)
        return;
    while (fscanf(file, "%31[^=]=%u\n", key, &value) == 2)
        for (unsigned i = 0; i < sizeof(fields) / sizeof(*fields); i++)
            if (!strcmp(key, fields[i].name))
                *fields[i].value = value;
    fclose(file);
}

/* Copy what stands in a command line up to the next comma. */
static void copy_value(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%.*s", (int)strcspn(from, ",\"\\"), from);
}

/* libvirt starts QEMU with -name guest=NAME,... -uuid UUID. */
static void read_guest(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (!strcmp(argv[i], "-uuid"))
            copy_value(guest, sizeof(guest), argv[i + 1]);
        if (!strcmp(argv[i], "-name"))
            copy_value(name, sizeof(name), argv[i + 1] +
                       (strncmp(argv[i + 1], "guest=", 6) ? 0 : 6));
    }
}

/* glibc calls constructors with the arguments of main. */
__attribute__((constructor)) static void start(int argc, char **argv)
{
    char path[512] = "";
    const char *program;

    if (readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
        return;
    program = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    in_qemu = !strncmp(program, "qemu-system-", 12);
    in_libvirtd = !strcmp(program, "libvirtd") ||
                  !strcmp(program, "virtqemud");
    read_host();
    if (in_qemu) {
        read_guest(argc, argv);
        trap_cpuid();
    }
}

void log_call(const char *call, int result, const char *format, ...)
{
    char line[1024];
    struct timespec now;
    va_list arguments;
    int size, fd;

    clock_gettime(CLOCK_REALTIME, &now);
    size = snprintf(line, sizeof(line), "{\"time\": %ld.%06ld, \"pid\": %d, "
                    "\"guest\": \"%s\", \"name\": \"%s\", \"call\": \"%s\", "
                    "\"result\": %d", (long)now.tv_sec, now.tv_nsec / 1000,
                    (int)getpid(), guest, name, call, result);
    va_start(arguments, format);
    size += vsnprintf(line + size, sizeof(line) - size, format, arguments);
    va_end(arguments);
    size += snprintf(line + size, sizeof(line) - size, "}\n");
    /* libvirt closes what its children inherit, so it is opened each time;
       one write of this size is not torn. */
    fd = open(HOST_DIR "/kernel.log", O_WRONLY | O_APPEND | O_CREAT |
              O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    if (write(fd, line, size) != size)
        abort(); /* a log that lacks lines would prove what was not seen */
    close(fd);
}
