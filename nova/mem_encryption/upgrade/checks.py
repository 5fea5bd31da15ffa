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

"""List the checks before an upgrade, and run them."""
import collections

from oslo_upgradecheck import upgradecheck

from nova.i18n import _
from nova import objects

from nova_mem_encryption.nova.mem_encryption import unanswered
from nova_mem_encryption.nova.mem_encryption.upgrade import findings
from nova_mem_encryption.nova.mem_encryption.upgrade import providers
from nova_mem_encryption.nova.mem_encryption.upgrade import servers
from nova_mem_encryption.nova.mem_encryption.upgrade import specs

CODES = {findings.WARNING: upgradecheck.Code.WARNING,
         findings.FAILURE: upgradecheck.Code.FAILURE}
CHECKS = ((_('flavors'), specs.check_flavors),
          (_('images'), specs.check_images),
          (_('resource providers'), providers.check_providers),
          (_('servers'), servers.check_servers))
MOST = 50  # findings of a severity that nova-status shows


def find(function):
    """Run one of the checks.

    :param function: the check
    :yields: findings; that it cannot be run, or not to its end, is one, too
    """
    # NOTE: nova-status does not, as its own checks get by with few of them.
    objects.register_all()
    try:
        yield from function()
    except unanswered.ERRORS as e:
        yield findings.Finding(
            findings.WARNING, _('This'),
            _('cannot be checked: %s.') % unanswered.explain(e),
            _('Check nova.conf, and what it names.'))


def get_result(function):
    """Run one of the checks, and return what nova-status is to show."""
    found = collections.Counter()
    messages = []
    for finding in find(function):
        found[finding.severity] += 1
        if found[finding.severity] <= MOST:
            messages.append(finding.message)
    rest = sum(found.values()) - len(messages)
    if rest:
        messages.append(_("%d more are listed by 'nova-mem-encryption "
                          "upgrade-check'.") % rest)
    return upgradecheck.Result(
        max((CODES[severity] for severity in found),
            default=upgradecheck.Code.SUCCESS), ' '.join(messages) or None)
