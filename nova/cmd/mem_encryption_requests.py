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
import os_resource_classes as orc
import os_traits as ot
from oslo_utils import strutils

import nova.conf
from nova import context as nova_context
from nova.i18n import _
from nova import objects
from nova.objects import fields
from nova import utils
from nova.virt import hardware

from nova_mem_encryption.nova.cmd import mem_encryption_errors as errors
from nova_mem_encryption.nova.scheduler import utils as scheduler_utils

CONF = nova.conf.CONF
WARNING, FAILURE = 'warning', 'failure'
SLOT = orc.MEM_ENCRYPTION_CONTEXT
SEV = ot.HW_CPU_X86_AMD_SEV
TRAITS = scheduler_utils.TRAITS
# What images call the extra specs
PROPERTIES = {'hw_mem_encryption': 'hw:mem_encryption',
              'hw_mem_encryption_model': 'hw:mem_encryption_model',
              'os_secure_boot': 'os:secure_boot'}


class Finding(ty.NamedTuple):
    """Something to be corrected."""

    severity: str  # WARNING or FAILURE
    object: str    # what it is about, such as 'flavor m1.sev'
    problem: str
    remedy: str

    @property
    def message(self):
        """All of it, as sentences."""
        return '%s %s %s' % (self.object, self.problem, self.remedy)


def judge_specs(name, specs):
    """Yield what is wrong with the extra specs of a flavor.

    :param str name: what to call it
    :param dict specs: the extra specs; those of an image are called alike
    """
    model = specs.get('hw:mem_encryption_model')
    encrypted = strutils.bool_from_string(specs.get('hw:mem_encryption'))
    if model is not None and model not in TRAITS:
        yield Finding(
            WARNING, name, _("has the unknown memory encryption model '%s', "
                             "so it is refused.") % model,
            _('Allowed are %s.') % ', '.join(TRAITS))
    elif model is not None and not encrypted:
        yield Finding(
            WARNING, name, _('has a memory encryption model without memory '
                             'encryption, so it is refused with what does '
                             'not ask for it either.'),
            _('Ask for memory encryption beside the model.'))
    vgpu = hardware.get_vgpu_request(specs)
    if encrypted and vgpu:
        yield Finding(
            WARNING, name, _('has memory encryption and %s, so it is '
                             'refused.') % vgpu,
            _('Remove one of them.'))
    if model == fields.MemEncryptionModel.AMD_SEV_ES and (
            specs.get('os:secure_boot') == fields.SecureBoot.REQUIRED):
        yield Finding(
            WARNING, name, _('has to have secure boot, which SEV-ES does not '
                             'have, so it is refused.'),
            _('Do not require it.'))
    wanted = TRAITS.get(model or fields.MemEncryptionModel.AMD_SEV)
    for key, value in sorted(specs.items()):
        kind, group, what = re.match(
            '(trait|resources|)([^:]*):?(.*)', key).groups()
        slots = specs.get('resources%s:%s' % (group, SLOT), '0') != '0' or (
            encrypted and not group)
        if kind == 'trait' and what == SEV and value == 'required' and (
                not slots or encrypted and not group and wanted != SEV):
            yield Finding(
                FAILURE, name, _("has %s=required, but asks for no slot of "
                                 "SEV. Only what has the slots has the trait, "
                                 "so no host is found.") % key,
                _('Remove it.'))
        elif kind == 'trait' and what == SEV and value == 'forbidden' and (
                not slots):
            yield Finding(
                WARNING, name, _('has %s=forbidden, which keeps servers off '
                                 'SEV hosts no more.') % key,
                _('Use an aggregate instead.'))
        elif kind == 'resources' and what == SLOT and value != '0' and not (
                encrypted and not group) and not any(
                    specs.get('trait%s:%s' % (group, trait)) == 'required'
                    for trait in TRAITS.values()):
            yield Finding(
                WARNING, name, _('has %s, which may be given a slot of any '
                                 'model.') % key,
                _('Use hw:mem_encryption=true instead.'))


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
    url = '/v2/images?visibility=all'
    while url:
        page = errors.read_json(glance.get(url, raise_exc=True), url)
        for image in page['images']:
            yield from judge_specs(
                _('Image %s') % (image.get('name') or image['id']),
                {PROPERTIES.get(key, key): value
                 for key, value in image.items() if key in PROPERTIES or
                 key.startswith('trait:')})
        url = page.get('next')
