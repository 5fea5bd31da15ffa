# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""The states that the secure processor (PSP) of a host can be in.

src/psp.c has what the kernel makes of them, and where that is written.
"""
import typing

SNP_MINOR = 51  # SNP_MIN_API_MINOR of drivers/crypto/ccp/sev-dev.c
PLATFORM_ERROR = 0x13  # SEV_RET_HWSEV_RET_PLATFORM of linux/psp-sev.h


class State(typing.NamedTuple):
    """A state, from what the kernel found or did when it booted."""

    says: str
    device: bool = True  # the kernel's driver has made /dev/sev
    es: bool = True      # INIT is for SEV-ES too
    error: int = 0       # what the firmware answers to INIT; 0: success
    dead: bool = False   # INIT timed out, and the kernel asks no more
    lazy: bool = False   # INIT waits for the first command that needs it
    snp: bool = False    # so is SEV-SNP, with firmware that refuses SEV-ES
    minor: int = 55      # of the firmware's version, 1.MINOR
    no_cpuid: bool = False  # it refuses a SEV-SNP guest's table of CPUID

    @property
    def knows_snp(self):
        """Whether ccp initialises it for SEV-SNP, where that is on."""
        return self.initialises and self.minor >= SNP_MINOR

    @property
    def initialises(self):
        """Whether it can be initialised at all."""
        return self.device and not self.error and not self.dead


# Each has kvm_amd's parameters as if all was well: they do not tell.
STATES = {
    'ready': State('initialised, also for SEV-ES'),
    'no-es': State('initialised, but there was no memory for SEV-ES',
                   es=False),
    'failed': State('INIT failed with error %#x' % PLATFORM_ERROR,
                    error=PLATFORM_ERROR),
    'timed-out': State('INIT timed out, and the kernel gave it up',
                       dead=True),
    'absent': State('there is no /dev/sev', device=False),
    'snp': State('SEV-SNP is on in the platform, not in kvm_amd, and the '
                 'firmware then refuses SEV-ES guests', snp=True),
    'lazy': State('ccp is loaded with psp_init_on_probe=0, and nothing has '
                  'had it initialised', lazy=True),
    'old': State('initialised, but with firmware 1.50, which is too old to be '
                 'initialised for SEV-SNP', minor=SNP_MINOR - 1),
    'no-cpuid': State('initialised, but it refuses the CPUID table of any '
                      'SEV-SNP guest', no_cpuid=True),
}
DEFAULT = 'ready'
