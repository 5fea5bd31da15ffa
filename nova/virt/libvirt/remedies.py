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

"""What to do about a host that has no SEV-ES.

For what Nova logs and for 'nova-mem-encryption check', which runs where Nova
may not be: nothing is imported.
"""
SEV = 'Where it should, enable SEV in the BIOS and load kvm_amd with sev=1.'
SEV_ES = ('Load kvm_amd with sev_es=1; this needs Linux 5.11 and an EPYC 7002 '
          'or later.')
# Firmware that fixes CVE-2025-48514 disables ES beside SNP.
SEV_SNP = 'Load kvm_amd with sev_snp=0.'
LIBVIRT = 'Upgrade it to %s or later.'
QEMU = 'Upgrade it to %s or later.'
COUNTS = 'Upgrade libvirt and QEMU.'
# As Dell (attribute CpuMinSevAsid of iDRAC), those with AMD's own menus (AMD
# CBS, CPU Common Options) and HPE (attribute MinimumSevAsid of iLO) have it
SPLIT_NAMES = (
    "'Minimum SEV non-ES ASID' ('SEV-ES ASID Space Limit' with some vendors, "
    "'Minimum SEV ASID' with HPE)")
SPLIT = ('Raise %s in the BIOS above 1: set to N, there are N - 1 SEV-ES '
         'guests.' % SPLIT_NAMES)
