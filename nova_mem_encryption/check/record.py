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

"""Make a recorded host: what checks ask, and nothing secret.

Files and answers are those on the lists here and in questions.
"""
import ipaddress
import json
import os
import re
import socket
import typing as ty

from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import questions
from nova_mem_encryption.check import record_firmware
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption.host import processor
from nova_mem_encryption.nova.mem_encryption.host import secure_processor
from nova_mem_encryption.nova.mem_encryption import models

CPUINFO = '/proc/cpuinfo'
KEPT = ('processor', 'vendor_id', 'cpu family', 'model', 'model name')
ROWS = list(models.MODELS.values())
# NOTE: parameters of kvm_amd are called as the flags are.
PARAMETERS = dict.fromkeys(
    name for row in ROWS for name in row.parameters_on + row.parameters_off)
FLAGS = dict.fromkeys(['hypervisor', 'svm', 'sme', *(
    row.cpu_flag for row in ROWS), *PARAMETERS])
PATHS = [facts.MODULES % parameter for parameter in dict.fromkeys([
    *(('kvm_amd', name) for name in PARAMETERS),
    secure_processor.AT_ONCE,
    *(behind for row in ROWS for behind in row.parameters_behind)])] + [
    '/%s/misc.%s' % (folder, name) for folder in misc_cgroup.FOLDERS
    for name in ('capacity', 'current')]
ENDINGS = ('capacity', 'conf', 'current', 'error', 'fd', 'json', 'log', 'py',
           'service', 'so', 'socket', 'xml')  # of files
# What may be an address of IPv6, with the name of a network card
ADDRESS = re.compile(r'(?<!\w)([0-9a-fA-F:.]*:[0-9a-fA-F:.]*)(%[\w.-]*\w)?')
# What errors may have of names and addresses
NAMES = [
    (r'[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}', 'UUID'),
    # As Keystone has them; those of users of LDAP are longer
    (r'(?<![0-9a-zA-Z])[0-9a-fA-F]{32,}(?![0-9a-zA-Z])', 'UUID'),
    (r'\w+://[^\s,;)]+', 'URL'),
    (r'\b\d{1,3}(\.\d{1,3}){3}\b', 'ADDRESS'),
    # Other than paths
    (r"'(?![/'])[^']*'", "'NAME'"), (r'"(?![/"])[^"]*"', '"NAME"'),
    (r'\b[a-zA-Z][\w-]*(\.[\w-]+){2,}\b', 'NAME'),
    # Of two parts, other than files, and parameters of modules
    (r'\b(?!kvm(?:_amd)?\.)[a-zA-Z][\w-]*\.(?!(?:%s)\b)[a-zA-Z][\w-]*\b'
     % '|'.join(ENDINGS), 'NAME'),
    (r'\b[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){3,7}\b', 'ADDRESS')]
README = """\
This is a recorded host of 'nova-mem-encryption check --record'. Examine it:

    nova-mem-encryption check --recorded DIR

root      files of the host: one processor of /proc/cpuinfo, what
          /proc/cmdline has of the IOMMU, parameters of ccp, kvm and kvm_amd,
          the misc cgroup, QEMU's firmware descriptors, and of the firmware
          they name the end, with its table
commands  CPUID 0x8000001F, the kernel's version, the rights of /dev/sev,
          the status of the secure processor and what the kernel's log
          complains of it, settings of QEMU and AppArmor rules for it,
          libvirt's version and its counts of guests, the state of
          nova-mem-encryption and paths of Nova's commands, the version of
          libvirt-python, and some options of nova.conf and counts of
          Placement

No password, name of a host or server, UUID or address is asked for. Names end
with .error where there was no answer: there, what looks like a name, UUID or
address was replaced. A name that is a plain word does not look like one. Read
it before you send it.
"""


def record(host: hosts.Host, folder: str) -> int:
    """Make a recorded host.

    :param host: the host
    :param folder: the folder to make
    :returns: how many files and answers it has
    :raises OSError: if it cannot be written, or is there and not empty
    """
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise FileExistsError('%s is not empty' % folder)
    written = [*_get_files(host), *record_firmware.get_files(host),
               *_get_answers(host)]
    for name in (hosts.FILES, hosts.COMMANDS):
        os.makedirs(os.path.join(folder, name))
    for path, data in [('README', README.encode()), *written]:
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(data)
    return len(written)


def anonymise(text: str) -> str:
    """Return a text without what looks like a name or an address."""
    text = ADDRESS.sub(_replace_address, text)
    for pattern, name in NAMES:
        text = re.sub(pattern, name, text)
    for host in {socket.getfqdn(), socket.gethostname()}:
        text = re.sub(r'(?<![\w.-])%s(?![\w-])' % re.escape(host), 'HOST',
                      text)
    return text


def _replace_address(match: ty.Match[str]) -> str:
    # NOTE: after it there may be the end of a sentence, or of a clause.
    for ends in ('', '.', '.:'):
        found = match.group(1).rstrip(ends)
        try:
            ipaddress.ip_address(found)
        except ValueError:
            continue
        return 'ADDRESS' + match.group(1)[len(found):]
    return match.group()


def _get_files(host: hosts.Host) -> ty.Iterator[ty.Tuple[str, bytes]]:
    for path in [CPUINFO, processor.CMDLINE, *PATHS]:
        name = hosts.FILES + path
        try:
            text = host.read(path)
        except hosts.Missing:
            continue
        except hosts.Unanswered as e:
            yield name + hosts.UNREADABLE, anonymise('%s\n' % e).encode()
            continue
        if path == CPUINFO:
            text = _reduce(text)
        if path == processor.CMDLINE:
            text = ' '.join(filter(processor.IOMMU_WORD.fullmatch,
                                   text.split())) + '\n'
        yield name, text.encode()


def _reduce(cpuinfo: str) -> str:
    lines = []
    for line in cpuinfo.split('\n\n')[0].split('\n'):
        name = line.partition(':')[0].strip()
        if name in KEPT:
            lines.append(line)
        elif name == 'flags':
            lines.append('flags\t\t: ' + ' '.join(
                flag for flag in FLAGS if flag in line.split()))
    return '\n'.join(lines) + '\n'


def _get_answers(host: hosts.Host) -> ty.Iterator[ty.Tuple[str, bytes]]:
    for question in questions.QUESTIONS:
        name = os.path.join(hosts.COMMANDS, question)
        try:
            text = host.ask(question)
        except hosts.NotRecorded:
            continue
        except hosts.Unanswered as e:
            yield name + hosts.UNREADABLE, anonymise('%s\n' % e).encode()
            continue
        if question == 'nova-conf':
            found = json.loads(text)
            found.pop('paths', None)
            text = json.dumps(found, indent=1)
        if question == 'engine':
            found = json.loads(text)
            found['reason'] = found['reason'] and anonymise(found['reason'])
            text = json.dumps(found, indent=1)
        yield name, (text.strip() + '\n').encode()
