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

"""Make the tables of the pages that say what an error means.

The directive is ``.. errors:: NAME``, with one of TABLES for a name.
"""
import typing as ty

import model_tables

from nova_mem_encryption.nova.mem_encryption.launch_errors import answers
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes_of_snp
from nova_mem_encryption.nova.mem_encryption.launch_errors import codes
from nova_mem_encryption.nova.mem_encryption.servers import problems

STEPS = {answers.INIT: '``failed to initialize``',
         answers.DATA: '``LAUNCH_UPDATE``',
         answers.VMSA: '``LAUNCH_UPDATE_VMSA``',
         answers.ANY: 'all of them'}


def get_codes() -> model_tables.Rows:
    """Return the status codes of the secure processor."""
    return [['fw_error', 'in dmesg', 'name', 'meaning', 'what to do']] + [
        [str(number), '``%#x``' % number, '``%s``' % code.name, code.meaning,
         code.cause.remedy] for number, code in codes.CODES.items()] + [
        [str(number), '``%#x``' % number, '``%s``' % code.name,
         '%s (``%s``)' % (code.meaning, step.strip()), code.cause.remedy]
        for (step, number), code in codes.OF_SNP.items()] + [
        [str(codes.NO_CALL[0]), '``%#x``' % codes.NO_CALL[1], '',
         codes.NOT_CALLED.meaning, codes.NOT_CALLED.cause.remedy],
        ['from %d on' % codes.FIRST_OF_PSP, 'from ``%#x`` on' %
         codes.FIRST_OF_PSP, '', codes.OF_PSP.meaning,
         codes.OF_PSP.cause.remedy]]


def get_answers() -> model_tables.Rows:
    """Return the error numbers of the kernel, by step."""
    return [['step', 'ret', 'name', 'Linux', 'meaning', 'what to do']] + [
        [STEPS.get(answer.step, '``%s``' % answer.step),
         str(-answer.number), answer.name,
         '%s on' % answer.linux, answer.meaning, answer.cause.remedy]
        for answer in answers.ANSWERS]


def get_reasons() -> model_tables.Rows:
    """Return what a server's fault has, and what an operator can do."""
    remedies: ty.Dict[str, ty.List[str]] = {}
    for module in (causes, causes_of_snp):
        for cause in vars(module).values():
            if isinstance(cause, causes.Cause):
                remedies.setdefault(cause.reason, []).append(cause.remedy)
    return [['reason', 'what to do, by what the log of nova-compute says']] + [
        ['``%s``' % reason, ' Or: '.join(found)]
        for reason, found in sorted(remedies.items())]


def get_problems() -> model_tables.Rows:
    """Return what can be wrong with a server."""
    return [['problem', 'a server that']] + [
        ['``%s``' % kind, words] for kind, words in problems.KINDS.items()]


class Errors(model_tables.Models):
    """Put the table into the page."""

    tables = {'codes': get_codes, 'answers': get_answers,
              'reasons': get_reasons, 'problems': get_problems}


def setup(app):
    """Tell Sphinx of the directive."""
    app.add_directive('errors', Errors)
    return {'parallel_read_safe': True}
