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
 * The processor: CPUID leaf 0x8000001F, as AMD 24594 (AMD64 Architecture
 * Programmer's Manual, volume 3), appendix E.4.17 has it.
 *
 * libvirtd asks by a function of its library, which this one comes before.
 * QEMU has the instruction in its own code. There it is replaced, in memory
 * only, by one that is not defined (UD2 is as long as CPUID), and the signal
 * that follows is answered.
 */
#include <cpuid.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "host.h"

#define SEV_LEAF 0x8000001f
#define SEV_LEAF_SME (1 << 0)
#define SEV_LEAF_SEV (1 << 1)
#define SEV_LEAF_PAGE_FLUSH_MSR (1 << 2)
#define SEV_LEAF_SEV_ES (1 << 3)
#define SEV_LEAF_SNP (1 << 4)

#define XSAVE_LEAF 0xd
#define XSAVE_AMX (3 << 17) /* state components of Intel's tiles */

/*
 * Leaf 0xd, appendix E.4.10: no processor of AMD has Intel's tiles. Where a
 * hypervisor hides them, the size still counts them, and is larger than what
 * QEMU keeps of a guest where the kernel lacks KVM_CAP_XSAVE2, as this does.
 */
static void leave_out_tiles(uint32_t subleaf, uint32_t regs[4])
{
    uint32_t size, offset, other[2], most = 576; /* of x87, SSE, the header */

    if (subleaf < 32 && XSAVE_AMX & 1u << subleaf)
        regs[0] = regs[1] = regs[2] = regs[3] = 0;
    if (subleaf)
        return;
    regs[0] &= ~XSAVE_AMX;
    for (int i = 2; i < 32; i++)
        if (regs[0] & 1u << i) {
            __cpuid_count(XSAVE_LEAF, i, size, offset, other[0], other[1]);
            if (offset + size > most)
                most = offset + size;
        }
    for (int i = 1; i < 3; i++) /* of what is on, and of all that there is */
        if (regs[i] > most)
            regs[i] = most;
}

void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    uint32_t highest = __get_cpuid_max(0x80000000, NULL);

    if (leaf > highest && leaf >= 0x80000000)
        /* A processor without it would answer for another leaf. */
        regs[0] = regs[1] = regs[2] = regs[3] = 0;
    else
        __cpuid_count(leaf, subleaf, regs[0], regs[1], regs[2], regs[3]);
    if (leaf == XSAVE_LEAF)
        leave_out_tiles(subleaf, regs);
    if (leaf == 0x80000000 && regs[0] < SEV_LEAF)
        regs[0] = SEV_LEAF;
    if (leaf != SEV_LEAF)
        return;
    for (int i = 0; i < 4; i++)
        regs[i] = 0;
    if (!host.sev)
        return;
    regs[0] = SEV_LEAF_SME | SEV_LEAF_SEV | SEV_LEAF_PAGE_FLUSH_MSR |
              SEV_LEAF_SEV_ES | SEV_LEAF_SNP;
    regs[1] = host.cbitpos | 1 << 6; /* bits 11:6: address bits lost */
    regs[2] = host.max_asid;
    regs[3] = host.min_asid;
}

/* libvirt's own name; private, but a symbol: see its virhostcpu.h. */
__attribute__((visibility("default")))
int virHostCPUX86GetCPUID(uint32_t leaf, uint32_t extended, uint32_t *eax,
                          uint32_t *ebx, uint32_t *ecx, uint32_t *edx)
{
    uint32_t regs[4], *to[4] = { eax, ebx, ecx, edx };

    cpuid(leaf, extended, regs);
    for (int i = 0; i < 4; i++)
        if (to[i])
            *to[i] = regs[i];
    return 0;
}

#define SITES 256
static uintptr_t sites[SITES]; /* addresses of CPUID in QEMU */
static int site_count;
static struct sigaction undefined_before;

static void answer_cpuid(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint32_t out[4];

    for (int i = 0; i < site_count; i++)
        if (sites[i] == (uintptr_t)regs[REG_RIP]) {
            cpuid(regs[REG_RAX], regs[REG_RCX], out);
            regs[REG_RAX] = out[0];
            regs[REG_RBX] = out[1];
            regs[REG_RCX] = out[2];
            regs[REG_RDX] = out[3];
            regs[REG_RIP] += 2; /* the length of UD2 */
            return;
        }
    /* Not ours: let it happen again. */
    sigaction(SIGILL, &undefined_before, NULL);
}

static int first_object(struct dl_phdr_info *info, size_t size, void *base)
{
    *(uintptr_t *)base = info->dlpi_addr;
    return 1;
}

/* Without the trap QEMU would see this machine's own processor. */
static void give_up(const char *why)
{
    fprintf(stderr, "sevhost: %s\n", why);
    exit(1);
}

/* HOST_DIR/cpuid-sites has the addresses, by objdump, a line each. */
void trap_cpuid(void)
{
    struct sigaction action = { .sa_sigaction = answer_cpuid,
                                .sa_flags = SA_SIGINFO | SA_NODEFER };
    long page = sysconf(_SC_PAGESIZE);
    unsigned long offset;
    uintptr_t base = 0;
    FILE *file = fopen(HOST_DIR "/cpuid-sites", "re");

    if (!file)
        give_up("the addresses of CPUID in QEMU are not known");
    dl_iterate_phdr(first_object, &base);
    while (fscanf(file, "%lx\n", &offset) == 1) {
        unsigned char *code = (unsigned char *)(base + offset);
        void *start = (void *)((uintptr_t)code & -page);

        if (site_count == SITES)
            give_up("this QEMU has more of the instruction CPUID than fit");
        if (mprotect(start, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC))
            give_up("QEMU's code cannot be changed; does SELinux forbid it?");
        if (code[0] != 0x0f || code[1] != 0xa2) /* CPUID */
            give_up("this QEMU is not the one that the host was started "
                    "with; stop the host and start it again");
        sites[site_count++] = (uintptr_t)code;
        code[1] = 0x0b; /* UD2 */
        mprotect(start, 2 * page, PROT_READ | PROT_EXEC);
    }
    fclose(file);
    sigaction(SIGILL, &action, &undefined_before);
}
