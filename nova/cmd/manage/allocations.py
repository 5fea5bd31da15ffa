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

"""Give a server whose allocations are healed its slot of memory encryption."""
from keystoneauth1 import exceptions as ks_exc

from nova.cmd import manage
from nova import exception
from nova.i18n import _
from nova.scheduler.client import report
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers
from nova_mem_encryption.nova.scheduler import utils as scheduler_utils
from nova_mem_encryption import overlay


@overlay.wrap(manage.PlacementCommands, mends=(
    'healing gives an encrypted server no slot'), leans_on=[
    'PlacementCommands._heal_allocations_for_instance',
    'nova.scheduler.utils:resources_from_flavor',
    'nova.scheduler.client.report:SchedulerReportClient.get'])
def _heal_missing_alloc(upstream, self, ctxt, instance, node_cache):
    """Take the slot from the provider of the server's model.

    :raises nova.exception.AllocationUpdateFailed: also if there is none
    """
    try:
        with scheduler_utils.with_image(lambda: instance.image_meta):
            payload = upstream(self, ctxt, instance, node_cache)
    except (exception.FlavorImageConflict,
            exception.InvalidMachineType) as e:
        _fail(instance, _(
            '%s. Correct the image properties that the server has stored, '
            "with 'nova-manage image_property set'."
        ) % e.format_message().rstrip('.'))
    allocations = payload['allocations']
    root, = allocations
    if providers.SLOT not in allocations[root]['resources']:
        return payload
    config = hardware.get_mem_encryption_constraint(
        instance.flavor, instance.image_meta)
    # NOTE: there is none where resources:MEM_ENCRYPTION_CONTEXT is all
    # that the flavor has. That is of no model, and as Nova has it.
    if config is not None:
        try:
            provider = _find_provider(
                ctxt, instance, root, config.model)
        except (ks_exc.ClientException,
                exception.ConsumerAllocationRetrievalFailed) as e:
            _fail(instance, _('Slot retrieval failed: %s') % e)
        amount = allocations[root]['resources'].pop(providers.SLOT)
        allocations.setdefault(provider, {'resources': {}})
        allocations[provider]['resources'][providers.SLOT] = amount
    return payload


def _find_provider(ctxt, instance, root, model):
    """Return the provider of a host that has a slot for a server.

    :param nova.objects.Instance instance: the server
    :param str root: UUID of the host's root provider, which has the slots of
        plain SEV itself where nova-compute does not know models
    :param str model: the model of memory encryption
    """
    client = report.report_client_singleton()
    url = '/resource_providers?in_tree=%s&required=%s' % (
        root, models.MODELS[model].trait)
    having = _get(ctxt, instance, client, url)
    free = _get(
        ctxt, instance, client, '%s&resources=%s:1' % (url, providers.SLOT))
    held = client.get_allocs_for_consumer(ctxt, instance.uuid)['allocations']
    # NOTE: with --force it may have a slot, which is its own to take again.
    for uuid in having:
        if providers.SLOT in held.get(uuid, {}).get('resources', {}):
            return uuid
    if free:
        return free[0]
    what = {'model': model, 'host': instance.host}
    if not having:
        _fail(instance, _(
            'it has memory encryption model %(model)s, and host %(host)s has '
            'no resource provider for that. Start a nova-compute there that '
            'knows it, and see in its log whether the host can run such '
            'servers; if not, cold-migrate the server.') % what)
    _fail(instance, _(
        'it has memory encryption model %(model)s, and host %(host)s has no '
        'free slot of that. Move another server with that model away, or '
        "look with 'nova-manage placement audit' for slots that nobody "
        'uses.') % what)


def _get(ctxt, instance, client, url):
    """Return the UUIDs of the providers that Placement finds."""
    response = client.get(url, version='1.18',
                          global_request_id=ctxt.global_id)
    if response.status_code != 200:
        _fail(instance, _('Placement says: %s') % response.text)
    return [found['uuid'] for found in response.json()['resource_providers']]


def _fail(instance, error):
    raise exception.AllocationUpdateFailed(
        consumer_uuid=instance.uuid, error=error)
