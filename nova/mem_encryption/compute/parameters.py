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

"""Tell whether kvm_amd has the parameters that a model needs."""
import os

from oslo_log import log as logging
from oslo_utils import strutils

from nova.virt.libvirt import host as libvirt_host

from nova_mem_encryption.nova.mem_encryption.compute import options
from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host import processor
from nova_mem_encryption.nova.mem_encryption.host import remedies
from nova_mem_encryption.nova.mem_encryption import models

LOG = logging.getLogger(__name__)


def find_fault(row):
    """Return what is wrong with the parameters, with the remedy.

    :param model.Model row: the model that needs them
    :returns: sentences for people, None if nothing is wrong
    """
    for name in row.parameters_on:
        if _is_on(name):
            continue
        if row.needs_snp and processor.leaves_snp_alone(files.ROOT):
            return ('kernel parameter kvm_amd.%s is off, as the kernel was '
                    'told to leave the IOMMU alone (/proc/cmdline). %s' % (
                        name, remedies.switch_on_iommu(row)))
        return 'kernel parameter kvm_amd.%s is off. %s' % (
            name, remedies.switch_on(row, name))
    for name in row.parameters_off:
        remedy = _choose_remedy(name)
        if _is_on(name):
            return ('kernel parameter kvm_amd.%s is on, which can disable '
                    '%s. %s' % (name, row.title, remedy))
        if processor.has_flag(name, files.ROOT) and (
                not processor.leaves_snp_alone(files.ROOT)):
            return ('kernel parameter kvm_amd.%s is off, but the processor '
                    'has it on (flag %s in /proc/cpuinfo), which can disable '
                    '%s. %s' % (name, name, row.title, remedy))
    return None


def _choose_remedy(name):
    """Say what to do where a parameter is on that a model is without."""
    others = [row for row in models.get_added() if name in row.parameters_on]
    wanted = [row for row in others if options.is_enabled(row)]
    if wanted:  # which nobody is to be told to undo
        return ' '.join('That is for %s: [libvirt] %s is true.' % (
            row.title, row.option) for row in wanted)
    return ' '.join([remedies.switch_off(name)] + [
        remedies.enable(row) for row in others])


def _is_on(name):
    """Tell whether a parameter of the kvm_amd module is on.

    :param str name: of the parameter
    :returns: bool; False with a warning if the file makes no sense
    """
    path = os.path.join(
        os.path.dirname(libvirt_host.SEV_KERNEL_PARAM_FILE), name)
    try:
        with open(path) as f:
            # 1 and 0 in old kernels, Y and N in later ones
            return strutils.bool_from_string(f.read(64), strict=True)
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as e:
        warn(path, e)
        return False


def warn(path, error):
    """Say in the log that a kernel parameter makes no sense.

    :param str path: its file
    :param Exception error: what came of reading it
    """
    LOG.warning('Cannot tell what kernel parameter %(path)s is, so it is '
                'taken to be off: %(error)s', {'path': path, 'error': error})
