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
 * A guest, as far as a host can see: it does what firmware and an operating
 * system do about the power button, and about Ctrl-Alt-Del, which any key is
 * taken for; and nothing else. No instruction runs.
 *
 * So a shutdown by ACPI, which Nova's stop and soft reboot begin with, ends
 * it as it would a real guest on q35, and virsh send-key has it reboot as
 * from inside. Registers: Intel 316972 (ICH9), 13.1.8 (PMBASE), 13.1.9
 * (ACPI_CNTL), 13.8.3 (PM1_EN, PM1_CNT) and 13.7.5 (RST_CNT).
 */
#include <stdatomic.h>
#include <string.h>

#include "host.h"

#define PCI_ADDRESS 0xcf8
#define PCI_DATA 0xcfc
#define LPC(reg) (0x80000000 | 31 << 11 | (reg)) /* bus 0, device 31 */
#define PMBASE 0x600
#define PM1_EN (PMBASE + 2)
#define PM1_CNT (PMBASE + 4)
#define RST_CNT 0xcf9
#define KEYBOARD 1 /* line of its interrupt */
#define SCI 9 /* of that of ACPI */

static const struct output { uint16_t port; uint8_t size; uint32_t value; }
boot[] = {
    { PCI_ADDRESS, 4, LPC(0x40) },
    { PCI_DATA, 4, PMBASE | 1 },
    { PCI_ADDRESS, 4, LPC(0x44) },
    { PCI_DATA, 1, 1 << 7 },   /* ACPI_EN, and SCI on line 9 */
    { PM1_EN, 2, 1 << 8 },     /* PWRBTN_EN */
}, off = { PM1_CNT, 2, 1 << 13 }, /* SLP_EN, of type S5 in QEMU */
reset = { RST_CNT, 1, 1 << 2 | 1 << 1 }; /* RST_CPU, SYS_RST */

static atomic_uint booted, button, key;

void guest_reset(void)
{
    booted = button = key = 0;
}

void guest_interrupt(unsigned line, unsigned level)
{
    if (line == SCI && level)
        button = 1;
    if (line == KEYBOARD && level)
        key = 1;
}

/* Let the first vCPU do what comes next; return whether there is anything. */
int guest_run(struct kvm_run *run)
{
    const struct output *output;

    if (booted < sizeof(boot) / sizeof(*boot))
        output = &boot[booted++];
    else if (atomic_exchange(&button, 0))
        output = &off;
    else if (atomic_exchange(&key, 0))
        output = &reset;
    else
        return 0;
    run->exit_reason = KVM_EXIT_IO;
    run->io.direction = KVM_EXIT_IO_OUT;
    run->io.port = output->port;
    run->io.size = output->size;
    run->io.count = 1;
    run->io.data_offset = 4096; /* the page after struct kvm_run */
    memcpy((char *)run + 4096, &output->value, output->size);
    return 1;
}
