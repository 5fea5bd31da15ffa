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
 * The save area of a vCPU (VMSA) as a launch measures it: AMD 24593 (AMD64
 * Architecture Programmer's Manual, volume 2), appendix B, "State Save Area
 * for SEV-ES". What KVM makes of what QEMU has set is sev_es_sync_vmsa of
 * arch/x86/kvm/svm/sev.c of Linux, and svm_set_cr0, svm_set_cr4 and
 * svm_set_efer of svm.c.
 */
#include <stddef.h>
#include <string.h>

#include "host.h"

#define EFER_SVME (1 << 12)
#define CR0_NW (1UL << 29)
#define CR0_CD (1UL << 30)
#define CR4_MCE (1 << 6)
#define DR7_ONE (1 << 10) /* the bit that is always set */

struct segment {
    uint16_t selector, attributes;
    uint32_t limit;
    uint64_t base;
};

struct save_area {
    struct segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint8_t pad0[0xd0 - 0xa0];
    uint64_t efer;
    uint8_t pad1[0x148 - 0xd8];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    uint8_t pad2[0x1d8 - 0x180];
    uint64_t rsp;
    uint8_t pad3[0x1f8 - 0x1e0];
    uint64_t rax;
    uint8_t pad4[0x240 - 0x200];
    uint64_t cr2;
    uint8_t pad5[0x268 - 0x248];
    uint64_t pat;
    uint8_t pad6[0x308 - 0x270];
    uint64_t rcx, rdx, rbx, pad7, rbp, rsi, rdi;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint8_t pad8[0x3b0 - 0x380];
    uint64_t sev_features;
    uint8_t pad9[0x3e8 - 0x3b8];
    uint64_t xcr0;
    uint8_t pad10[0x400 - 0x3f0];
    uint64_t x87_dp;
    uint32_t mxcsr;
    uint16_t x87_ftw, x87_fsw, x87_fcw, x87_fop, x87_ds, x87_cs;
    uint64_t x87_rip;
    uint8_t x87[8 * 8], x87_high[8 * 2], xmm[16 * 16];
    uint8_t pad11[PAGE_SIZE - 0x570];
};
_Static_assert(offsetof(struct save_area, rcx) == 0x308, "");
_Static_assert(offsetof(struct save_area, xmm) == 0x470, "");
_Static_assert(sizeof(struct save_area) == PAGE_SIZE, "");

static struct segment segment(const struct kvm_segment *from)
{
    return (struct segment){
        .selector = from->selector, .limit = from->limit, .base = from->base,
        .attributes = from->unusable ? 0 :
            from->type | from->s << 4 | from->dpl << 5 | from->present << 7 |
            from->avl << 8 | from->l << 9 | from->db << 10 | from->g << 11 };
}

static struct segment table(const struct kvm_dtable *from)
{
    return (struct segment){ .limit = from->limit, .base = from->base };
}

static void put_fpu(struct save_area *area, const struct fxsave *fpu)
{
    area->x87_dp = fpu->dp;
    area->mxcsr = fpu->mxcsr;
    area->x87_ftw = fpu->ftw;
    area->x87_fsw = fpu->fsw;
    area->x87_fcw = fpu->fcw;
    area->x87_fop = fpu->fop;
    area->x87_rip = fpu->ip;
    for (int i = 0; i < 8; i++) {
        memcpy(area->x87 + 8 * i, fpu->st[i], 8);
        memcpy(area->x87_high + 2 * i, fpu->st[i] + 8, 2);
    }
    memcpy(area->xmm, fpu->xmm, sizeof(area->xmm));
}

int make_save_area(uint8_t page[PAGE_SIZE], const struct vcpu *vcpu,
                   uint64_t sev_features)
{
    const struct kvm_sregs *s = &vcpu->sregs;
    const struct kvm_regs *r = &vcpu->regs;
    struct save_area area = {
        .es = segment(&s->es), .cs = segment(&s->cs), .ss = segment(&s->ss),
        .ds = segment(&s->ds), .fs = segment(&s->fs), .gs = segment(&s->gs),
        .gdtr = table(&s->gdt), .ldtr = segment(&s->ldt),
        .idtr = table(&s->idt), .tr = segment(&s->tr),
        .efer = s->efer | EFER_SVME, .cr0 = s->cr0 & ~(CR0_CD | CR0_NW),
        .cr2 = s->cr2, .cr3 = s->cr3, .cr4 = s->cr4 | CR4_MCE,
        .dr6 = vcpu->debugregs.dr6, .dr7 = vcpu->debugregs.dr7,
        .rflags = r->rflags, .rip = r->rip, .pat = vcpu->pat,
        .rax = r->rax, .rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx,
        .rsp = r->rsp, .rbp = r->rbp, .rsi = r->rsi, .rdi = r->rdi,
        .r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
        .r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
        .sev_features = sev_features,
        .xcr0 = vcpu->xcrs.nr_xcrs ? vcpu->xcrs.xcrs[0].value : 1 };

    if (area.dr7 & ~DR7_ONE)
        return -1; /* it is being debugged */
    put_fpu(&area, &vcpu->fpu);
    memcpy(page, &area, sizeof(area));
    return 0;
}
