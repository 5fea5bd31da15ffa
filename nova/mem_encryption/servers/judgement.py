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

"""Judge a server: what it asks for, has slots of, and runs with."""
import typing as ty

from nova import exception
from nova.i18n import _
from nova.objects import fields
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption.compute import restarts
from nova_mem_encryption.nova.mem_encryption import differing
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption.servers import problems

Problem = problems.Problem
STATES = fields.InstanceState
# Of which the guest is there, as the database has it
POWERED = [fields.InstancePowerState.ALL.index(state) for state in (
    fields.InstancePowerState.RUNNING, fields.InstancePowerState.PAUSED)]


class Slot(ty.NamedTuple):
    """A slot that a server has."""

    provider: str  # its name
    node: str      # the name of its root provider
    model: str


def judge(instance, slots, seen):
    """Return what is known of a server, and what does not agree.

    :param nova.objects.Instance instance: the server
    :param slots: a list of Slot
    :param seen: what nova-compute of its node has seen, a differing.Seen; None
        if that does not tell
    :returns: a problems.Server
    """
    try:
        config = hardware.get_mem_encryption_constraint(
            instance.flavor, instance.image_meta)
        asked = config.model if config else models.PLAIN
        found = []
    except (exception.NovaException, ValueError) as e:
        asked = problems.UNKNOWN
        found = [Problem(
            problems.UNREADABLE,
            _('is stored with what Nova cannot read: %s.')
            % str(e).rstrip('.'),
            _("Set it right by 'nova-manage image_property set'."))]
    runs, problem = _look(instance, asked, slots, seen)
    if problem:
        found.append(problem)
    # NOTE: while something is done with it, its slots are those before or
    # after.
    busy = (instance.task_state is not None or
            instance.vm_state == STATES.BUILDING)
    if asked != problems.UNKNOWN and not busy:
        found += _judge_slots(instance, asked, slots)
    return problems.Server(
        instance.uuid, instance.display_name or '', instance.project_id or '',
        instance.node or instance.host or problems.NOTHING,
        '%s (%s)' % (instance.vm_state, instance.task_state)
        if instance.task_state else instance.vm_state, asked,
        sorted(slot.provider for slot in slots), runs, found)


def _look(instance, asked, slots, seen):
    """Return what a server runs with, and a problem or None."""
    seen_as = seen and seen.servers.get(instance.uuid)
    if seen_as and seen_as.kind != differing.UNTOLD:
        return seen_as.runs, Problem(
            seen_as.kind, _('%(what)s: %(runs)s in place of %(asked)s.') % {
                'what': problems.KINDS[seen_as.kind], 'runs': seen_as.runs,
                'asked': asked}, restarts.get_remedy(instance))
    if instance.host is None or instance.power_state not in POWERED:
        return problems.NOTHING, None
    if seen_as or seen is None or seen.unnamed:
        wanted = asked != models.PLAIN or slots
        return problems.UNKNOWN, wanted and Problem(
            differing.UNTOLD, '%s.' % problems.KINDS[differing.UNTOLD],
            _('See to nova-compute there: that it runs, that it knows of '
              'models, and what it logs of libvirt.')) or None
    # NOTE: of one that something is done with, nova-compute tells only what it
    # has seen before: it may have been started since, or nova-compute was.
    if asked == problems.UNKNOWN or instance.task_state is not None:
        return problems.UNKNOWN, None
    row = asked != models.PLAIN and models.MODELS[asked].launch_security
    return launch_security.name(row and launch_security.LaunchSecurity(
        row.element, row.value) or None), None


def _judge_slots(instance, asked, slots):
    """Yield what is wrong with the slots of a server.

    :param str asked: the model that it asks for, or models.PLAIN
    """
    needs = asked != models.PLAIN and instance.host is not None
    right = [slot for slot in slots if needs and
             (slot.model, slot.node) == (asked, instance.node)]
    heal = _('nova-manage placement heal_allocations --force --instance %s'
             ) % instance.uuid
    if needs and not slots:
        yield Problem(
            problems.NO_SLOT,
            _('asks for %s and has no slot.') % asked, heal)
    elif needs and not right:
        yield Problem(problems.WRONG_PROVIDER, *explain_wrong(
            asked, slots)) if all(slot.model != asked for slot in slots) else (
            Problem(
                problems.WRONG_PROVIDER,
                _('is on %(node)s, but has its slot on %(providers)s.') % {
                    'node': instance.node, 'providers': _name(slots)}, heal))
    else:
        spare = [slot for slot in slots if slot not in right[:1]]
        if spare:
            yield Problem(
                problems.SPARE_SLOT,
                _('has a slot on %s that it does not ask for.')
                % _name(spare),
                _('Resize it to a flavor without %s. After an evacuation, '
                  'start nova-compute of the other host; else see '
                  "'nova-manage placement audit'.") % 'MEM_ENCRYPTION_CONTEXT')


def explain_wrong(asked, slots):
    """Say that a server has no slot but of another model.

    :param str asked: the model that it asks for
    :param slots: a list of Slot
    :returns: a sentence without its beginning, and the remedy
    """
    return _('asks for %(model)s, but has a slot on %(providers)s, so it '
             'cannot be started there.') % {
                 'model': asked, 'providers': _name(slots)}, _(
        'Migrate it, which gives it a slot of its model.')


def _name(slots):
    return ', '.join(slot.provider for slot in slots)
