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

"""Let no guest run with less memory encryption than it asked for."""
from keystoneauth1 import exceptions as ks_exc
from lxml import etree
import os_resource_classes as orc
from oslo_log import log as logging

import nova.conf
from nova import exception
from nova.i18n import _
from nova.virt.libvirt import driver

from nova_mem_encryption.nova.virt.libvirt import guest_config
from nova_mem_encryption.nova.virt.libvirt import launch_errors
from nova_mem_encryption import overlay

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)
PROVIDERS = {guest_config.AMD_SEV: '%s_amd_sev',
             guest_config.AMD_SEV_ES: '%s_amd_sev_es'}


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver._create_guest_with_network'])
def _create_guest(upstream, self, context, xml, instance, power_on=True,
                  pause=False, post_xml_callback=None):
    """Let no guest run before it is seen to have the model it asked for.

    This is the last step of all that starts a guest: spawn, hard reboot,
    power on, unshelve, evacuate, resize and its revert, rescue and unrescue.
    """
    config = None
    if CONF.libvirt.virt_type != 'lxc':  # whose config was refused already
        config = self._get_mem_encryption_config(
            instance.flavor, instance.image_meta)
    start, resume = power_on or pause, not pause
    if config is not None:
        _check_policy(config, _policy_of(xml))
        _check_allocation(self, context, instance, config)
        pause = start
    try:
        guest = upstream(self, context, xml, instance, power_on=power_on,
                         pause=pause, post_xml_callback=post_xml_callback)
    except driver.libvirt.libvirtError as e:
        if config is not None:
            launch_errors.refuse(config, e, instance)
        raise
    if config is not None and start:
        _verify(guest, config, instance)
        if resume:
            _resume(guest)
    return guest


@overlay.wrap(driver.LibvirtDriver)
def _soft_reboot(upstream, self, instance):
    """Start no guest again that is not what it asked for.

    :returns: False where it is not; a hard reboot follows, that makes it so
        or says why not
    """
    config = self._get_mem_encryption_config(
        instance.flavor, instance.image_meta)
    if config is None:
        return upstream(self, instance)
    guest = self._host.get_guest(instance)
    try:
        _check_policy(config, _policy_of(guest.get_xml_desc()))
    except exception.MemEncryptionUnavailable as e:
        LOG.warning('%s', e.format_message(), instance=instance)
        return False
    done = upstream(self, instance)
    if done:
        _verify(self._host.get_guest(instance), config, instance)
    return done


@overlay.add(driver.LibvirtDriver)
def _check_mem_encryption(self, instance):
    """Check that a server could be started here as what it asked for.

    :param nova.objects.Instance instance: a server of this host
    :raises nova.exception.MemEncryptionUnavailable: if not, or if its guest
        is not that now
    :raises nova.exception.InvalidMachineType: if the machine type is not q35
    """
    config = self._get_mem_encryption_config(
        instance.flavor, instance.image_meta)
    if config is None:
        return
    try:
        xml = self._host.get_guest(instance).get_xml_desc()
    except exception.InstanceNotFound:
        return  # it is built, or moved
    except (exception.InternalError, driver.libvirt.libvirtError) as e:
        LOG.warning('Cannot tell which guest policy it has: %s', e,
                    instance=instance)
        return
    _check_policy(config, _policy_of(xml))


def _policy_of(xml):
    """Return the guest policy of a domain's XML, None if it has none."""
    policy = etree.fromstring(xml).findtext('launchSecurity/policy')
    return None if policy is None else int(policy, 0)


def _check_policy(config, policy):
    if policy != guest_config.POLICIES[config.model]:
        guest_config.refuse(config, _(
            'the guest policy is %(found)s and not 0x%(expected)04x.') % {
            'found': 'unset' if policy is None else '0x%04x' % policy,
            'expected': guest_config.POLICIES[config.model]})


def _check_allocation(self, context, instance, config):
    """Refuse a guest whose slot is one of another model.

    A scheduler without the series does not ask for the model's trait.
    """
    client = self.virtapi.reportclient
    try:
        allocs = client.get_allocs_for_consumer(
            context, instance.uuid)['allocations']
        names = {client.get_resource_provider_name(context, uuid)
                 for uuid, data in allocs.items()
                 if orc.MEM_ENCRYPTION_CONTEXT in data['resources']}
    except (ks_exc.ClientException,
            exception.ConsumerAllocationRetrievalFailed,
            exception.ResourceProviderNotFound,  # also: no connection
            exception.ResourceProviderRetrievalFailed) as e:
        # NOTE: the guest's protection does not depend on this, its start
        # should not depend on Placement.
        LOG.warning('Cannot tell which slot the server has: %s', e,
                    instance=instance)
        return
    node = self._host.get_hostname()
    # An evacuated server also has one on the host that it comes from.
    names &= {node} | {name % node for name in PROVIDERS.values()}
    expected = PROVIDERS[config.model] % node
    # Before the series came, SEV had its slots on the root, or, if it came
    # by a rebuild, none.
    if expected not in names and not (
            config.model == guest_config.AMD_SEV and names <= {node}):
        guest_config.refuse(config, _(
            'its slot is on %(found)s and not on %(expected)s.') % {
            'found': ', '.join(sorted(names)) or _('no provider'),
            'expected': expected})


def _resume(guest):
    """Resume a guest; without an answer it may run, though Nova gives up."""
    try:
        guest.resume()
    except driver.libvirt.libvirtError:
        guest.poweroff()
        raise


def _verify(guest, config, instance):
    """Destroy a guest that does not run with the policy it was given."""
    try:
        policy = guest.get_sev_policy()
        if policy is not None:
            return _check_policy(config, policy)
    except (exception.MemEncryptionUnavailable, driver.libvirt.libvirtError):
        guest.poweroff()
        raise
    LOG.warning('libvirt does not tell the policy that the guest runs with; '
                'it was started with 0x%04x',
                guest_config.POLICIES[config.model], instance=instance)
