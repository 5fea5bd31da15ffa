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

"""Write and read the launch security of a guest."""
from lxml import etree

# How it gets its policy, by the type of the element. Nova has made it, as of
# a guest with SEV.
WRITERS = {
    'sev': lambda guest, policy: setattr(guest.launch_security, 'policy',
                                         policy),
}


def write(guest, row):
    """Give a guest the launch security of a model.

    :param nova.virt.libvirt.config.LibvirtConfigGuest guest: to configure
    :param model.Model row: the model
    """
    WRITERS[row.launch_security.element](guest, row.launch_security.value)


def read_policy(xml, row):
    """Return the guest policy that a guest is defined with.

    :param str xml: of the domain
    :param model.Model row: the model that it should have
    :returns: int; None if it has no launch security of this kind
    """
    security = etree.fromstring(xml).find('launchSecurity')
    if security is None or (
            security.get('type') != row.launch_security.element):
        return None
    policy = security.findtext('policy')
    return None if policy is None else int(policy, 0)
