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

"""Tell how many slots the hosts of the cloud have, and who has them."""
import argparse
import sys

from nova_mem_encryption.cli import configuration
from nova_mem_encryption import errors
from nova_mem_encryption.nova.mem_encryption import models

HELP = 'Tell how many slots the hosts of the cloud have, and who has them.'
EPILOG = """\
Total, used and reserved are what Placement has of each host and model. Foreign
are guests with memory encryption that have no slot, as nova-compute
of the host counted them last; "-" where it has not, or where the database
cannot be read, as on compute hosts. Hosts that Placement has no slots of
%s for are named below, with what is missing there; why the host offers
none, 'nova-mem-encryption check' says on the host. For example:

    nova-mem-encryption slots
    nova-mem-encryption slots --prometheus --config-dir /etc/nova/cell1

exit status: 0 printed; 1 it cannot be run; 2 the options make no
sense""" % ' or '.join(model.value for model in models.get_default())
CANNOT = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    configuration.add_config(parser, "Nova's own")
    configuration.add_formats(parser, {})


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    configuration.configure(args.config)
    from keystoneauth1 import exceptions as ks_exc
    import nova.conf
    from nova import exception
    from nova_mem_encryption.nova.mem_encryption import nova_conf
    from nova_mem_encryption.nova.mem_encryption import slots
    from nova_mem_encryption.nova.mem_encryption import unanswered
    from openstack import exceptions as sdk_exc
    from oslo_config import cfg
    conf = nova.conf.CONF
    try:
        found, reason, taken = slots.get_slots()
    except (ks_exc.ClientException, sdk_exc.SDKException, cfg.Error,
            exception.NovaException) as e:
        raise errors.CannotRun(
            'Placement cannot be asked: %s. See [placement] in %s.' % (
                unanswered.explain(e), nova_conf.name_files(conf))) from e
    if reason is not None:
        print('Foreign guests are not known where it says so: %s. The '
              'database has them; run this on a controller.'
              % reason.rstrip('.'), file=sys.stderr)
    for problem in taken:
        print(problem, file=sys.stderr)
    print(slots.FORMATS[args.format](found, nova_conf.get_files(conf)))
    return 0
