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


"""Check the secure processor (PSP), which does what SEV is made of."""
import functools
import typing as ty

from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import names
from nova_mem_encryption.check import offered
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.mem_encryption.host import secure_processor
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import kernel_log
from nova_mem_encryption.nova.mem_encryption.launch_errors import meanings
from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models


# What the kernel's log may explain, by whom it is told that it is not ready
EXPLAINS = {causes.NO_USE: (causes.NOT_READY,),
            causes.NOT_READY: (causes.NOT_READY,),
            causes.NO_SEV_ES: (causes.NO_SEV_ES, causes.NOT_READY),
            causes.NO_SEV_SNP: (causes.NO_SEV_SNP, causes.NOT_READY)}


def _read_log(host: hosts.Host) -> ty.List[meanings.Meaning]:
    """Return what the kernel's log complains of, the causes first.

    :raises hosts.Unanswered: if it cannot be read
    """
    found = [meanings.find_in_line(line, kernel_log.WORDS)
             for line in host.ask_json('kernel-log') or ()]
    return sorted(filter(None, found), key=lambda meaning: meaning.follows)


def fail(host: hosts.Host, fault: secure_processor.Fault) -> tree.Finding:
    """Return a FAIL, with the cause that the kernel's log may know better."""
    try:
        found = _read_log(host)
    except hosts.Unanswered:
        found = []
    for meaning in found:
        if meaning.cause is fault.cause if fault.cause is causes.DEAD else (
                meaning.cause.reason in EXPLAINS.get(fault.cause.reason, ())):
            return tree.failed("%s; the kernel's log says: %s" % (
                fault.found, meaning.line), meaning.cause.remedy)
    return tree.failed(fault.found, fault.cause.remedy)


def check_device(host: hosts.Host) -> tree.Finding:
    """See whether the secure processor can be reached."""
    found = host.ask_json('dev-sev')
    if found is None:
        return fail(host, secure_processor.Fault('there is no /dev/sev',
                                                  causes.NO_DEVICE))
    if not found['device']:
        return tree.failed('/dev/sev is not a device',
                           'Delete it, and load kernel module ccp again.')
    return tree.passed('/dev/sev is there: mode %(mode)s, user %(user)s, '
                       'group %(group)s' % found)


def check_status(host: hosts.Host) -> tree.Finding:
    """See whether it was initialised."""
    status = facts.get_platform_status(host)
    if isinstance(status, secure_processor.Fault):
        return fail(host, status)
    lazy = facts.get_parameter(host, *secure_processor.AT_ONCE) is False
    fault = secure_processor.find_fault(status, lazy)
    if fault is not None:
        return fail(host, fault)
    return tree.passed('%s%s' % (
        status, ': that is left to the first guest (%s.%s is off)'
        % secure_processor.AT_ONCE
        if status.state == secure_processor.UNINITIALISED else ''))


def check_model(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """See whether it can start guests of a model."""
    status = facts.get_platform_status(host)
    assert isinstance(status, secure_processor.Status)
    fault = secure_processor.find_fault_of_model(status, model)
    excluding = offered.find_excluding(host, model)
    if fault is not None and excluding is not None:
        return tree.Finding(tree.SKIP, '%s, and this host is to offer %s' % (
            fault.found, excluding.title))
    if fault is not None:
        return fail(host, fault)
    return tree.passed('it was initialised for %s' % model.title)


def check_log(host: hosts.Host) -> tree.Finding:
    """See whether the kernel's log complains of it, or of SEV."""
    found = _read_log(host)
    if host.ask_json('kernel-log') is None:
        return tree.Finding(tree.SKIP, 'there is no dmesg here')
    if found:
        return tree.warned("the kernel's log says: " + found[0].line,
                           found[0].cause.remedy)
    return tree.passed("the kernel's log complains of nothing")


def get_checks() -> ty.Iterator[tree.Check]:
    """Yield the checks, each after those that it needs."""
    yield tree.Check('/dev/sev', names.kernel(models.NATIVE), check_device)
    # Only root can tell some of it; libvirt and Nova go on without.
    yield tree.Check(names.PSP, '/dev/sev', check_status, vital=False)
    with_es = [model for model in names.ADDED if model.needs_es]
    for model in with_es:
        yield tree.Check(names.psp(model), names.PSP,
                         functools.partial(check_model, model),
                         (names.kernel(model),), vital=False)
    # Where one of these fails, it has said what the log says.
    yield tree.Check('kernel-log', '/dev/sev', check_log, (
        names.PSP, *map(names.psp, with_es)), vital=False)
