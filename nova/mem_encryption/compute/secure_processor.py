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

"""Ask the secure processor as nova-compute, which may not open /dev/sev."""
import functools

import nova.privsep
from oslo_log import log as logging

from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host import secure_processor

LOG = logging.getLogger(__name__)


class SecureProcessor:
    """What it says, once it was asked: nova-compute looks at a host once."""

    @functools.cached_property
    def _answer(self):
        """Its status, or why it gives none: a pair, one or both None."""
        return self._ask(
            secure_processor.read_status,
            lambda: secure_processor.Status(*_read_as_root()))

    @functools.cached_property
    def _snp_answer(self):
        """The same, of SEV-SNP: whether it is initialised for that."""
        return self._ask(secure_processor.read_snp, _read_snp_as_root)

    @staticmethod
    def _ask(read, read_as_root):
        try:
            try:
                return read(files.ROOT), None
            except PermissionError:
                return read_as_root(), None
        except OSError as e:
            fault, reason = secure_processor.read_error(e), e
        except Exception as e:  # what sudo, rootwrap and privsep make of it
            fault, reason = None, e
        if fault is None:
            LOG.info('It cannot be told whether the secure processor (PSP) is '
                     'initialised, so it is taken to be: %s', reason)
        return None, fault

    def find_fault(self, model):
        """Return what keeps it from starting guests of a model.

        :param mem_encryption.model.Model model: the model
        :returns: a secure_processor.Fault; None if nothing does, or it cannot
            be told
        """
        if model.needs_snp:
            initialised, fault = self._snp_answer
            return fault if initialised is None else (
                secure_processor.find_fault_of_snp(initialised, model))
        status, fault = self._answer
        if status is None or model.native:
            return fault
        return (secure_processor.find_fault(
            status, secure_processor.is_lazy(files.ROOT)) or
            secure_processor.find_fault_of_model(status, model))


@nova.privsep.sys_admin_pctxt.entrypoint
def _read_as_root():
    return tuple(secure_processor.read_status(files.ROOT))


@nova.privsep.sys_admin_pctxt.entrypoint
def _read_snp_as_root():
    return secure_processor.read_snp(files.ROOT)
