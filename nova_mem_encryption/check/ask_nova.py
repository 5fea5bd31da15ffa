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

"""Print what Nova's environment, nova.conf or Placement say, as JSON.

main() answers one of QUESTIONS, in a process of its own. No more is printed
than the checks need, and no name, address or secret.
"""
import json
import sys
import typing as ty

from nova_mem_encryption import cli
from nova_mem_encryption import overlay

# The tree of providers, by suffix of the node's name
SUFFIXES = ('amd_sev', 'amd_sev_es')


class _Failed(Exception):
    """There is no answer; the message says why."""


def engine(files: ty.Sequence[str]) -> ty.Dict[str, ty.Any]:
    """Tell what became of the series in this environment."""
    found = cli.examine()
    return {name: found[name] for name in ('state', 'reason', 'nova', 'armed')}


def conf(files: ty.Sequence[str]) -> ty.Dict[str, ty.Any]:
    """Return those options of nova.conf that matter here."""
    _load()
    from nova_mem_encryption.check import questions
    import nova.conf  # noqa: H306
    from oslo_config import cfg
    CONF = nova.conf.CONF
    try:
        CONF(['--config-file=%s' % file for file in files], project='nova',
             prog='nova-compute')
        found = {'files': len(CONF.config_file)}
        for option in questions.OPTIONS:
            group, _, name = option.rpartition('.')
            value = CONF[group][name] if group else CONF[name]
            if option in ('libvirt.hw_machine_type', 'libvirt.cpu_models'):
                value = value or []
            found[option] = value
    except cfg.ConfigFileParseError as e:
        raise _unparsed(e) from e
    except (cfg.Error, ValueError) as e:
        raise _Failed('nova.conf: %s' % e) from e
    return found


def placement(files: ty.Sequence[str]) -> ty.Dict[str, ty.Any]:
    """Return the slots that Placement has of this host."""
    _load()
    from keystoneauth1 import exceptions as ks_exc
    from openstack import exceptions as sdk_exc
    from oslo_config import cfg

    from nova import exception

    from nova_mem_encryption import revert
    try:
        node = revert.Node(revert.connect(files), revert.get_local_node())
        return read_tree(node, revert.SLOT)
    except cfg.ConfigFileParseError as e:
        raise _unparsed(e) from e
    except (revert.Failed, cfg.Error, OSError, exception.NovaException) as e:
        raise _Failed(str(e)) from e
    except (ks_exc.ClientException, sdk_exc.SDKException) as e:
        raise _Failed('Placement cannot be reached: %s. See [placement] in '
                      'nova.conf' % str(e).rstrip('.')) from e


def read_tree(node, slot: str) -> ty.Dict[str, ty.Any]:
    """Return the slots of a node's providers.

    :param nova_mem_encryption.revert.Node node: the node
    :param slot: the resource class
    """
    found: ty.Dict[str, ty.Any] = dict.fromkeys(('root', *SUFFIXES))
    names = {node.name: 'root', **{
        '%s_%s' % (node.name, suffix): suffix for suffix in SUFFIXES}}
    for provider in node.get('/resource_providers?in_tree=%s' % node.uuid)[
            'resource_providers']:
        key = names.get(provider['name'])
        if key is None:
            continue
        url = '/resource_providers/%s/' % provider['uuid']
        slots = node.get(url + 'inventories')['inventories'].get(slot, {})
        found[key] = {
            'total': slots.get('total', 0),
            'reserved': slots.get('reserved', 0),
            'used': node.get(url + 'usages')['usages'].get(slot, 0),
            'traits': sorted(
                trait for trait in node.get(url + 'traits')['traits']
                if trait.startswith('HW_CPU_X86_AMD_SEV'))}
    return found


def _unparsed(error) -> _Failed:
    """Say where a file cannot be parsed.

    :param oslo_config.cfg.ConfigFileParseError error: it quotes the line,
        which may be that of a password
    """
    line = getattr(error.__context__, 'lineno', None)
    return _Failed('nova.conf cannot be parsed: %s%s' % (
        error.config_file, '' if line is None else ', line %d' % line))


def _load() -> None:
    # NOTE: it is looked at whether the series fits Nova or not.
    overlay.stand_down('nova-mem-encryption check only reads')
    try:
        import nova  # noqa: F401
    except ModuleNotFoundError as e:
        if e.name != 'nova':
            raise
        raise _Failed(
            'Nova is not installed in %s. Use the environment that '
            'nova-compute runs in' % sys.prefix) from e


QUESTIONS = {'engine': engine, 'conf': conf, 'placement': placement}


def main(what: str, *files: str) -> int:
    """Answer a question; :returns: the exit status."""
    try:
        print(json.dumps(QUESTIONS[what](files), indent=1))
        return 0
    except _Failed as e:
        print('%s.' % str(e).rstrip('.'), file=sys.stderr)
        return 1
