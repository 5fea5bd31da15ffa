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

"""Refuse what cannot be, and do not refuse what was stored long ago."""
from nova.compute import api
from nova import exception
from nova.objects import fields
from nova.virt import hardware

from nova_mem_encryption import overlay


@overlay.wrap(api.API)
def _validate_flavor_image_numa_pci(upstream, image, flavor,
                                    validate_numa=True, validate_pci=False):
    """Name flavor and image, where the image's model is unknown.

    Without, the object made of the image would say no more than that one of
    its values is invalid.
    """
    image = image or {}
    model = image.get('properties', {}).get('hw_mem_encryption_model')
    if model is not None and model not in fields.MemEncryptionModel.ALL:
        raise exception.FlavorImageConflict(
            hardware.get_mem_encryption_refusal(
                flavor.name,
                flavor.get('extra_specs', {}).get('hw:mem_encryption_model'),
                image.get('name') or image.get('id'), model, None))
    return upstream(image, flavor, validate_numa=validate_numa,
                    validate_pci=validate_pci)


@overlay.wrap(api.API, leans_on=['reject_sev_instances'])
def suspend(upstream, self, context, instance):
    """Judge a server by what it was stored as."""
    with hardware.stored_mem_encryption():
        return upstream(self, context, instance)


@overlay.wrap(api.API, leans_on=['reject_sev_instances'])
def live_migrate(upstream, self, context, instance, *args, **kwargs):
    """Judge a server by what it was stored as."""
    with hardware.stored_mem_encryption():
        return upstream(self, context, instance, *args, **kwargs)
