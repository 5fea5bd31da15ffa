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

"""Find flavors and images that ask for what they do not get."""
import re
import typing as ty

from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import loading as ks_loading
from oslo_utils import strutils

import nova.conf
from nova import context as nova_context
from nova.i18n import _
from nova import objects
from nova import utils

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import properties
from nova_mem_encryption.nova.mem_encryption import providers
from nova_mem_encryption.nova.mem_encryption import unanswered
from nova_mem_encryption.nova.mem_encryption.upgrade import findings
from nova_mem_encryption.nova.mem_encryption.upgrade import lacks
from nova_mem_encryption.nova.mem_encryption.upgrade import releases

CONF = nova.conf.CONF
Finding, WARNING, FAILURE = (
    findings.Finding, findings.WARNING, findings.FAILURE)
SLOT = providers.SLOT
TRAITS = {model.trait: model for model in models.MODELS.values()}
# What images call the extra specs
PROPERTIES = {'hw_mem_encryption': 'hw:mem_encryption',
              'hw_mem_encryption_model': 'hw:mem_encryption_model',
              **{row.of_images: row.extra_spec
                 for row in properties.PROPERTIES.values() if row.of_image}}


def judge_specs(name, specs, of_image=False):
    """Yield what is wrong with the extra specs of a flavor.

    :param str name: what to call it
    :param dict specs: the extra specs; those of an image are called alike
    :param bool of_image: whether they are those of an image
    """
    value = specs.get('hw:mem_encryption_model')
    encrypted = strutils.bool_from_string(specs.get('hw:mem_encryption'))
    model = models.MODELS.get(value)
    if value is not None and model is None:
        yield Finding(
            WARNING, name, _("has the unknown memory encryption model '%s', "
                             "so it is refused.") % value,
            _('Allowed are %s.') % ', '.join(models.MODELS))
    elif model is not None and not encrypted:
        yield Finding(
            WARNING, name, _('has a memory encryption model without memory '
                             'encryption, so it is refused with what does '
                             'not ask for it either.'),
            _('Ask for memory encryption beside the model.'))
    if model is not None:
        yield from releases.judge(name, model, _('take that out of it.'))
    if model is not None or encrypted and value is None:
        yield from lacks.judge(name, specs, model or models.NATIVE, of_image)
    yield from _judge_resources(name, specs, encrypted,
                                model if value else models.NATIVE)


def _judge_resources(name, specs, encrypted, wanted):
    """Yield what is wrong with requests for slots and traits by name.

    :param bool encrypted: whether memory encryption is asked for
    :param wanted: the model that it is asked for with, None if it is unknown
    """
    groups: ty.Dict[str, ty.Dict[str, str]] = {}
    for key, value in sorted(specs.items()):
        found = re.match('(?:trait|resources)([^:]*):(.+)', key)
        if found and (found[2] == SLOT or found[2] in TRAITS):
            groups.setdefault(found[1], {})[key] = value
    for group, asked in groups.items():
        slots = 'resources%s:%s' % (group, SLOT)
        named = asked.pop(slots, '0') != '0'
        own = encrypted and not group
        if own and wanted is None:
            continue  # it is refused anyway
        unless = '' if group or 'hw:mem_encryption_model' in specs else _(
            ' unless flavor or image asks for another model') if own else _(
            ' unless flavor or image asks for memory encryption')
        yield from _judge_traits(
            name, {key: value for key, value in asked.items()
                   if value in ('required', 'forbidden')},
            [wanted] if own else list(models.MODELS.values()) if named
            else [], unless)
        if named and not own and 'required' not in asked.values():
            yield Finding(
                WARNING, name, _('has %s, which may be given a slot of any '
                                 'model.') % slots,
                _('Use hw:mem_encryption=true instead.'))


def _judge_traits(name, asked, given, unless):
    """Yield what is wrong with the traits of models in a group.

    :param dict asked: the extra specs of these traits
    :param given: models whose slots the group may be given, none without one
    :param str unless: what else would find a host
    """
    # NOTE: Placement looks for a trait on what gives resources, and only the
    # provider of the slots of a model has its trait.
    traits = {key: TRAITS[key.partition(':')[2]] for key in asked}
    for key, model in () if given else traits.items():
        words = {'key': key, 'model': model.title, 'unless': unless}
        if asked[key] == 'required':
            yield Finding(
                FAILURE, name, _('has %(key)s=required, but asks for no slot '
                                 'of %(model)s. Only what has the slots has '
                                 'the trait, so no host is found%(unless)s.')
                % words, _('Remove it.'))
        else:
            yield Finding(
                WARNING, name, _('has %(key)s=forbidden, which keeps no '
                                 'servers off %(model)s hosts.') % words,
                _('Use an aggregate instead.'))
    if given and not any(
            all((traits[key] is model) == (value == 'required')
                for key, value in asked.items()) for model in given):
        yield Finding(
            FAILURE, name, _('has %(traits)s beside a request for a slot of '
                             '%(models)s. No such slot is like that, so no '
                             'host is found%(unless)s.') % {
                'traits': ', '.join('%s=%s' % item for item in asked.items()),
                'models': _(' or ').join(model.title for model in given),
                'unless': unless},
            _('Remove what does not fit.'))


def check_flavors():
    """Yield what is wrong with flavors."""
    for flavor in objects.FlavorList.get_all(
            nova_context.get_admin_context()):
        yield from judge_specs(_('Flavor %s') % flavor.name,
                               flavor.extra_specs)


def check_images():
    """Yield what is wrong with images.

    :raises keystoneauth1.exceptions.ClientException: if Glance cannot be
        asked, which needs the service user
    """
    user = 'service_user'
    auth = ks_loading.load_auth_from_conf_options(CONF, user)
    if auth is None:
        raise ks_exc.MissingAuthPlugin(
            _('there is no [%s] to ask Glance as.') % user)
    glance = utils.get_ksa_adapter(
        'image', ksa_auth=auth,
        ksa_session=ks_loading.load_session_from_conf_options(CONF, user))
    # NOTE: hidden ones are left out of the others' list, and servers can be
    # made of them.
    for hidden in ('false', 'true'):
        url = '/v2/images?visibility=all&os_hidden=' + hidden
        while url:
            page = unanswered.read_json(glance.get(url, raise_exc=True), url)
            for image in page['images']:
                yield from _judge_image(image)
            url = page.get('next')


def _judge_image(image):
    """Yield what is wrong with an image, by Glance's description of it."""
    yield from judge_specs(
        _('Image %s') % (image.get('name') or image['id']),
        {PROPERTIES.get(key, key): value for key, value in image.items()
         if key in PROPERTIES or key.startswith('trait:')}, of_image=True)
