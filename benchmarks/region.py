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

"""Fill Placement with many hosts: a third each without SEV, SEV, and both.

By SQL, as the API would take hours.
"""
import random

from oslo_config import cfg
from oslo_utils import uuidutils
from placement import conf
from placement.db.sqlalchemy import migration
from placement.db.sqlalchemy import models
from placement import db_api
from placement import deploy
import sqlalchemy as sa

SLOTS = {'HW_CPU_X86_AMD_SEV': 20, 'HW_CPU_X86_AMD_SEV_ES': 10}
ROOT = {'VCPU': 128, 'MEMORY_MB': 1 << 19, 'DISK_GB': 1 << 14}
SERVER = {'VCPU': 1, 'MEMORY_MB': 1024, 'DISK_GB': 10}
PLAIN = 20  # servers of a host without SEV that is full
SLOT = 'MEM_ENCRYPTION_CONTEXT'
ROWS = 5000  # of one statement


def load(connection):
    """Return Placement, a WSGI application, on an empty database."""
    config = cfg.ConfigOpts()
    conf.register_opts(config)
    config.set_override('connection', connection, 'placement_database')
    config.set_override('auth_strategy', 'noauth2', 'api')
    config([], project='placement', default_config_files=[])
    db_api.configure(config)
    migration.create_schema(db_api.get_placement_engine())
    return deploy.loadapp(config)


class Region:
    """Hosts and servers, as rows."""

    def __init__(self, nested=True, seed=6):
        self.nested = nested
        self.random = random.Random(seed)
        self.engine = db_api.get_placement_engine()
        with self.engine.connect() as connection:
            self.classes, self.traits = (
                dict(connection.execute(sa.select(t.name, t.id)).all())
                for t in (models.ResourceClass, models.Trait))
        self.providers = 0
        self.free = []  # (root, provider of a slot or None), to be used

    def fill(self, hosts):
        """Replace all there is by a number of hosts without servers."""
        self.rows = {}
        self.providers, self.free = 0, []
        # Whose allocations these are: without, Placement lists none.
        for model in (models.Project, models.User):
            self._add(model, id=1, external_id='1')
        for number in range(hosts):
            root = self._add_provider('host%05d' % number, None, ROOT)
            models_of_host = list(SLOTS)[:number % 3]
            if not models_of_host:
                self.free += [(root, None)] * PLAIN
            for trait in models_of_host:
                provider = root if not self.nested else self._add_provider(
                    'host%05d_%s' % (number, trait[11:].lower()), root, {})
                self._add_inventory(provider, SLOT, SLOTS[trait])
                self._add(models.ResourceProviderTrait, trait_id=self.traits[
                    trait], resource_provider_id=provider)
                self.free += [(root, provider)] * SLOTS[trait]
                if not self.nested:
                    break
        self.random.shuffle(self.free)
        self.slots = len(self.free)
        self._write(clear=True)

    def use(self, share):
        """Add servers until a share of all slots is used."""
        self.rows = {}
        while len(self.free) > self.slots * (1 - share):
            root, provider = self.free.pop()
            consumer = uuidutils.generate_uuid()
            self._add(models.Consumer, uuid=consumer, project_id=1, user_id=1)
            for name, used in SERVER.items():
                self._add_allocation(consumer, root, name, used)
            if provider is not None:
                self._add_allocation(consumer, provider, SLOT, 1)
        self._write()

    def _add(self, model, **row):
        self.rows.setdefault(model.__table__, []).append(row)

    def _add_provider(self, name, parent, inventories):
        self.providers += 1
        self._add(models.ResourceProvider, id=self.providers, name=name,
                  uuid=uuidutils.generate_uuid(), generation=1,
                  parent_provider_id=parent,
                  root_provider_id=parent or self.providers)
        number = self.providers
        for name, total in inventories.items():
            self._add_inventory(number, name, total)
        return number

    def _add_inventory(self, provider, name, total):
        self._add(models.Inventory, resource_provider_id=provider,
                  resource_class_id=self.classes[name], total=total,
                  reserved=0, min_unit=1, max_unit=total, step_size=1,
                  allocation_ratio=1.0)

    def _add_allocation(self, consumer, provider, name, used):
        self._add(models.Allocation, consumer_id=consumer, used=used,
                  resource_provider_id=provider,
                  resource_class_id=self.classes[name])

    def _write(self, clear=False):
        with self.engine.begin() as connection:
            if clear:
                for model in (models.Allocation, models.Consumer,
                              models.Project, models.User,
                              models.Inventory, models.ResourceProviderTrait):
                    connection.execute(sa.delete(model))
                # They refer to one another.
                connection.execute(sa.update(models.ResourceProvider).values(
                    parent_provider_id=None, root_provider_id=None))
                connection.execute(sa.delete(models.ResourceProvider))
            for table, rows in self.rows.items():
                for start in range(0, len(rows), ROWS):
                    connection.execute(sa.insert(table),
                                       rows[start:start + ROWS])
            if self.engine.name == 'mysql':
                for table in self.rows:
                    connection.execute(sa.text('ANALYZE TABLE %s' % table))
        self.rows = {}
