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

"""Refuse a rebuild before the guest and its disk are gone."""
import contextlib

from nova.compute import manager
from nova import exception
from nova import objects
from nova import utils

from nova_mem_encryption.nova.compute.manager import (
    restarts as manager_restarts)
from nova_mem_encryption.nova.mem_encryption.compute import restarts
from nova_mem_encryption.nova.mem_encryption import drivers
from nova_mem_encryption import overlay

# What a server has of its image beside system metadata
OF_IMAGE = {'architecture': 'hw_architecture', 'os_type': 'os_type',
            'vm_mode': 'hw_vm_mode'}


@overlay.wrap(manager.ComputeManager, leans_on=[
    'ComputeManager._rebuild_default_impl',
    'nova.compute.api:API._inherit_properties_from_image',
    'nova.objects.image_meta:ImageMeta.from_image_ref',
    'nova.utils:get_image_from_system_metadata',
    'nova.compute.resource_tracker:'
    'ResourceTracker.delete_allocation_for_evacuated_instance'])
def rebuild_instance(upstream, self, context, instance, orig_image_ref,
                     image_ref, injected_files, new_pass,
                     orig_sys_metadata, bdms, recreate, *args, **kwargs):
    """Leave guest, disk and slot; Nova would give up the slot as well.

    The API has written the new image into the server already, and one that
    knows no models lets it ask for another. An evacuated server has no guest
    that could be left.
    """
    mem_encryption = drivers.find(self.driver)
    if mem_encryption is not None and not recreate:
        try:
            own = objects.ImageMeta.from_dict(
                utils.get_image_from_system_metadata(orig_sys_metadata))
            try:
                new = _read_image(self, context, image_ref)
                mem_encryption.restarts.check_rebuild(instance, own, new)
            except restarts.REFUSALS:
                _restore(
                    instance, orig_image_ref, orig_sys_metadata, own)
                raise
        except Exception as e:
            # NOTE: also that it cannot be told, or the server would stay
            # in its task state.
            manager_restarts.refuse(self, context, instance, e)
    return upstream(self, context, instance, orig_image_ref, image_ref,
                    injected_files, new_pass, orig_sys_metadata, bdms,
                    recreate, *args, **kwargs)


def _read_image(self, context, image_ref):
    """Return what is read again of an image; None if that fails.

    It may have changed since the API has read it. Nova says why it fails.
    """
    if image_ref:
        with contextlib.suppress(exception.ImageNotFound):
            return objects.ImageMeta.from_image_ref(
                context, self.image_api, image_ref)
    return None


def _restore(instance, image_ref, system_metadata, own):
    """Take back what the API has written into a server that is rebuilt.

    auto_disk_config stays, which is of the request, too.
    """
    if instance.image_ref:  # else it is of the volume
        instance.image_ref = image_ref
    instance.system_metadata = system_metadata
    for name, field in OF_IMAGE.items():
        setattr(instance, name, own.properties.get(field))
    for name in ('kernel_id', 'ramdisk_id'):
        setattr(instance, name, system_metadata.get('image_' + name) or '')
    instance.save()
