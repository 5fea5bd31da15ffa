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

"""Refuse what will not be started again before it is stopped."""
import contextlib
import os

from nova import exception
from nova.i18n import _
from nova.objects import fields
from nova.virt.libvirt import utils as libvirt_utils

from nova_mem_encryption.nova.mem_encryption.compute import conflicts
from nova_mem_encryption.nova.mem_encryption.compute import launch_security

# What is raised where a server is not started, for what it asks for
REFUSALS = (exception.MemEncryptionUnavailable, exception.MemEncryptionInvalid,
            exception.MemEncryptionMismatch, exception.InvalidMachineType,
            exception.FlavorImageConflict)

# What comes before a hard reboot, which Nova refuses in that state
_BEFORE_REBOOT = {
    fields.InstanceState.RESCUED: _('Reset its state to active'),
    fields.InstanceState.RESIZED: _('Confirm or revert its resize'),
}


def get_remedy(instance):
    """Say how a server gets to run as what it asks for; :returns: str."""
    before = _BEFORE_REBOOT.get(instance.vm_state)
    if instance.task_state is not None:
        before = _('Wait until %s is over') % instance.task_state
    return _('Reboot it hard.') if before is None else _(
        '%s, then reboot it hard.') % before


class Restarts:
    """The servers of one host, before they are stopped to be started again.

    What is raised here is what would be raised where they are started.

    :param guests.Guests guests: what they ask for
    :param launches.Launches launches: what lets them start
    """

    def __init__(self, guests, launches):
        self._guests = guests
        self._launches = launches

    def check(self, instance, flavor=None, image_meta=None):
        """Refuse a server that would not be started on this host.

        :param nova.objects.Instance instance: the server
        :param nova.objects.Flavor flavor: that it is to have, None for its own
        :param nova.objects.ImageMeta image_meta: that it is to be rescued
            with, None for no rescue
        :returns: what it asks for, a hardware.MemEncryptionConfig or None
        :raises nova.exception.NovaException: one of REFUSALS
        """
        with _nothing_stopped():
            # Also to be unrescued
            plan = self._guests.plan(instance, instance.image_meta, flavor)
            if plan.tolerated is not None and flavor is not None and (
                    flavor.extra_specs != instance.flavor.extra_specs):
                # An API that knows no models let it pass.
                raise exception.MemEncryptionInvalid(reason=plan.tolerated)
            if image_meta is not None:
                conflicts.check_image(instance, image_meta)
                self._guests.plan(instance, image_meta)
            if plan.config is not None:
                self._launches.check_allocation(instance, plan.config)
            return plan.config

    def check_unrescue(self, instance):
        """Refuse a server that would not be started as it was before a rescue.

        :param nova.objects.Instance instance: the server
        :raises nova.exception.NovaException: one of REFUSALS
        """
        config = self.check(instance)
        try:
            xml = libvirt_utils.load_file(os.path.join(
                libvirt_utils.get_instance_path(instance), 'unrescue.xml'))
        except FileNotFoundError:
            return  # Nova stops nothing without
        difference = launch_security.compare(config, launch_security.read(xml))
        if difference is not None:
            with _nothing_stopped():
                # A server in rescue cannot be rebooted.
                raise exception.MemEncryptionMismatch(reason=_(
                    '%s An administrator can reset its state to active and '
                    'reboot it hard.') % difference.reason)

    def check_rebuild(self, instance, own, read=None):
        """Refuse a server that has got an image which asks for another model.

        It keeps the slot that it has.

        :param nova.objects.Instance instance: the server, with its new image
        :param nova.objects.ImageMeta own: of the image that it had before
        :param nova.objects.ImageMeta read: of the new image, as it is now;
            None for what is stored
        :raises nova.exception.NovaException: one of REFUSALS
        """
        with _nothing_stopped():
            for image_meta in (instance.image_meta, read):
                if image_meta is not None:
                    conflicts.check_image(instance, image_meta, own)
        self.check(instance)

    def check_definition(self, instance):
        """Refuse a guest whose definition is not what its server asks for.

        Of one that is not there Nova says so itself.

        :param nova.objects.Instance instance: the server
        :raises nova.exception.NovaException: one of REFUSALS
        :raises libvirt.libvirtError: if it cannot be asked
        """
        with contextlib.suppress(exception.InstanceNotFound), (
                _nothing_stopped()), self._launches.of(instance) as start:
            start.check(self._launches.read_definition(instance))

    def check_request(self, instance):
        """Refuse a server that no host would start.

        :param nova.objects.Instance instance: the server
        :raises nova.exception.NovaException: one of REFUSALS
        """
        with _nothing_stopped():
            conflicts.check(instance, instance.flavor, instance.image_meta)


@contextlib.contextmanager
def _nothing_stopped():
    """Say of what is refused within that nothing was stopped for it."""
    try:
        yield
    except REFUSALS as e:
        # NOTE: in front, as the events of a server's actions are cut off.
        raise type(e)(
            _('Nothing was stopped. %s') % e.format_message()) from e
