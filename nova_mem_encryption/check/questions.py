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

"""What is asked of a host besides its files.

Each answer is text, and has no more than the checks need: it may be sent to
others as it is.
"""
import grp
import json
import os
import platform
import pwd
import re
import shutil
import stat
import struct
import subprocess
import sys
import typing as ty

from lxml import etree

SECONDS = 30  # that a command may take
# NOTE: the folder of the package comes last. A checkout needs it; first, as -m
# has the current folder, it would hide what Python and Nova import.
ASK_NOVA = """\
import sys
sys.path.append(sys.argv[1])
from nova_mem_encryption.check import ask_nova
sys.exit(ask_nova.main(*sys.argv[2:]))
"""
PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
URI = 'qemu:///system'
CPUID = '/dev/cpu/0/cpuid'
LEAF = 0x8000001F
DEV_SEV = '/dev/sev'
QEMU_CONF = '/etc/libvirt/qemu.conf'
APPARMOR = '/sys/module/apparmor/parameters/enabled'
# What libvirt's AppArmor profiles of guests include
ABSTRACTIONS = ['/etc/apparmor.d/' + name for name in (
    'abstractions/libvirt-qemu', 'local/abstractions/libvirt-qemu',
    'abstractions/libvirt-qemu.d/', 'libvirt/TEMPLATE.qemu')]
# Of <sev> in libvirt's domain capabilities. cpu0Id is not among them, which
# is the name of one processor of the world.
COUNTS = ('cbitpos', 'reducedPhysBits', 'maxGuests', 'maxESGuests')
PARSER = etree.XMLParser(resolve_entities=False, no_network=True)


class NoAnswer(Exception):
    """There is none; the message says why, in a sentence."""

    def __init__(self, why: str, may_need_root: bool = False) -> None:
        super().__init__(why)
        self.may_need_root = may_need_root


class Question(ty.NamedTuple):
    """What is asked, and what the answer looks like if it is JSON.

    Either a function has the answer, or ask_nova, in a process of its own: to
    load Nova changes much, and Placement may not answer.
    """

    function: ty.Optional[ty.Callable[[], str]]
    schema: ty.Any = None
    nova: ty.Optional[str] = None  # what ask_nova is asked

    def answer(self, files: ty.Sequence[str]) -> str:
        """Return the answer.

        :param files: nova.conf and others like it; none for those that
            nova-compute reads
        :raises NoAnswer: if there is none
        """
        if self.function is not None:
            return self.function()
        return run(sys.executable, '-c', ASK_NOVA, PACKAGE, str(self.nova),
                   *(os.path.abspath(os.path.expanduser(file))
                     for file in files), name=str(self.nova))


def run(*command: str, name: str = '') -> str:
    """Return what a command prints.

    It is run in '/': nothing of the current folder, which may be anybody's, is
    imported.

    :param name: of what it is, if not that of the command
    :raises NoAnswer: if it fails, or takes longer than SECONDS
    """
    name = name or os.path.basename(command[0])
    if shutil.which(command[0]) is None:
        raise NoAnswer('There is no command %s.' % name)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=SECONDS, cwd='/',
            env={**os.environ, 'LC_ALL': 'C.UTF-8', 'LANGUAGE': 'C'})
    except subprocess.TimeoutExpired as e:
        raise NoAnswer('%s did not answer in %d seconds.' % (
            name, SECONDS)) from e
    except OSError as e:
        raise NoAnswer('%s cannot be run: %s.' % (name, e.strerror)) from e
    if done.returncode:
        lines = done.stderr.decode(errors='replace').split('\n')
        said = [re.sub('^error: ', '', line.strip()) for line in lines]
        raise NoAnswer('%s: %s.' % (name, ' '.join(
            filter(None, said[-4:])).rstrip('.') or 'nothing, and ended with '
            'status %d' % done.returncode), may_need_root=True)
    return done.stdout.decode(errors='replace')


def _virsh(*args: str) -> str:
    return run('virsh', '-q', '-c', URI, *args)


def _cpuid() -> str:
    """Return EAX, EBX, ECX and EDX of the leaf of memory encryption."""
    try:
        with open(CPUID, 'rb', buffering=0) as f:
            data = os.pread(f.fileno(), 16, LEAF)
    except PermissionError as e:
        raise NoAnswer('%s cannot be read.' % CPUID, True) from e
    except OSError as e:
        raise NoAnswer('%s cannot be read: %s. Run modprobe cpuid.' % (
            CPUID, e.strerror)) from e
    if len(data) != 16:
        raise NoAnswer('%s is not the device of the kernel.' % CPUID)
    return ' '.join('%s=0x%08x' % pair for pair in zip(
        ('eax', 'ebx', 'ecx', 'edx'), struct.unpack('<4I', data)))


def _kernel() -> str:
    return '%s %s' % (platform.release(), platform.machine())


def _dev_sev() -> str:
    try:
        status = os.stat(DEV_SEV)
    except FileNotFoundError:
        return json.dumps(None)
    except OSError as e:
        raise NoAnswer('%s: %s.' % (DEV_SEV, e.strerror), True) from e
    return json.dumps({
        'device': stat.S_ISCHR(status.st_mode),
        'mode': '%04o' % stat.S_IMODE(status.st_mode),
        'user': _name(pwd.getpwuid, status.st_uid),
        'group': _name(grp.getgrgid, status.st_gid)})


def _name(function: ty.Callable[[int], ty.Any], number: int) -> str:
    try:
        return function(number)[0]
    except KeyError:
        return str(number)


def _qemu_conf() -> str:
    """Return those settings of QEMU that decide who may open /dev/sev."""
    found: ty.Dict[str, ty.Optional[ty.List[str]]] = {
        'user': None, 'namespaces': None, 'security_driver': None}
    try:
        with open(QEMU_CONF, encoding='utf-8', errors='replace') as f:
            text = f.read()
    except FileNotFoundError:
        return json.dumps(found)
    except OSError as e:
        raise NoAnswer('%s cannot be read.' % QEMU_CONF, True) from e
    for name in found:
        match = re.findall(
            r'^\s*%s\s*=\s*(\[[^]]*\]|"[^"]*")' % name, text, re.MULTILINE)
        if match:
            found[name] = re.findall('"([^"]*)"', match[-1])
    return json.dumps(found)


def _apparmor() -> str:
    """Tell whether AppArmor is on, and its rules for /dev/sev."""
    rules = []
    try:
        with open(APPARMOR) as f:
            on = f.read().strip() == 'Y'
    except OSError:
        on = False
    for path in ABSTRACTIONS if on else ():
        names = [path]
        if path.endswith('/'):
            names = [os.path.join(path, name) for name in sorted(
                os.listdir(path) if os.path.isdir(path) else ())]
        for name in names:
            try:
                with open(name, encoding='utf-8', errors='replace') as f:
                    rules += [line.strip() for line in f if re.match(
                        r'\s*(audit\s+)?(deny\s+)?("?)/dev/sev\3\s', line)]
            except FileNotFoundError:
                continue
            except OSError as e:
                raise NoAnswer('%s cannot be read.' % name, True) from e
    return json.dumps({'enabled': on, 'rules': rules})


def _domcapabilities() -> str:
    return reduce_capabilities(_virsh(
        'domcapabilities', '--virttype', 'kvm', '--arch', 'x86_64',
        '--machine', 'q35'))


def reduce_capabilities(text: str) -> str:
    """Return what matters of libvirt's domain capabilities.

    :param text: XML
    :raises NoAnswer: if it is not
    """
    try:
        found = etree.fromstring(text.encode(), PARSER)
    except (etree.XMLSyntaxError, ValueError) as e:
        raise NoAnswer('virsh domcapabilities: %s.' % e) from e
    kept = etree.Element('domainCapabilities')
    for name in ('domain', 'machine', 'arch'):
        etree.SubElement(kept, name).text = found.findtext(name)
    sev = found.find('features/sev')
    if sev is not None:
        features = etree.SubElement(kept, 'features')
        copy = etree.SubElement(features, 'sev',
                                supported=sev.get('supported', ''))
        for name in COUNTS:
            if sev.find(name) is not None:
                etree.SubElement(copy, name).text = sev.findtext(name)
    etree.indent(kept)
    return etree.tostring(kept, encoding='unicode')


def _guests() -> str:
    """Count the guests that have ASIDs."""
    counts = {'sev': 0, 'sev_es': 0}
    for uuid in _virsh('list', '--state-running', '--state-paused',
                       '--uuid').split():
        try:
            domain = etree.fromstring(_virsh('dumpxml', uuid).encode(),
                                      PARSER)
            security = domain.find('launchSecurity')
            kind = None if security is None else security.get('type')
            policy = int(domain.findtext('launchSecurity/policy') or '0', 0)
        except (NoAnswer, etree.XMLSyntaxError, ValueError):
            continue  # it has ended
        # Policy bit 2 is ES; ASIDs of SNP are those of ES.
        if kind == 'sev-snp' or kind == 'sev' and policy & 1 << 2:
            counts['sev_es'] += 1
        elif kind == 'sev':
            counts['sev'] += 1
    return json.dumps(counts)


_COUNT = {'type': 'integer', 'minimum': 0, 'maximum': 2 ** 31 - 1}
_STRING = {'type': 'string', 'maxLength': 4096}
_STRINGS = {'type': 'array', 'items': _STRING}
_PROVIDER = {
    'type': 'object',
    'properties': {'total': _COUNT, 'reserved': _COUNT, 'used': _COUNT,
                   'traits': _STRINGS},
    'required': ['total', 'reserved', 'used', 'traits']}


def _null_or(kind: ty.Dict[str, ty.Any]) -> ty.Dict[str, ty.Any]:
    return {'anyOf': [{'type': 'null'}, kind]}


# What nova.conf is asked for: nothing that names or opens anything
OPTIONS = {
    'compute_driver': _null_or(_STRING),
    'ram_allocation_ratio': _null_or({'type': 'number'}),
    'initial_ram_allocation_ratio': {'type': 'number'},
    'reserved_host_memory_mb': _COUNT,
    'libvirt.virt_type': _STRING,
    'libvirt.hw_machine_type': _STRINGS,
    'libvirt.cpu_mode': _null_or(_STRING),
    'libvirt.cpu_models': _STRINGS,
    'libvirt.num_memory_encrypted_guests': _null_or(_COUNT)}

QUESTIONS = {
    'cpuid': Question(_cpuid),
    'kernel': Question(_kernel),
    'dev-sev': Question(_dev_sev, _null_or({
        'type': 'object',
        'properties': {
            'device': {'type': 'boolean'},
            'mode': {'type': 'string', 'pattern': '^[0-7]{4}$'},
            'user': _STRING, 'group': _STRING},
        'required': ['device', 'mode', 'user', 'group']})),
    'qemu-conf': Question(_qemu_conf, {
        'type': 'object',
        'properties': dict.fromkeys(
            ('user', 'namespaces', 'security_driver'), _null_or(_STRINGS)),
        'required': ['user', 'namespaces', 'security_driver']}),
    'apparmor': Question(_apparmor, {
        'type': 'object',
        'properties': {'enabled': {'type': 'boolean'}, 'rules': _STRINGS},
        'required': ['enabled', 'rules']}),
    'version': Question(lambda: _virsh('version', '--daemon')),
    'domcapabilities': Question(_domcapabilities),
    'guests': Question(_guests, {
        'type': 'object', 'properties': {'sev': _COUNT, 'sev_es': _COUNT},
        'required': ['sev', 'sev_es']}),
    'engine': Question(None, {
        'type': 'object',
        'properties': {'state': _STRING, 'reason': _null_or(_STRING),
                       'nova': _null_or(_STRING),
                       'armed': {'type': 'boolean'}},
        'required': ['state', 'reason', 'nova', 'armed']}, 'engine'),
    'nova-conf': Question(None, {
        'type': 'object', 'properties': {'files': _COUNT, **OPTIONS},
        'required': ['files', *OPTIONS]}, 'conf'),
    'placement': Question(None, {
        'type': 'object',
        'properties': {'root': _PROVIDER, 'amd_sev': _null_or(_PROVIDER),
                       'amd_sev_es': _null_or(_PROVIDER)},
        'required': ['root', 'amd_sev', 'amd_sev_es']}, 'placement'),
}
