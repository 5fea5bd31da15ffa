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

"""What cannot be derived: subjects, places and names, each with its reason."""
import typing as ty

LIBVIRT = 'nova.virt.libvirt.'
OURS = 'nova.mem_encryption.'


class Subject(ty.NamedTuple):
    """One patch.

    What modules of nova/mem_encryption its modules need comes with it.
    """

    slug: str
    title: str
    body: str
    modules: ty.Tuple[str, ...]  # of the tree


# In this order each compiles, imports and passes its tests alone. What exposes
# the feature comes last.
SUBJECTS = (
    Subject('models', 'Name the models of memory encryption', """\
A model is a row of nova/mem_encryption/models.py: what lists models, or
depends on one, derives from there. Images can have the property
hw_mem_encryption_model; ImageMetaProps keeps its version, as peers ignore a
field that they do not know and refuse a version that they do not know.
""", ('nova.objects.fields', 'nova.exception', 'nova.objects.image_meta')),
    Subject('constraint', 'Tell which model a server asks for', """\
get_mem_encryption_constraint returns the model that flavor and image ask
for, or None. What is refused of new servers is told apart from what servers
are stored with.
""", ('nova.virt.hardware',)),
    Subject('host', 'libvirt: Find out what models a host can offer', """\
Kernel parameters, secure processor, misc cgroup, libvirt and firmware are
asked, and where a model is not offered the log says why, and what to do.
Options of [libvirt] keep slots back, and switch SEV-SNP on.
""", ('nova.conf.libvirt', LIBVIRT + 'config.capabilities',
      LIBVIRT + 'host.descriptors', LIBVIRT + 'host.mem_encryption',
      LIBVIRT + 'host.resets')),
    Subject('guest', 'libvirt: Define launch security of each model', """\
The element <launchSecurity> of a guest has type and policy of a model, and
its devices what that wants of them.
""", (LIBVIRT + 'config.policy', LIBVIRT + 'designer')),
    Subject('errors', 'Say in plain words why a guest was not launched', """\
What libvirt, QEMU, kernel and secure processor say is looked up in tables
of causes and remedies.
""", (OURS + 'launch_errors.meanings',)),
    Subject('providers', 'Count slots, for a resource provider of each model',
            """\
Slots of each model are on a nested provider of its own. The trait of SEV is
taken off the root before slots are moved, so that no request finds a slot of
another model meanwhile.
""", ('nova.scheduler.client.report', OURS + 'compute.provider_tree',
      OURS + 'compute.slots', OURS + 'compute.foreign_guests',
      OURS + 'compute.holders', OURS + 'compute.plans',
      OURS + 'compute.news')),
    Subject('driver', 'libvirt: Run guests with the model they ask for', """\
The driver has one object with the state and the acts of memory encryption.
It reports the providers, defines guests with the launch security of their
model, and refuses what could not be started again.

What is defined, what is started and what runs is compared with what the
server asks for. A guest with another launch policy is not started. All that
starts guests ends in Guest.launch.

Where all that a function of the driver does is to be within a context, a
decorator enters it: else each of its lines would be indented anew.
""", (LIBVIRT + 'driver.mem_encryption', LIBVIRT + 'driver.provider_tree',
      LIBVIRT + 'driver.guest_config', LIBVIRT + 'driver.launch',
      LIBVIRT + 'driver.saved_memory', LIBVIRT + 'guest')),
    Subject('scheduler', 'Ask Placement for a slot of the model', """\
A request for a server also asks for the trait of its model. Where a flavor is
translated without an image, for limits, the image of the server is known.
""", ('nova.objects.request_spec', 'nova.scheduler.utils')),
    Subject('services', 'Refuse what cannot be before anything is stopped',
            """\
The API, the conductor and the compute service refuse what would not be
started again, while what runs still runs, and say how to correct it. Limits
count the slot for which an image asks.
""", ('nova.compute.manager.init_instance', 'nova.compute.manager.interfaces',
      'nova.compute.manager.resets', 'nova.compute.manager.restarts',
      'nova.compute.manager.rebuild', 'nova.compute.manager.resize',
      'nova.compute.resource_tracker.differing',
      'nova.compute.resource_tracker.foreign_guests',
      'nova.compute.resource_tracker.reshape',
      'nova.compute.resource_tracker.resize_claim',
      'nova.conductor.manager.builds', 'nova.conductor.manager.unshelve',
      'nova.compute.api.refusals', 'nova.compute.api.limits',
      'nova.compute.api.rescue', 'nova.compute.api.unshelve')),
    Subject('commands', 'Heal allocations, and check before upgrades', """\
nova-manage heals the slots of encrypted servers, and looks at values of image
properties. nova-status finds what the next releases refuse.
""", ('nova.cmd.manage.allocations', 'nova.cmd.manage.image_properties',
      'nova.cmd.status')),
    Subject('switch', 'Let flavors ask for a model of memory encryption', """\
The extra spec hw:mem_encryption_model is known from here on. In nova.conf
compute_driver = mem_encryption.LibvirtDriver keeps a Nova without models from
starting by accident.
""", ('nova.api.validation.extra_specs.hw', 'nova.virt.mem_encryption')),
)

# Files of the tree that extend Nova and are not exported
LEFT_OUT = {
    'nova.service': 'a service need not say that Nova is as it is',
}

TESTS = Subject('tests', 'Test models of memory encryption', """\
Unit and functional tests, on Nova's fake libvirt with AMD SEV hosts. Some
want hypothesis beside Nova's own test requirements. Tests of Nova that expect
what is not so any more are skipped, each with its reason.
""", ())
DOCS = Subject('docs', 'Document models of memory encryption', """\
For users and operators, and the release notes.
""", ())
# Modules of tests that are no tests of Nova: below nova.tests, and why
PACKAGE = 'it tests the package, which stays as it is'
IMITATED = 'it wants imitated hosts'
LEFT_OUT_TESTS = (
    (r'unit\.test_(?!mem_encryption)', PACKAGE),
    (r'unit\.test_mem_encryption_(metadefs|new_model|services?)$', PACKAGE),
    (r'functional\.test_demo', PACKAGE),
    (r'functional\.libvirt\.(test_)?sevhost', IMITATED),
    (r'functional\.libvirt\.(test_)?made_up_model',
     'it adds a row to a copy of the tree'),
    (r'fixtures\.(environment|packages|made_host|recorded_host)$', PACKAGE),
)

# What __init__.py of a folder says, as patch makes no empty file
FOLDERS = {
    'compute': 'What nova-compute does for servers with memory encryption.',
    'host': 'What a host can do, and why it cannot.',
    'host.firmware': 'Which firmware a guest is started with.',
    'launch_errors': 'What it means that a guest is not launched.',
    'servers': 'Which servers run with what, and what does not agree.',
    'upgrade': 'What the next releases of Nova refuse.',
}

# Where what is added goes: behind that function or class of Nova. Else it is
# behind what is wrapped in the same file.
ANCHORS = {
    ('nova.exception', ''): 'OperationNotSupportedForSEV',
    ('nova.objects.fields', ''): 'MaxPhyAddrMode',
    ('nova.virt.libvirt.host', 'Host'): 'supports_amd_sev',
    ('nova.virt.libvirt.driver', 'LibvirtDriver'): '_sev_enabled',
}

# Before what of Nova the rest of a file goes, where that is not the class or
# function that it wraps
BEFORE = {'nova.conf.libvirt': 'ALL_OPTS'}

# Names that would say too little in the large modules of Nova, or are taken
RENAMES = {
    ('nova.cmd.manage.allocations', '_fail'): '_fail_to_heal',
    ('nova.cmd.manage.allocations', '_find_provider'):
        '_find_slot_provider',
    ('nova.cmd.manage.allocations', '_get'): '_get_slot_providers',
    ('nova.cmd.manage.image_properties', 'STATES'): 'IMAGE_PROPERTY_STATES',
    ('nova.cmd.status', '_check'): '_check_mem_encryption',
    ('nova.compute.api.refusals', 'check'): '_check_mem_encryption',
    ('nova.compute.api.refusals', 'check_ports'):
        '_check_mem_encryption_ports',
    ('nova.compute.api.rescue', 'STABLE'): 'STABLE_RESCUE_PROPERTIES',
    ('nova.compute.api.rescue', '_find_reason'): '_find_rescue_refusal',
    ('nova.compute.api.rescue', '_get_image_of_guest'):
        '_get_image_of_rescued_guest',
    ('nova.compute.manager.rebuild', 'OF_IMAGE'): 'FIELDS_OF_IMAGE',
    ('nova.compute.manager.rebuild', '_read_image'): '_read_rebuild_image',
    ('nova.compute.manager.rebuild', '_restore'): '_restore_image',
    ('nova.compute.manager.restarts', 'OFF'): 'GUEST_OFF_STATES',
    ('nova.compute.manager.restarts', '_check_request'):
        '_check_mem_encryption_request',
    ('nova.compute.manager.restarts', '_get_own_image'):
        '_get_image_of_stable_rescue',
    ('nova.compute.manager.restarts', 'refuse'): '_refuse_action',
    ('nova.conf.libvirt', 'ENABLE'): 'ENABLE_MODEL_HELP',
    ('nova.conf.libvirt', 'HELP'): 'RESERVED_GUESTS_HELP',
    ('nova.conf.libvirt', 'OPTIONS'): 'libvirt_mem_encryption_opts',
    ('nova.scheduler.client.report', 'SEV'): 'SEV_TRAIT',
    ('nova.scheduler.utils', 'COUNTED'): 'COUNTED_IMAGE_PROPERTIES',
    ('nova.scheduler.utils', '_get_image'): '_get_image_of_server',
    ('nova.virt.hardware', 'CONFIGS'): 'MEM_ENCRYPTION_CONFIGS',
    ('nova.virt.libvirt.config.capabilities', '_complain'):
        '_complain_of_sev',
    ('nova.virt.libvirt.designer', 'SERIAL'): 'VIRTIO_SERIAL',
    ('nova.virt.libvirt.host.descriptors', 'KNOWN'): 'KNOWN_DESCRIPTOR',
    ('nova.virt.libvirt.host.descriptors', '_FILE'): '_DESCRIPTOR_FILE',
    ('nova.virt.libvirt.host.descriptors', '_STRINGS'):
        '_DESCRIPTOR_STRINGS',
    ('nova.virt.libvirt.host.descriptors', '_is_known'):
        '_is_known_descriptor',
    ('nova.tests.fixtures.libvirt', 'ES'): 'SEV_ES_POLICY',
    ('nova.tests.fixtures.libvirt', 'ELEMENTS'): 'LAUNCH_SECURITY_ELEMENTS',
}
# Statements that say nothing inside Nova, by a name that they bind: what a
# wrap mends is in its comment; of an enumeration the values are written out.
DROPPED = {
    ('nova.conductor.manager.builds', 'MENDS'),
    ('nova.objects.fields', '_value'),
    ('nova.scheduler.utils', 'MENDS'),
    ('nova.virt.hardware', 'judging'),
}
