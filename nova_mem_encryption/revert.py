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

"""Prepare a host for Nova without the series, and say what was done.

Importing this loads parts of Nova, which the engine has to let be.
"""
import argparse
import json
import sys
import typing as ty

from keystoneauth1 import exceptions as ks_exc
from openstack import exceptions as sdk_exc
from oslo_config import cfg
import prettytable

import nova.conf
from nova import exception

from nova_mem_encryption.engine import release
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption import errors
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import nodes
from nova_mem_encryption.nova.mem_encryption import nova_conf
from nova_mem_encryption.nova.mem_encryption import placement
from nova_mem_encryption.nova.mem_encryption.revert import guests
from nova_mem_encryption.nova.mem_encryption.revert import reversal
from nova_mem_encryption.nova.mem_encryption.revert import writes

CONF = nova.conf.CONF
ERRORS = (cfg.Error, OSError, exception.NovaException, ks_exc.ClientException,
          sdk_exc.SDKException)


def _explain(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return 'It was interrupted.'
    if isinstance(error, nodes.NoNode):
        return ("%s. Give the name of the node as 'openstack hypervisor list' "
                'has it.' % error)
    if isinstance(error, (ks_exc.ClientException, sdk_exc.SDKException)):
        return 'Placement cannot be reached: %s. See [placement] in %s.' % (
            str(error).rstrip('.'), nova_conf.name_files(CONF))
    return (nova_conf.explain(error) if isinstance(error, cfg.Error) else
            str(error).rstrip('.') + '.')


def _print(name: str, done: ty.List[writes.Write], dry_run: bool,
           looked_at: guests.Guests) -> None:
    print('Placement was looked at, and not the guests.'
          if looked_at.count is None else
          'Placement was looked at, and the %d guests of libvirt at %s.' % (
              looked_at.count, looked_at.uri))
    if not done:
        print('Node %s: nothing to do. It is as Nova without the series has '
              'it.' % name)
        return
    table = prettytable.PrettyTable(['Write', 'Provider', 'Has then'])
    table.align = 'l'
    for number, write in enumerate(done, 1):
        for provider, change in write.changes:
            table.add_row([number, provider, change])
    print(table)
    print('Node %s: nothing was written. Stop its nova-compute, then run this '
          'without --dry-run.' % name if dry_run else
          'Node %s: done. Start its nova-compute only without the series: '
          'with it, it would move the slots again.' % name)


def _refuse_newer() -> None:
    version = engine.state().nova or ''
    major = release.major(version) or 0
    if major > release.LAST:
        raise writes.Failed(
            'Nova %s has %s itself, and these providers are its own. '
            'Uninstall nova-mem-encryption.' % (version, ' and '.join(
                model.title for model in models.get_added()
                if model.nova <= major)))


def main(args: argparse.Namespace) -> int:
    """Run the command.

    :param args: node, config, libvirt, dry_run, json, debug
    :returns: exit status
    """
    told: ty.Dict[str, ty.Any] = {
        'node': args.node, 'uuid': None, 'dry_run': args.dry_run,
        'error': None, 'files': []}
    done: ty.List[writes.Write] = []
    client: ty.Optional[placement.Client] = None
    error: ty.Optional[BaseException] = None
    looked_at = guests.Guests(args.libvirt)
    code, again = 1, 'Then run this again'
    try:
        with errors.interruptible():
            _refuse_newer()
            placement.configure(args.config)
            told['files'] = nova_conf.get_files(CONF)
            client = placement.connect()
            node = nodes.find_node(client, args.node or nodes.get_local_node())
            told.update(node=node.name, uuid=node.uuid)
            for write in reversal.Reversal(client, node, looked_at).run(
                    args.dry_run):
                done.append(write)
    except (*ERRORS, KeyboardInterrupt) as e:
        error = e
        told['error'] = errors.plain(_explain(e))
        if isinstance(e, KeyboardInterrupt):
            code, again = errors.INTERRUPTED, 'Run this again'
    told['libvirt'], told['guests'] = looked_at.uri, looked_at.count
    told['writes'] = [
        {'request': '%s %s' % (write.verb.upper(), write.path),
         'changes': [{'provider': provider, 'has': change}
                     for provider, change in write.changes]}
        for write in done]
    if args.json:
        print(json.dumps(told, indent=2))
    if told['error'] is None:
        if not args.json:
            _print(told['node'], done, args.dry_run, looked_at)
        return 0
    if args.debug and isinstance(error, ERRORS):
        errors.print_traceback(error)
    print('%s %s' % (
        told['error'], '%s: it goes on where it was stopped.' % again
        if code != 1 or client and client.wrote else 'Nothing was written.'),
        file=sys.stderr)
    return code
