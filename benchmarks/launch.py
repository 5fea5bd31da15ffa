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

"""Time the making of a guest's configuration."""
import time

import computehost
import pyperf
import servers
import timing

import nova.conf
from nova.tests.unit import fake_instance
from nova.virt.libvirt import blockinfo

CONF = nova.conf.CONF
INNER = 20
YOUNG = 3  # seconds in which a file may change, and its times may not


def launch(loops, host, kind):
    """Return the seconds of INNER configurations for each loop, with XML."""
    image = servers.make_image()
    instance = fake_instance.fake_instance_obj(
        host.context, flavor=servers.make_flavor(kind),
        image_ref=servers.IMAGE, system_metadata={
            'image_' + name: getattr(image.properties, name)
            for name in ('hw_firmware_type', 'hw_machine_type')},
        expected_attrs=['system_metadata', 'metadata'])
    disks = blockinfo.get_disk_info(CONF.libvirt.virt_type, instance, image)
    with timing.Section('launch/' + kind) as section:
        for _ in range(loops * INNER):
            host.driver._get_guest_config(
                instance, [], image, disks, context=host.context).to_xml()
    return section.seconds


def main():
    """Be a worker of pyperf."""
    runner = pyperf.Runner()
    made = time.monotonic()
    with computehost.ComputeHost() as host:
        host.update(startup=True)
        # NOTE: no host has firmware that is younger.
        time.sleep(max(0, made + YOUNG - time.monotonic()))
        for kind in servers.SPECS:
            runner.bench_time_func('launch/' + kind, launch, host, kind,
                                   inner_loops=INNER)


if __name__ == '__main__':
    main()
