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
 * Memory of a guest that the host cannot read: guest_memfd and
 * KVM_SET_MEMORY_ATTRIBUTES of Documentation/virt/kvm/api.rst of Linux. What
 * is private has no content here, and so takes no memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

#define SLOTS 509

static struct memory_region2 slots[SLOTS];
static struct memory_attributes *changes; /* the latest is the last */
static size_t change_count;

int set_memory_region(const struct memory_region2 *region)
{
    if (region->slot >= SLOTS ||
        (region->flags & MEMORY_GUEST_MEMFD && vm_type != VM_SNP))
        return fail(EINVAL);
    slots[region->slot] = *region;
    return 0;
}

int create_guest_memfd(const struct guest_memfd *file)
{
    int fd;

    if (vm_type != VM_SNP || file->flags || !file->size ||
        file->size % PAGE_SIZE)
        return fail(EINVAL);
    fd = memfd_create("kvm-guest-memory", MFD_CLOEXEC);
    return fd >= 0 && ftruncate(fd, file->size) ? fail(ENOMEM) : fd;
}

int set_memory_attributes(const struct memory_attributes *change)
{
    uint64_t able = vm_type == VM_SNP ? MEMORY_PRIVATE : 0;
    void *more;

    if (change->flags || change->attributes & ~able || !change->size ||
        (change->address | change->size) % PAGE_SIZE)
        return fail(EINVAL);
    more = reallocarray(changes, change_count + 1, sizeof(*changes));
    if (!more)
        return fail(ENOMEM);
    changes = more;
    changes[change_count++] = *change;
    return 0;
}

int has_guest_memfd(uint64_t address)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (slots[i].flags & MEMORY_GUEST_MEMFD &&
            address - slots[i].address < slots[i].size)
            return 1;
    return 0;
}

int is_private(uint64_t address)
{
    for (size_t i = change_count; i-- > 0;)
        if (address - changes[i].address < changes[i].size)
            return changes[i].attributes == MEMORY_PRIVATE;
    return 0;
}
