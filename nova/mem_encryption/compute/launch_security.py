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

"""Write, read and compare the launch security of guests."""
import functools
import typing as ty

from lxml import etree

from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import models


# What libvirt tells of the host
OF_HOST = {'cbitpos', 'reducedPhysBits'}


class LaunchSecurity(ty.NamedTuple):
    """The launch security that a guest has."""

    element: str                # its type
    policy: ty.Optional[int]    # None if it has none
    # Names of attributes and elements that Nova gives none
    others: ty.Tuple[str, ...] = ()


class Difference(ty.NamedTuple):
    """How a guest is not what its server asks for."""

    less: bool   # whether it protects less; else it is more
    reason: str  # a sentence without its beginning


def _write_as_of_sev(element, guest, policy):
    guest.launch_security.type = element
    guest.launch_security.policy = policy


# By the type of the element. Nova has made it, as of a guest with SEV; those
# of SEV-SNP have the same children.
WRITERS = {element: functools.partial(_write_as_of_sev, element)
           for element in ('sev', 'sev-snp')}


def write(guest, row):
    """Give a guest the launch security of a model.

    :param nova.virt.libvirt.config.LibvirtConfigGuest guest: to configure
    :param model.Model row: the model
    """
    WRITERS[row.launch_security.element](guest, row.launch_security.value)


def read(xml):
    """Return the launch security of a guest, None if it has none.

    :param str xml: of the domain
    """
    security = etree.fromstring(xml).find('launchSecurity')
    if security is None:
        return None
    policy = security.findtext('policy')
    given = {*security.attrib, *(
        child.tag for child in security.iterchildren('*'))}
    return LaunchSecurity(security.get('type'),
                          None if policy is None else int(policy, 0),
                          tuple(sorted(given - {'type', 'policy'} - OF_HOST)))


def read_offered(xml):
    """Return the launch security that guests can have.

    :param str xml: domain capabilities
    :returns: types of the element; libvirt lists those that QEMU has, whatever
        the kernel has
    """
    return [value.text for value in etree.fromstring(xml).iterfind(
        "features/launchSecurity[@supported='yes']"
        "/enum[@name='sectype']/value")]


def compare(config, found):
    """Say how a guest is not what its server asks for.

    :param config: what it asks for, a hardware.MemEncryptionConfig or None
    :param found: what the guest has, a LaunchSecurity or None
    :returns: a Difference, None if it is equal
    """
    if config is None:
        return found and Difference(False, _(
            'the guest has %s, and the server asks for no memory encryption.'
        ) % _describe(found))
    row = models.MODELS[config.model].launch_security
    if found is None or found.element != row.element:
        return Difference(_is_less(found, config.model), _(
            'the guest has %(found)s, and the server asks for %(model)s.') % {
                'found': _describe(found), 'model': config.model})
    if found.policy != row.value:
        return Difference(row.is_less(found.policy or 0), _(
            'the guest policy is %(found)s and not 0x%(expected)04x.') % {
                'found': _name(found.policy), 'expected': row.value})
    if row.whole and found.others:
        return Difference(False, _(
            'the launch security of the guest has %s, which Nova gives none.'
        ) % ', '.join(found.others))
    return None


def name(found):
    """Return what a guest has in short, with no word of a language.

    :param found: a LaunchSecurity or None
    """
    if found is None:
        return models.PLAIN
    model = models.find_model(found.element, found.policy or 0)
    return ' '.join([
        model.value if model else found.element or '?',
        *([] if found.policy is None else ['0x%04x' % found.policy]),
        *('+' + other for other in found.others)])


def _is_less(found, asked):
    model = found and models.find_model(found.element, found.policy or 0)
    order = list(models.MODELS)
    return model is None or order.index(model.value) < order.index(asked)


def _describe(found):
    if found is None:
        return _('no memory encryption')
    return _('launch security %(element)s with policy %(policy)s') % {
        'element': found.element, 'policy': _name(found.policy)}


def _name(policy):
    return _('unset') if policy is None else '0x%04x' % policy
