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

"""Take hosts from overlay to patches, back, and to Nova 32."""
import importlib.metadata
import json
import re
import subprocess
import sys

import environments
import services
import upgrade

# Of each database the tables that say what servers are and ask for
TABLES = {
    'nova': ['instances', 'instance_extra', 'instance_system_metadata',
             'instance_metadata', 'block_device_mapping'],
    'nova_api': ['request_specs', 'instance_mappings', 'host_mappings',
                 'flavors', 'flavor_extra_specs'],
    'glance': ['images', 'image_properties'],
}
# The fields of an object that were changed
CHANGED = 'nova_object.changes'
# When a row was written last
WRITTEN = 'updated_at'
# Changes with the machine, which all hosts are on
MACHINE = re.compile('es[12] ' + upgrade.MACHINE)


class ThereAndBack(upgrade.Upgrade):
    """The steps: those of the upgrade to Nova 32, and before them others.

    es1 goes from the overlay to a patched Nova without the package, and back;
    es2 to one with the package beside it, from which it goes to Nova 32.
    """

    real = tuple(text.replace('with the series from its wheel', 'with the '
                              'series from its wheel and as patches')
                 for text in upgrade.Upgrade.real)

    def __init__(self, cloud, tell):
        super().__init__(cloud, tell)
        self.exact = True  # whether all is to be the same, of one release
        self.rows = {}

    def boot_before(self, step):
        super().boot_before(step)
        self.rows, self.domains = self.get_rows(), self.get_domains()
        step.fact('compared from here on', [
            {'database': name, 'table': table, 'rows': len(rows)}
            for (name, table), rows in self.rows.items()])
        step.check('there is a row of each server', {
            row['uuid'] for row in self.rows['nova', 'instances'].values()} ==
            {*self.users.servers.values()})

    boot_before.__doc__ = upgrade.Upgrade.boot_before.__doc__

    def patch_es1(self, step):
        """es1 gets a patched Nova, without the package"""
        self.take(step, 'es1', environments.ALONE)

    def go_back(self, step):
        """es1 gets the overlay back"""
        self.take(step, 'es1', sys.prefix)

    def patch_es2(self, step):
        """es2 gets a patched Nova, with the package beside it"""
        status = subprocess.run(
            [environments.PATCHED + '/bin/nova-mem-encryption', 'status'],
            stdout=subprocess.PIPE, text=True).stdout
        step.fact('nova-mem-encryption status', status.strip())
        self.take(step, 'es2', environments.PATCHED)

    def patch_control_plane(self, step):
        """The control plane gets a patched Nova, too"""
        self.cloud.end_nova()
        self.cloud.launch_nova(environments.ALONE)
        self.cloud.wait_for_nova()
        self.users.reconnect()
        self.check_same(step)
        self.reboot(step, upgrade.SERVERS)

    def upgrade_control_plane(self, step):
        self.exact = False
        super().upgrade_control_plane(step)

    upgrade_control_plane.__doc__ = (
        upgrade.Upgrade.upgrade_control_plane.__doc__)

    STEPS = [upgrade.Upgrade.start, boot_before, patch_es1, go_back, patch_es2,
             patch_control_plane, upgrade_control_plane,
             *upgrade.Upgrade.STEPS[3:]]

    # -- parts of steps ----------------------------------------------------

    def take(self, step, host, prefix):
        """Give a host the Nova of another environment, and compare."""
        self.cloud.configure_nova(prefix)
        self.replace_compute(step, host, prefix, services.OURS,
                             importlib.metadata.version('nova'))
        said = self.get_applied(host)
        step.check('its log says that the series is applied, if it is laid '
                   'over', bool(said) == (prefix == sys.prefix))
        self.check_same(step)
        self.reboot(step, [name for name, (_, _, place, _) in
                           upgrade.SERVERS.items() if place == host])

    def reboot(self, step, names):
        """Reboot servers hard, and see that their guests are the same."""
        self.reboot_all(step, {name: upgrade.SERVERS[name] for name in names})
        self.qemus = self.get_qemus()
        before, self.domains = self.domains, self.get_domains()
        self.compare(step, 'their guests are defined as before, to the '
                     'character', *(
                         {name: inactive for name, (_, inactive)
                          in each.items()} for each in (before, self.domains)))
        self.check_same(step)

    def check_same(self, step, guests=True):
        """Compare all data, too."""
        super().check_same(step, guests)
        if self.exact:
            step.check('Placement has the same providers, inventories, traits '
                       'and allocations', all(map(
                           MACHINE.fullmatch, upgrade.get_differences(
                               self.placement, self.users.get_placement()))))
            self.compare(step, 'libvirt has the same of all guests, running '
                         'and defined', self.domains, self.get_domains())
        self.compare(step, 'the databases have the same of servers, flavors '
                     'and images', self.rows, self.get_rows())

    def compare(self, step, name, before, after):
        differences = upgrade.get_differences(
            {str(key): value for key, value in before.items()},
            {str(key): value for key, value in after.items()})
        if differences:
            step.fact('changes: ' + name, differences)
        step.check(name, not differences)

    def get_rows(self):
        """Return rows, and of servers those of SERVERS: of each table."""
        servers = {None, *(self.users.servers[name]
                           for name in upgrade.SERVERS)}
        return {(database, table): {
            row['id']: {name: read(value) for name, value in row.items()
                        if name != WRITTEN and self.is_known(
                            name, database, table)}
            for row in self.cloud.read_rows(database, table)
            if row.get('instance_uuid', row.get('uuid')) in servers}
            for database, tables in TABLES.items() for table in tables}

    def is_known(self, name, *table):
        """Tell whether a column was there at first, in any row."""
        rows = self.rows.get(table)
        return not rows or any(name in row for row in rows.values())

    def get_domains(self):
        """Return what libvirt has of each server: running, and defined."""
        return {name: tuple(
            self.users.get_domain(name, host, *options)
            for options in ((), ('--inactive',)))
            for name, (_, _, host, _) in upgrade.SERVERS.items()}


def read(value):
    """Return a value of a database: of an object in JSON what is in it.

    Which of its fields were changed has no order, and is written in any.
    """
    if isinstance(value, str) and value.startswith('{"'):
        value = json.loads(value)
    if isinstance(value, dict):
        return {name: sorted(each) if name == CHANGED else read(each)
                for name, each in value.items()}
    return list(map(read, value)) if isinstance(value, list) else value
