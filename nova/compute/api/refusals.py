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

"""Refuse what cannot be, where the API looks at flavor and image."""
from nova.compute import api
from nova import exception
from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import devices
from nova_mem_encryption.nova.mem_encryption import refusals
from nova_mem_encryption.nova.mem_encryption import substitutes
from nova_mem_encryption.nova.virt import hardware
from nova_mem_encryption import overlay


@overlay.wrap(api.API, leans_on=[
    'API._checks_for_create_and_rebuild', 'API._validate_flavor_image',
    'API._validate_flavor_image_nostatus'])
def _validate_flavor_image_numa_pci(upstream, image, flavor,
                                    validate_numa=True, validate_pci=False):
    """Refuse for create, resize and rebuild, with flavor and image by name.

    Where Nova asks whether memory encryption can be, more is refused.
    """
    image = image or {}
    if 'id' not in image:
        # That of a server has no id of its own.
        ref = image.get('properties', {}).get('base_image_ref')
        if ref:
            image = {**image, 'id': ref}
    if refusals.ask_for_nothing(flavor, image):
        return upstream(image, flavor, validate_numa, validate_pci)
    token = hardware.judging.set(True)
    try:
        return upstream(image, flavor, validate_numa, validate_pci)
    finally:
        hardware.judging.reset(token)


def check(image, flavor):
    """Refuse what flavor and image cannot be together, before all else.

    :param dict image: as of refusals.read_image
    :param nova.objects.Flavor flavor: the flavor
    :raises nova.exception.FlavorImageConflict: with the remedy
    :raises nova.exception.InvalidMachineType: if it is not q35
    :raises nova.exception.InvalidRequest: if a property makes no sense
    """
    if not refusals.ask_for_nothing(flavor, image):
        refusals.check(flavor, _read_image(image))


def _read_image(image):
    """As refusals.read_image. :raises nova.exception.InvalidRequest:"""
    try:
        return refusals.read_image(image)
    except ValueError:
        # Nova says it in its own words.
        return api._get_image_meta_obj({'properties': {
            name: value for name, value in image.get(
                'properties', {}).items()
            if name in refusals.JUDGED}})


@overlay.wrap(api.API, leans_on=[
    '_get_image_meta_obj',
    'nova.network.neutron:API.create_resource_requests'])
def _validate_and_build_base_options(upstream, self, context, flavor,
                                     boot_meta, *args, **kwargs):
    """Refuse to create a server with ports that its model cannot have."""
    result = upstream(self, context, flavor, boot_meta, *args, **kwargs)
    options, *_others = result
    check_ports(
        boot_meta, flavor, lambda: options['pci_requests'])
    return result


def check_ports(image, flavor, get_requests):
    """Refuse ports that a server cannot have with the model it asks for.

    :param image, flavor: as of check
    :param get_requests: as of devices.find_port_refusal
    :raises nova.exception.FlavorImageConflict: with the remedy
    """
    if refusals.ask_for_nothing(flavor, image):
        return
    try:
        config = refusals.get_config(flavor, _read_image(image))
    except (exception.FlavorImageConflict, exception.InvalidMachineType,
            exception.InvalidRequest):
        return  # Where flavor and image are looked at, that is said.
    reason = config and devices.find_port_refusal(get_requests, config.model)
    if reason:
        raise exception.FlavorImageConflict(reason)


@overlay.wrap(api.API, leans_on=['API._get_image'])
def rebuild(upstream, self, context, instance, image_href, *args, **kwargs):
    """Refuse another model, as a rebuilt server keeps the slot it has.

    It would not start, after its disk was overwritten. The image that it has
    is looked at too, as its properties may have changed.
    """
    def judge(image):
        check(image, instance.flavor)
        reason = substitutes.find_refusal(instance, image)
        if reason is not None:
            raise exception.FlavorImageConflict(_(
                'A rebuild cannot change the memory encryption of a '
                'server. %s Rebuild it with an image that asks for the '
                'same, or create a new server.') % reason)

    return upstream(substitutes.judging(self, image_href, judge), context,
                    instance, image_href, *args, **kwargs)
