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

"""Also let 'nova-status upgrade check' look at memory encryption."""
import functools

from oslo_upgradecheck import upgradecheck

from nova.cmd import status
from nova.i18n import _
from nova import objects

from nova_mem_encryption.nova.cmd import mem_encryption_errors as errors
from nova_mem_encryption.nova.cmd import mem_encryption_requests as requests
from nova_mem_encryption.nova.cmd import mem_encryption_state as state
from nova_mem_encryption import overlay

CODES = {requests.WARNING: upgradecheck.Code.WARNING,
         requests.FAILURE: upgradecheck.Code.FAILURE}
CHECKS = ((_('flavors'), requests.check_flavors),
          (_('images'), requests.check_images),
          (_('resource providers'), state.check_providers),
          (_('servers'), state.check_servers))


@overlay.add(status.UpgradeCommands)
def check(self):
    """Performs checks to see if the deployment is ready for upgrade.

    Those of memory encryption come last.

    :returns: Code
    """
    self._upgrade_checks = type(self)._upgrade_checks + tuple(
        (_('Memory encryption: %s') % name,
         functools.partial(_check, function=function))
        for name, function in CHECKS)
    return super(status.UpgradeCommands, self).check()


def find(function):
    """Run one of the checks.

    :param function: the check
    :returns: a list of findings; that it cannot be run is one, too
    """
    # NOTE: nova-status does not, as its own checks get by with few of them.
    objects.register_all()
    try:
        return list(function())
    except errors.ERRORS as e:
        return [requests.Finding(
            requests.WARNING, _('This'),
            _('cannot be checked: %s.') % errors.explain(e),
            _('Check nova.conf, and what it names.'))]


def _check(commands, function):
    findings = find(function)
    return upgradecheck.Result(
        max((CODES[f.severity] for f in findings),
            default=upgradecheck.Code.SUCCESS),
        ' '.join(f.message for f in findings) or None)
