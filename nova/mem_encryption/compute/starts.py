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

"""Define and start no guest that is not exactly what its server asks for."""
import contextvars
import functools

from oslo_log import log as logging

from nova import exception
from nova.i18n import _
from nova.virt.libvirt import guest as libvirt_guest

from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption import models

LOG = logging.getLogger(__name__)

# NOTE: Nova's functions that start guests know the server. What they all call,
# Guest.create and Guest.launch, does not.
CURRENT = contextvars.ContextVar('start', default=None)


class Start:
    """What the guest of one server is to be, while it is started.

    :param nova.objects.Instance instance: the server
    :param admit: called with it, returns what it asks for, a
        hardware.MemEncryptionConfig or None; raises if it cannot have it here
    """

    def __init__(self, instance, admit):
        self._instance = instance
        self._admit = admit

    @functools.cached_property
    def config(self):
        """What the server asks for, and can have here."""
        return self._admit(self._instance)

    @property
    def _row(self):
        return self.config and models.MODELS[self.config.model].launch_security

    @property
    def starts_paused(self):
        """Whether the guest is paused while it is looked at."""
        return self._row is not None and self._row.paused

    @property
    def must_run(self):
        """Whether the guest is launched only when it runs."""
        return self._row is not None and not self._row.paused

    def check(self, found):
        """Refuse a guest that is not what the server asks for.

        :param found: what it has, a launch_security.LaunchSecurity or None
        :raises nova.exception.MemEncryptionMismatch: if it is less or more
        """
        difference = launch_security.compare(self.config, found)
        if difference is not None:
            raise exception.MemEncryptionMismatch(reason=difference.reason)

    def verify(self, guest):
        """Stop a guest that does not run as what the server asks for.

        :param nova.virt.libvirt.guest.Guest guest: that was started
        :raises nova.exception.MemEncryptionMismatch: if it was stopped
        :raises libvirt.libvirtError: the same, as it cannot be asked; of one
            that asks for nothing that is only said
        """
        try:
            found, told = read_running(guest)
            self.check(found)
        except libvirt_guest.libvirt.libvirtError as e:
            if self.config is None:
                # It was defined without, just before.
                LOG.warning('Cannot tell which guest policy it has: %s', e,
                            instance=self._instance)
                return
            _stop(guest)
            raise
        except exception.MemEncryptionMismatch:
            _stop(guest)
            raise
        if not told and self._row is not None and self._row.told is not None:
            LOG.warning('libvirt does not tell the policy that the guest runs '
                        'with; it was started with 0x%04x', found.policy,
                        instance=self._instance)


def check_definition(xml):
    """Refuse to define a guest that is not what its server asks for.

    One of no server can be defined, and is looked at when it is started.

    :param str xml: of the domain
    :raises nova.exception.MemEncryptionMismatch: if it is less or more
    """
    current = CURRENT.get()
    if current is not None:
        current.check(launch_security.read(xml))


def launch(start, guest, pause):
    """Start a guest, if it is exactly what its server asks for.

    All that Nova starts passes here. What is compared is what libvirt will
    start, its persistent definition, and then what runs; an encrypted guest
    is paused in between, if it is launched without being run.

    :param start: starts it; called with whether it is to be paused
    :param nova.virt.libvirt.guest.Guest guest: to start
    :param bool pause: whether Nova wants it to be paused
    :returns: what that returns
    :raises nova.exception.MemEncryptionMismatch: if it is less or more
    :raises libvirt.libvirtError: if it cannot be asked
    """
    current = CURRENT.get()
    defined = launch_security.read(guest.get_xml_desc(dump_inactive=True))
    if current is None:
        if defined is not None:
            raise exception.MemEncryptionMismatch(reason=_(
                'guest %s has launch security, and nothing tells which server '
                'it is started for.') % guest.uuid)
        return start(pause)
    current.check(defined)
    # NOTE: where QEMU would launch it when it is resumed, libvirt would not
    # read why it does not.
    paused = current.starts_paused or pause and not current.must_run
    started = start(paused)
    current.verify(guest)
    if paused != pause:
        _set_paused(guest, pause)
    return started


def read_running(guest):
    """Return the launch security that a guest runs with.

    :param nova.virt.libvirt.guest.Guest guest: that runs
    :returns: a launch_security.LaunchSecurity or None, and whether its policy
        is what the hypervisor says, and not only what it was started with
    :raises libvirt.libvirtError: if it cannot be asked
    """
    found = launch_security.read(guest.get_xml_desc())
    if found is None:
        return None, False
    row = models.find_model(found.element, found.policy or 0)
    if row is None or row.launch_security.told is None:
        return found, False
    policy = guest.get_launch_security_info().get(row.launch_security.told)
    return (found, False) if policy is None else (
        found._replace(policy=policy), True)


def _set_paused(guest, pause):
    """Pause or resume a guest; without an answer it may run all the same."""
    try:
        guest.pause() if pause else guest.resume()
    except libvirt_guest.libvirt.libvirtError:
        _stop(guest)
        raise


def _stop(guest):
    """Stop a guest; what it is stopped for is the error that counts."""
    try:
        guest.poweroff()
    except libvirt_guest.libvirt.libvirtError as e:
        LOG.error('Guest %(guest)s could not be stopped: %(error)s. It may '
                  'run as what its server does not ask for. Stop it: virsh '
                  'destroy %(guest)s', {'guest': guest.uuid, 'error': e})
