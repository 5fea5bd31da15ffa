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

"""Let guests run with the memory encryption that their servers ask for."""
import contextlib

from keystoneauth1 import exceptions as ks_exc
from oslo_log import log as logging

from nova import context as nova_context
from nova import exception
from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption.compute import guests
from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption.compute import starts
from nova_mem_encryption.nova.mem_encryption.launch_errors import meanings
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

    @contextlib.contextmanager
    def of(self, instance):
        """Within, guests are those of a server, and are what it asks for.

        :param nova.objects.Instance instance: the server
        :returns: the starts.Start
        """
        start = starts.Start(instance, self.admit)
        token = starts.CURRENT.set(start)
        try:
            yield start
        finally:
            starts.CURRENT.reset(token)

    def read_definition(self, instance):
        """Return the launch security that libvirt would start a guest with.

        :param nova.objects.Instance instance: the server
        :returns: a launch_security.LaunchSecurity or None
        :raises libvirt.libvirtError: if it cannot be asked
        """
        return launch_security.read(
            self._host.get_guest(instance).get_xml_desc(dump_inactive=True))

    def admit(self, instance):
        """Return what a server asks for, if it can have it here.

        :param nova.objects.Instance instance: the server
        :returns: a hardware.MemEncryptionConfig or None
        :raises nova.exception.MemEncryptionUnavailable: if not, or its slot is
            one of another model
        :raises nova.exception.MemEncryptionInvalid: if no host can give it
        :raises nova.exception.FlavorImageConflict: as Nova does
        :raises nova.exception.InvalidMachineType: if that is not q35
        """
        config = self._guests.get_config(instance.flavor, instance.image_meta)
        if config is not None:
            self.check_allocation(instance, config)
        return config

    def translate(self, error, config, instance):
        """Return what to raise where libvirt does not start a guest.

        :param libvirt.libvirtError error: what libvirt says
        :param config: what it asks for, a hardware.MemEncryptionConfig or None
        :param nova.objects.Instance instance: the server
        :returns: a nova.exception.MemEncryptionUnavailable with one sentence,
            or a MemEncryptionInvalid if no other host could start it either;
            None if the error is not of memory encryption
        """
        if config is None:
            return None
        meaning = meanings.find_meaning(str(error))
        if meaning is None:
            for line in meanings.find_unknown(str(error)):
                LOG.error('Memory encryption model %(model)s cannot be given, '
                          'and it is not known what this means: %(line)s',
                          {'model': config.model, 'line': line},
                          instance=instance)
            return None
        why = meaning.why and ' (%s)' % meaning.why
        LOG.error('Memory encryption model %(model)s cannot be given: '
                  '%(complaint)s%(why)s. %(remedy)s',
                  {'model': config.model, 'complaint': meaning.line,
                   'why': why, 'remedy': meaning.cause.remedy},
                  instance=instance)
        if not meaning.cause.elsewhere:
            return exception.MemEncryptionInvalid(reason=meaning.cause.reason)
        return guests.unavailable(config, meaning.cause.reason)

    def check_allocation(self, instance, config):
        """Refuse a guest whose slot is one of another model.

        A scheduler that knows no models does not ask for a trait of one.

        :param nova.objects.Instance instance: the server
        :param nova.virt.hardware.MemEncryptionConfig config: what it asks for
        :raises nova.exception.MemEncryptionUnavailable: if it is
        """
        client = self._placement
        context = nova_context.get_admin_context()
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
        # Before models were known, what is native had its slots on the root,
        # or, if it came by a rebuild, none.
        if expected not in names and not (
                models.MODELS[config.model].native and names <= {node}):
            raise guests.unavailable(config, _(
                'its slot is on %(found)s and not on %(expected)s.') % {
                'found': ', '.join(sorted(names)) or _('no provider'),
                'expected': expected})
