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
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

#define MCG_CTL_P (1 << 8) /* machine checks, as QEMU's CPUs want them */
#define MCG_SER_P (1 << 24)

enum vm_type vm_type;

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
    case KVM_CAP_READONLY_MEM: /* not where the guest's state is protected */
        return vm_type != VM_SEV_ES && vm_type != VM_SNP;
    case CAP_VM_TYPES:
        return 1 << VM_DEFAULT | host.sev << VM_SEV | host.es << VM_SEV_ES |
               host.kvm_snp << VM_SNP;
    case CAP_EXIT_HYPERCALL:
        return HYPERCALLS;
    case CAP_MEMORY_ATTRIBUTES:
        return vm_type == VM_SNP ? MEMORY_PRIVATE : 0;
    case CAP_GUEST_MEMFD:
        return vm_type == VM_SNP;
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
    case CAP_MEMORY_FAULT_INFO:
    case CAP_USER_MEMORY2:
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

static int create_vm(unsigned long type)
{
    if (type > VM_SNP || !(check_extension(CAP_VM_TYPES) & 1 << type))
        return fail(EINVAL);
    vm_type = type;
    return memfd_create("kvm-vm", MFD_CLOEXEC);
}

int kvm_ioctl(int fd, unsigned long request, void *argument)
{
    struct kvm_irq_level *line = argument;
    int result;

    if (vcpu_ioctl(fd, request, argument, &result))
        return result;
    switch (request) {
    case KVM_GET_API_VERSION:
        return KVM_API_VERSION;
    case KVM_CREATE_VM:
        return create_vm((unsigned long)argument);
    case SET_USER_MEMORY_REGION2:
        return set_memory_region(argument);
    case SET_MEMORY_ATTRIBUTES:
        return set_memory_attributes(argument);
    case CREATE_GUEST_MEMFD:
        return create_guest_memfd(argument);
    case KVM_GET_VCPU_MMAP_SIZE:
        return RUN_SIZE;
    case KVM_CREATE_VCPU:
        return create_vcpu((unsigned long)argument);
    case KVM_CHECK_EXTENSION:
        return check_extension((unsigned long)argument);
    case KVM_GET_SUPPORTED_CPUID:
        return get_supported_cpuid(argument);
    case KVM_IRQ_LINE:
    case KVM_IRQ_LINE_STATUS:
        guest_interrupt(line->irq, line->level);
        line->status = 1; /* delivered */
        return 0;
    case KVM_MEMORY_ENCRYPT_OP:
        return sev_ioctl(argument);
    case KVM_GET_TSC_KHZ:
        return 2000000;
    case KVM_GET_MSRS:
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
    }
    /* Of all else what is got is zeros, and what is set is done. */
    if (_IOC_DIR(request) == _IOC_READ && argument)
        memset(argument, 0, _IOC_SIZE(request));
    return 0;
}
