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

"""Compare the slots that Placement has of a host with what that can run."""
import typing as ty

from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import names
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers

UNLIMITED = 2 ** 31 - 1  # what Nova offers where libvirt does not tell
RESTART = ('Restart nova-compute, wait a minute, and see its log for the '
           'reason.')


def check_placement(host: hosts.Host) -> tree.Finding:
    """See whether Placement can be asked, and the root provider is bare."""
    placement = host.ask_json('placement')
    root = placement['root']
    found = 'the root provider has %d slots and %s' % (
        root['total'], ', '.join(root['traits']) or
        'no trait of ' + models.NATIVE.title)
    # Those in use stay there while their provider cannot be had.
    kept = models.NATIVE.suffix in placement.get('taken', ()) and root['used']
    if root['total'] != kept or models.NATIVE.trait in root['traits']:
        return tree.failed(
            found + ': so a request may be given a slot of another model',
            'nova-compute runs without the series. ' + RESTART)
    return tree.passed(found)


def check_provider(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """Compare the slots of a model with the host's."""
    limit = host.ask_json('nova-conf')['libvirt.num_memory_encrypted_guests']
    total = UNLIMITED if limit is None or not model.native else limit
    placement = host.ask_json('placement')
    provider = placement.get(model.suffix)
    told = facts.get_capabilities(host).counts.get(model.count.element)
    try:
        capacity = facts.get_capacity(host)[model.count.asids]
    except hosts.Unanswered:
        capacity = UNLIMITED
    if told is not None and capacity not in (told, UNLIMITED):
        return tree.Finding(tree.SKIP, 'until libvirt and the kernel tell the '
                            'same: %d and %d' % (told, capacity))
    total = min(total, UNLIMITED if told is None else told, capacity)
    total, lost = _share(model, placement, total)
    name = providers.name_of('<node>', model.value)
    if provider is None:
        if not total:
            return tree.passed('there is no provider %s, and nothing to '
                               'offer' % name)
        other = placement.get('taken', {}).get(model.suffix)
        if other is not None:
            return tree.failed(
                '%s is %s, so the host offers no slots, and can run %d such '
                'guests' % (name, other, total),
                "Find it by 'openstack resource provider list', and rename "
                'it, or delete it; within minutes the slots are there.')
        return tree.failed('there is no provider %s, and the host can run %d '
                           'such guests' % (name, total), RESTART)
    found = ('provider %s has %d slots, %d used, %d reserved; the host can '
             'run %d such guests%s' % (
                 name, provider['total'], provider['used'],
                 provider['reserved'], total, lost))
    if provider['total'] != total or model.trait not in provider['traits']:
        return tree.failed('%s; its traits are %s' % (found, ', '.join(
            provider['traits']) or 'none of ' + models.NATIVE.title), RESTART)
    if provider['used'] > provider['total']:
        return tree.warned(found, 'Move servers to other hosts.')
    return tree.passed(found)


def _share(model: model_row.Model, placement: ty.Dict[str, ty.Any],
           total: int) -> ty.Tuple[int, str]:
    """Take from the slots of a model what others hold of its ASIDs.

    A host has no two models that share them: who has slots of the other was
    there before, and cannot be started any more.

    :param placement: what it has of the host
    :param total: what the host can run
    :returns: what is left of that, and words of what is not
    """
    others = {row.title: placement[row.suffix]['used']
              for row in models.get_pools()[model.count.asids]
              if row is not model and placement.get(row.suffix)}
    held = sum(others.values())
    provider = placement.get(model.suffix)
    if not held:
        return total, ''
    # nova-compute never offers less than is used.
    return max(total - held, provider['used'] if provider else 0), (
        ' beside the %d of %s that it cannot start any more' % (
            held, names.enumerate_words(others)))


def check_usage(host: hosts.Host) -> tree.Finding:
    """Compare the slots in use with the guests that run."""
    placement, guests = host.ask_json('placement'), host.ask_json('guests')
    known = {key: sum(
        placement[model.suffix]['used'] + placement[model.suffix]['reserved']
        for model in pool if placement.get(model.suffix)) +
        placement['root']['used'] * (models.NATIVE in pool)
        for key, pool in models.get_pools().items()}
    wrong = ['%s: %d guests, %d slots in use or reserved' % (
        key, guests[key], slots) for key, slots in known.items()
        if guests[key] > slots]
    if wrong:
        return tree.warned(
            'more guests run than Placement knows of: %s' % '; '.join(wrong),
            "Find those that are not Nova's (virsh list) and stop them; or "
            'nova-manage placement heal_allocations.')
    return tree.passed('Placement knows of all %s guests that run'
                       % names.enumerate_words(guests[key] for key in known))
