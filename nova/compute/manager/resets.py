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

"""Start a server again whose guest has ended for a reset."""
import contextlib

from oslo_log import log as logging

from nova.compute import instance_actions
from nova.compute import manager
from nova.compute import vm_states
import nova.context
from nova import exception
from nova import objects

from nova_mem_encryption.nova.compute.manager import (
    restarts as manager_restarts)
from nova_mem_encryption.nova.mem_encryption.compute import restarts
from nova_mem_encryption.nova.mem_encryption import drivers
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)


@overlay.wrap(manager.ComputeManager, leans_on=[
    'ComputeManager._reboot_instance',
    'ComputeManager._sync_instance_power_state',
    'nova.compute.api:API._hard_reboot', 'nova.compute.api:API.reboot'])
def _stop_unexpected_shutdown_instance(upstream, self, context, vm_state,
                                       db_instance, orig_db_power_state):
    """Reboot a server whose guest asked for a reset, in place of a stop.

    Whatever finds a server off that should be on comes here, be it by an event
    of libvirt or by the periodic look at all, so that nothing stops it first.
    """
    mem_encryption = drivers.find(self.driver)
    if mem_encryption is None or (
            not mem_encryption.resets.has(db_instance.uuid)):
        upstream(self, context, vm_state, db_instance, orig_db_power_state)
        return
    with mem_encryption.resets.see_to(db_instance.uuid) as mine:
        if mine and not _reboot_after_reset(self, mem_encryption,
                                            db_instance):
            upstream(self, context, vm_state, db_instance,
                     orig_db_power_state)


def _reboot_after_reset(self, mem_encryption, instance):
    """Reboot a server by the API, which tells of it.

    :returns: False if it is to stay off, and has not been stopped yet
    """
    title, refusal = None, None
    try:
        config = mem_encryption.launches.admit(instance)
    except restarts.REFUSALS as e:
        refusal = e
    else:
        if config is None or models.MODELS[config.model].resets:
            return False  # somebody has told libvirt to end it
        title = models.MODELS[config.model].title
    # NOTE: nothing has locked it, and Placement may have been slow.
    instance.refresh()
    if instance.vm_state != vm_states.ACTIVE or (
            not mem_encryption.resets.has(instance.uuid)):
        return True  # its user was faster
    if instance.task_state is not None:
        return _put_off(mem_encryption, instance, instance.task_state)
    if refusal is None:
        try:
            mem_encryption.resets.count(instance.uuid)
        except exception.InstanceRebootFailure as e:
            refusal = e
    if refusal is not None:
        _record_refused_reset(self, instance, refusal)
        return False
    LOG.info('Its guest asked for a reset, which one with %s cannot have. '
             'The server is rebooted.', title, instance=instance)
    try:
        # NOTE: the context of an event also reads what is deleted, so that
        # the guest would get such disks again.
        self.compute_api.reboot(
            nova.context.get_admin_context(), instance, 'HARD')
    except (exception.InstanceInvalidState,
            exception.UnexpectedTaskStateError) as e:
        return _put_off(mem_encryption, instance, e)
    return True


def _put_off(mem_encryption, instance, reason):
    LOG.info('The server is not rebooted yet: %s', reason, instance=instance)
    mem_encryption.resets.note(instance.uuid)
    return True


def _record_refused_reset(self, instance, error):
    """Have the actions of a server say why it stays off."""
    LOG.warning('Its guest asked for a reset, which it cannot have, and '
                'is not started again. %s', error.format_message(),
                instance=instance)
    # NOTE: an action is known by the request that it is of.
    context = nova.context.get_admin_context()
    objects.InstanceAction.action_start(
        context, instance.uuid, instance_actions.REBOOT, want_result=False)
    with contextlib.suppress(type(error)):
        manager_restarts.refuse(self, context, instance, error)
