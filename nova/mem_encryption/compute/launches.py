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
from oslo_log import log as logging

from nova import exception
from nova.i18n import _
from nova.virt.libvirt import guest as libvirt_guest

from nova_mem_encryption.nova.mem_encryption.compute import guests
from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption import launch_errors
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers

LOG = logging.getLogger(__name__)


class Launches:
    """The guests of one host, when they are started.

    :param nova.virt.libvirt.host.Host host: the host
    :param guests.Guests guests: what they ask for
    :param nova.scheduler.client.report.SchedulerReportClient placement: to
        ask which slots they have
    """

    def __init__(self, host, guests, placement):
        self._host = host
        self._guests = guests
        self._placement = placement

    def check_before(self, context, xml, instance, config):
        """Refuse a guest before it is started.

        :param nova.context.RequestContext context: of the request
        :param str xml: what it is to be defined with
        :param nova.objects.Instance instance: the server
        :param nova.virt.hardware.MemEncryptionConfig config: what it asks for
        :raises nova.exception.MemEncryptionUnavailable: if it would be less,
            or its slot is one of another model
        """
        self.check_policy(config, xml)
        self.check_allocation(context, instance, config)

    def check_policy(self, config, xml):
        """Refuse a guest that is not defined with the policy of its model.

        :param nova.virt.hardware.MemEncryptionConfig config: what it asks for
        :param str xml: of the domain
        :raises nova.exception.MemEncryptionUnavailable: if it is not
        """
        row = models.MODELS[config.model]
        _compare(config, launch_security.read_policy(xml, row))

    def verify(self, guest, config, instance):
        """Destroy a guest that does not run with the policy it was given.

        :param nova.virt.libvirt.guest.Guest guest: that was started
        :param nova.virt.hardware.MemEncryptionConfig config: what it asks for
        :param nova.objects.Instance instance: the server
        :raises nova.exception.MemEncryptionUnavailable: if it was destroyed
        :raises libvirt.libvirtError: the same, as it cannot be asked
        """
        row = models.MODELS[config.model].launch_security
        try:
            policy = guest.get_launch_security_info().get(row.told)
            if policy is not None:
                return _compare(config, policy)
        except (exception.MemEncryptionUnavailable,
                libvirt_guest.libvirt.libvirtError):
            guest.poweroff()
            raise
        LOG.warning('libvirt does not tell the policy that the guest runs '
                    'with; it was started with 0x%04x', row.value,
                    instance=instance)

    def translate(self, error, config, instance):
        """Return what to raise where libvirt does not start a guest.

        :param libvirt.libvirtError error: what libvirt says
        :param nova.virt.hardware.MemEncryptionConfig config: what it asks for
        :param nova.objects.Instance instance: the server
        :returns: a nova.exception.MemEncryptionUnavailable with one sentence,
            or a MemEncryptionInvalid if no other host could start it either;
            None if the error is not of memory encryption
        """
        meaning = launch_errors.find_meaning(str(error))
        if meaning is None:
            return None
        LOG.error('Memory encryption model %(model)s cannot be given: '
                  '%(complaint)s. %(remedy)s',
                  {'model': config.model, 'complaint': meaning.line,
                   'remedy': meaning.complaint.remedy}, instance=instance)
        if not meaning.complaint.elsewhere:
            return exception.MemEncryptionInvalid(
                reason=meaning.complaint.reason)
        return guests.unavailable(config, meaning.complaint.reason)

    def check(self, instance):
        """Check that a server could be started here as what it asked for.

        :param nova.objects.Instance instance: a server of this host
        :raises nova.exception.MemEncryptionUnavailable: if not, or if its
            guest is not that now
        :raises nova.exception.InvalidMachineType: if the machine type is not
            q35
        """
        _warn_of_unknown_model(instance)
        config = self._guests.get_config(
            instance.flavor, instance.image_meta)
        if config is None:
            return
        try:
            xml = self._host.get_guest(instance).get_xml_desc()
        except exception.InstanceNotFound:
            return  # it is built, or moved
        except (exception.InternalError,
                libvirt_guest.libvirt.libvirtError) as e:
            LOG.warning('Cannot tell which guest policy it has: %s', e,
                        instance=instance)
            return
        self.check_policy(config, xml)

    def check_allocation(self, context, instance, config):
        """Refuse a guest whose slot is one of another model.

        A scheduler without the series does not ask for the model's trait.

        :param nova.context.RequestContext context: of the request
        :param nova.objects.Instance instance: the server
        :param nova.virt.hardware.MemEncryptionConfig config: what it asks for
        :raises nova.exception.MemEncryptionUnavailable: if it is
        """
        client = self._placement
        try:
            allocs = client.get_allocs_for_consumer(
                context, instance.uuid)['allocations']
            names = {client.get_resource_provider_name(context, uuid)
                     for uuid, data in allocs.items()
                     if providers.SLOT in data['resources']}
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
        names &= {node} | {providers.name_of(node, model)
                           for model in models.MODELS}
        expected = providers.name_of(node, config.model)
        # Before the series came, what is native had its slots on the root,
        # or, if it came by a rebuild, none.
        if expected not in names and not (
                models.MODELS[config.model].native and names <= {node}):
            raise guests.unavailable(config, _(
                'its slot is on %(found)s and not on %(expected)s.') % {
                'found': ', '.join(sorted(names)) or _('no provider'),
                'expected': expected})


def _compare(config, policy):
    expected = models.MODELS[config.model].launch_security.value
    if policy != expected:
        raise guests.unavailable(config, _(
            'the guest policy is %(found)s and not 0x%(expected)04x.') % {
            'found': 'unset' if policy is None else '0x%04x' % policy,
            'expected': expected})


def _warn_of_unknown_model(instance):
    """Name a server that was stored before anybody looked at the model."""
    value = instance.system_metadata.get(models.STORED)
    if value is not None and value not in models.MODELS:
        LOG.warning("Server %(uuid)s was stored with image property %(key)s="
                    "'%(value)s', which is not one of %(allowed)s. It is "
                    "ignored, as it was before.",
                    {'uuid': instance.uuid, 'key': models.PROPERTY,
                     'value': value, 'allowed': ', '.join(models.MODELS)})
