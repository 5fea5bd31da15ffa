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

"""Start a guest as exactly what its server asks for, and see that it is."""
from nova.virt.libvirt import guest

from nova_mem_encryption.nova.mem_encryption.compute import starts
from nova_mem_encryption import overlay


@overlay.add(guest.Guest)
def get_launch_security_info(self):
    """Return what the hypervisor reports of a guest's launch security.

    :returns: a dict, as of virDomainGetLaunchSecurityInfo; empty if this
        libvirt cannot tell
    :raises libvirt.libvirtError: if the guest cannot be asked
    """
    try:
        return self._domain.launchSecurityInfo(0)
    except AttributeError:
        return {}  # libvirt-python before 4.5.0
    except guest.libvirt.libvirtError as e:
        if e.get_error_code() in (guest.libvirt.VIR_ERR_NO_SUPPORT,
                                  guest.libvirt.VIR_ERR_OPERATION_UNSUPPORTED):
            return {}
        raise


@overlay.wrap(guest.Guest)
def create(upstream, cls, xml, host):
    """Define no guest that is less or more than its server asks for."""
    starts.check_definition(xml)
    return upstream(cls, xml, host)


@overlay.wrap(guest.Guest, leans_on=[
    'Guest.get_xml_desc', 'Guest.pause', 'Guest.poweroff', 'Guest.resume',
    'Guest.uuid'])
def launch(upstream, self, pause=False):
    """Start no guest that is less or more than its server asks for.

    All that starts guests ends here: spawn, soft and hard reboot, power on,
    resume, unshelve, evacuate, resize and its revert, rescue and unrescue, a
    snapshot of a suspended guest, and nova-compute when its host boots.
    """
    return starts.launch(lambda paused: upstream(self, pause=paused), self,
                         pause)
