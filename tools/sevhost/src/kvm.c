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
 * KVM, as linux/kvm.h and Documentation/virt/kvm/api.rst have it, for QEMU:
 * virtual machines and vCPUs are made and configured, but run only what
 * guest.c does. So it needs neither /dev/kvm nor a processor that
 * virtualises.
 */
#include <asm/kvm_para.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

#define VCPUS 288
#define RUN_SIZE (3 * 4096) /* struct kvm_run, port data, coalesced MMIO */
#define IDLE_MS 50
#define MCG_CTL_P (1 << 8) /* machine checks, as QEMU's CPUs want them */
#define MCG_SER_P (1 << 24)

static struct { int fd; struct kvm_run *run; } vcpus[VCPUS];

static int fail(int error)
{
    errno = error;
    return -1;
}

int kvm_open(void)
{
    return memfd_create("kvm", MFD_CLOEXEC);
}

static int check_extension(unsigned long extension)
{
    switch (extension) {
    case KVM_CAP_NR_MEMSLOTS:
        return 509;
    case KVM_CAP_NR_VCPUS:
        return 64;
    case KVM_CAP_MAX_VCPUS:
    case KVM_CAP_MAX_VCPU_ID:
        return VCPUS;
    case KVM_CAP_MCE:
        return 32;
    case KVM_CAP_IRQ_ROUTING:
        return 4096;
    /* Those that QEMU cannot do without, and what the interrupts of a q35
       machine and devices of virtio want. */
    case KVM_CAP_ADJUST_CLOCK:
    case KVM_CAP_DEBUGREGS:
    case KVM_CAP_DESTROY_MEMORY_REGION_WORKS:
    case KVM_CAP_EXT_CPUID:
    case KVM_CAP_GET_TSC_KHZ:
    case KVM_CAP_IMMEDIATE_EXIT:
    case KVM_CAP_INTERNAL_ERROR_DATA:
    case KVM_CAP_IOEVENTFD:
    case KVM_CAP_IOEVENTFD_ANY_LENGTH:
    case KVM_CAP_IRQCHIP:
    case KVM_CAP_IRQFD:
    case KVM_CAP_IRQ_INJECT_STATUS:
    case KVM_CAP_JOIN_MEMORY_REGIONS_WORKS:
    case KVM_CAP_KVMCLOCK_CTRL:
    case KVM_CAP_MP_STATE:
    case KVM_CAP_NOP_IO_DELAY:
    case KVM_CAP_PIT2:
    case KVM_CAP_PIT_STATE2:
    case KVM_CAP_READONLY_MEM:
    case KVM_CAP_SET_IDENTITY_MAP_ADDR:
    case KVM_CAP_SET_TSS_ADDR:
    case KVM_CAP_SIGNAL_MSI:
    case KVM_CAP_SYNC_MMU:
    case KVM_CAP_TSC_CONTROL:
    case KVM_CAP_TSC_DEADLINE_TIMER:
    case KVM_CAP_USER_MEMORY:
    case KVM_CAP_VCPU_EVENTS:
    case KVM_CAP_X86_ROBUST_SINGLESTEP:
    case KVM_CAP_XCRS:
    case KVM_CAP_XSAVE:
        return 1;
    }
    return 0;
}

/* This machine's own, with SEV, and the leaves of KVM itself. */
static int get_supported_cpuid(struct kvm_cpuid2 *table)
{
    /* leaf, number of subleaves */
    static const uint32_t leaves[][2] = {
        { 0, 1 }, { 1, 1 }, { 2, 1 }, { 4, 1 }, { 5, 1 }, { 6, 1 }, { 7, 2 },
        { 0xa, 1 }, { 0xb, 1 }, { 0xd, 10 },
        { KVM_CPUID_SIGNATURE, 1 }, { KVM_CPUID_SIGNATURE + 1, 1 },
        { 0x80000000, 1 }, { 0x80000001, 1 }, { 0x80000002, 1 },
        { 0x80000003, 1 }, { 0x80000004, 1 }, { 0x80000005, 1 },
        { 0x80000006, 1 }, { 0x80000007, 1 }, { 0x80000008, 1 },
        { 0x8000000a, 1 }, { 0x80000019, 1 }, { 0x8000001a, 1 },
        { 0x8000001e, 1 }, { 0x8000001f, 1 } };
    unsigned count = 0;

    for (unsigned i = 0; i < sizeof(leaves) / sizeof(*leaves); i++)
        for (uint32_t sub = 0; sub < leaves[i][1]; sub++) {
            uint32_t leaf = leaves[i][0], r[4];

            if (count >= table->nent)
                return fail(E2BIG);
            cpuid(leaf, sub, r);
            if (leaf == KVM_CPUID_SIGNATURE) {
                r[0] = KVM_CPUID_SIGNATURE + 1;
                memcpy(&r[1], "KVMKVMKVM\0\0\0", 12);
            }
            if (leaf == KVM_CPUID_SIGNATURE + 1) {
                r[0] = 0x010000fb; /* the features of a usual KVM */
                r[1] = r[2] = r[3] = 0;
            }
            if (leaf == 0xd && sub && !(r[0] | r[1] | r[2] | r[3]))
                continue; /* a state component that there is not */
            table->entries[count++] = (struct kvm_cpuid_entry2){
                .function = leaf, .index = sub,
                .flags = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd
                         ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
                .eax = r[0], .ebx = r[1], .ecx = r[2], .edx = r[3] };
        }
    table->nent = count;
    return 0;
}

static int create_vcpu(unsigned long id)
{
    int fd = memfd_create("kvm-vcpu", MFD_CLOEXEC);

    if (fd < 0 || id >= VCPUS || ftruncate(fd, RUN_SIZE))
        return fail(EINVAL);
    vcpus[id].fd = fd;
    vcpus[id].run = mmap(NULL, RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                         fd, 0);
    return vcpus[id].run == MAP_FAILED ? fail(ENOMEM) : fd;
}

static int run_vcpu(int fd)
{
    struct kvm_run *run = vcpus[0].run;

    if (vcpus[0].fd == fd && !run->immediate_exit && guest_run(run))
        return 0;
    poll(NULL, 0, IDLE_MS); /* ends early when QEMU kicks the vCPU */
    return fail(EINTR);
}

int kvm_ioctl(int fd, unsigned long request, void *argument)
{
    struct kvm_irq_level *line = argument;

    switch (request) {
    case KVM_GET_API_VERSION:
        return KVM_API_VERSION;
    case KVM_CREATE_VM:
        return memfd_create("kvm-vm", MFD_CLOEXEC);
    case KVM_GET_VCPU_MMAP_SIZE:
        return RUN_SIZE;
    case KVM_CREATE_VCPU:
        return create_vcpu((unsigned long)argument);
    case KVM_CHECK_EXTENSION:
        return check_extension((unsigned long)argument);
    case KVM_GET_SUPPORTED_CPUID:
        return get_supported_cpuid(argument);
    case KVM_RUN:
        return run_vcpu(fd);
    case KVM_IRQ_LINE:
    case KVM_IRQ_LINE_STATUS:
        guest_interrupt(line->irq, line->level);
        line->status = 1; /* delivered */
        return 0;
    case KVM_SET_REGS:
        if (fd == vcpus[0].fd &&
            ((struct kvm_regs *)argument)->rip == 0xfff0) /* reset vector */
            guest_reset();
        return 0;
    case KVM_MEMORY_ENCRYPT_OP:
        return sev_ioctl(argument);
    case KVM_GET_TSC_KHZ:
        return 2000000;
    case KVM_GET_MSRS:
    case KVM_SET_MSRS:
        return ((struct kvm_msrs *)argument)->nmsrs;
    case KVM_GET_MSR_INDEX_LIST:
    case KVM_GET_MSR_FEATURE_INDEX_LIST:
        ((struct kvm_msr_list *)argument)->nmsrs = 0;
        return 0;
    case KVM_X86_GET_MCE_CAP_SUPPORTED:
        *(uint64_t *)argument = MCG_CTL_P | MCG_SER_P;
        return 0;
    case KVM_SIGNAL_MSI:
        return 1;
    case KVM_CREATE_DEVICE:
        return fail(ENODEV);
    case KVM_GET_CPUID2:
        return fail(EINVAL);
    }
    /* Of all else what is got is zeros, and what is set is done. */
    if (_IOC_DIR(request) == _IOC_READ && argument)
        memset(argument, 0, _IOC_SIZE(request));
    return 0;
}
