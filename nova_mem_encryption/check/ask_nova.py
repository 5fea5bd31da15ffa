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

main() answers QUESTIONS in a process of its own, in which Nova stays as it is.
No more is printed than the checks need, and no name, address or secret.
"""
import functools
import importlib
import json
import os
import shlex
import subprocess
import sys
import typing as ty

import nova_mem_encryption
from nova_mem_encryption import bootstrap
from nova_mem_encryption.engine import gate
from nova_mem_encryption.engine import state
from nova_mem_encryption import errors
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import nova_conf
from nova_mem_encryption.nova.mem_encryption import providers
from nova_mem_encryption import status


ARMED = bootstrap.Finder in sys.meta_path
# What distributions call the service
UNITS = ('nova-compute', 'openstack-nova-compute')


class _Failed(Exception):
    """There is no answer; the message says why."""


def engine(options: ty.Sequence[str]) -> ty.Dict[str, ty.Any]:
    """Tell what becomes of the series in a service that starts now."""
    found = state.State()
    try:
        gate.examine(list(_import_nova().__path__), found)
    except ModuleNotFoundError as e:
        if e.name != 'nova':
            raise
        found.name, found.reason = state.NO_NOVA, 'Nova is not installed'
    return {'state': found.name, 'reason': found.reason or None,
            'nova': found.nova, 'armed': ARMED,
            'version': nova_mem_encryption.__version__,
            'patches': found.patches or None}


def services(options: ty.Sequence[str]) -> ty.Dict[str, ty.Any]:
    """Tell what the services of this machine have of the series."""
    return status.examine_services()


def conf(options: ty.Sequence[str]) -> ty.Dict[str, ty.Any]:
    """Return those options of nova.conf that matter here."""
    _load()
    from nova_mem_encryption.check import questions
    import nova.conf  # noqa: H306
    from oslo_config import cfg
    CONF = nova.conf.CONF
    # NOTE: they are those of the series, which stands down here.
    CONF.register_opts([
        cfg.BoolOpt(model.option, default=False)
        for model in models.get_added()
        if model.option and model.option not in CONF.libvirt], 'libvirt')
    try:
        with nova_conf.reading(CONF, options):
            CONF(list(options), project='nova', prog='nova-compute')
        paths = nova_conf.get_files(CONF)
        found = {'files': len(paths), 'paths': paths}
        for option in questions.OPTIONS:
            group, _, name = option.rpartition('.')
            value = CONF[group][name] if group else CONF[name]
            if option in ('libvirt.hw_machine_type', 'libvirt.cpu_models'):
                value = value or []
            if option == 'pci.device_spec':
                value = len(value)
            found[option] = value
    except cfg.Error as e:
        raise _Failed(nova_conf.explain(e)) from e
    return found


def libvirt_python(options: ty.Sequence[str]) -> ty.Dict[str, ty.Any]:
    """Tell which libvirt nova-compute's Python has, or why it has none.

    Nova imports it no sooner than its driver starts.
    """
    try:
        version = importlib.import_module('libvirt').getVersion()
    # NOTE: the last is of a folder of that name.
    except (ImportError, SyntaxError, AttributeError) as e:
        return {'version': None, 'fault': '%s: %s' % (type(e).__name__, e)}
    return {'version': [version // 10 ** 6, version // 1000 % 1000,
                        version % 1000], 'fault': None}


def placement(options: ty.Sequence[str]) -> ty.Dict[str, ty.Any]:
    """Return the slots that Placement has of this host."""
    _load()
    from keystoneauth1 import exceptions as ks_exc
    from openstack import exceptions as sdk_exc
    from oslo_config import cfg

    from nova import exception

    from nova_mem_encryption.nova.mem_encryption import nodes
    from nova_mem_encryption.nova.mem_encryption import placement as client
    from nova_mem_encryption.nova.mem_encryption import taken_names
    try:
        client.configure(options)
        asked = client.connect()
        node = nodes.find_node(asked, nodes.get_local_node())
        tree = providers.Providers(asked.get, node.uuid)
        return {**read_tree(tree, node.uuid), 'taken': {
            models.MODELS[model].suffix: other.kind
            for model, other in taken_names.find_taken(
                asked.get, tree, node.uuid).items()},
            'unknown': _find_unknown(asked.get)}
    except cfg.Error as e:
        raise _Failed(nova_conf.explain(e)) from e
    except (OSError, exception.NovaException) as e:
        raise _Failed(str(e)) from e
    except (ks_exc.ClientException, sdk_exc.SDKException) as e:
        raise _Failed('Placement cannot be reached: %s. See [placement] in '
                      'nova.conf' % str(e).rstrip('.')) from e


def _find_unknown(get: ty.Callable[[str], ty.Any]) -> ty.List[str]:
    rows = [model for model in models.MODELS.values() if model.os_traits]
    known = get('/traits?name=in:' + ','.join(
        model.trait for model in rows))['traits'] if rows else []
    return [model.suffix for model in rows if model.trait not in known]


def read_tree(tree: providers.Providers, node: str) -> ty.Dict[str, ty.Any]:
    """Return the slots of a node's providers, by suffix of the name.

    :param tree: the providers of the node
    :param node: UUID of its root provider
    """
    children = tree.get_children(node)
    found = {model.suffix: children.get(model.value)
             for model in models.MODELS.values()}
    traits = {model.trait for model in models.MODELS.values()}
    return {name: provider and {
        'total': (provider.slots or {}).get('total', 0),
        'reserved': (provider.slots or {}).get('reserved', 0),
        'used': provider.used,
        'traits': sorted(traits.intersection(provider.traits))}
        for name, provider in {'root': tree.by_uuid[node], **found}.items()}


@functools.lru_cache(maxsize=None)
def _take_variables() -> None:
    """Have the options that systemd sets for nova-compute, as variables.

    They are OS_<GROUP>__<OPTION>, and stand above the files:
    oslo_config/sources/_environment.py
    """
    try:
        shown = subprocess.run(
            ['systemctl', 'show', '--property=Environment', '--value',
             *UNITS], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True).stdout
        words = shlex.split(shown)
    except (OSError, ValueError):
        return  # no systemd
    for word in words:
        name, _, value = word.partition('=')
        if name.startswith('OS_'):
            os.environ[name] = value


def _load() -> None:
    _take_variables()
    # NOTE: as Nova does, which saves a quarter of the time that it takes.
    os.environ['EVENTLET_NO_GREENDNS'] = 'yes'
    try:
        _import_nova()
    except ModuleNotFoundError as e:
        if e.name != 'nova':
            raise
        raise _Failed(
            'Nova is not installed in %s. Use the environment that '
            'nova-compute runs in' % sys.prefix) from e


def _import_nova():
    # NOTE: it is looked at whether the series fits Nova or not.
    state.stand_down('nova-mem-encryption check only reads')
    bootstrap.arm()
    import nova
    return nova


QUESTIONS = {'engine': engine, 'services': services, 'conf': conf,
             'libvirt_python': libvirt_python, 'placement': placement}


def answer(what: str, options: ty.Sequence[str]) -> ty.Dict[str, str]:
    """Return the 'answer' to a question, or the 'error' in its place."""
    try:
        return {'answer': json.dumps(QUESTIONS[what](options), indent=1)}
    except _Failed as e:
        return {'error': errors.plain(str(e))}


def main(*options: str) -> int:
    """Answer what the lines of stdin ask, each by a line; until it ends."""
    # NOTE: what libraries print is not to come among the answers.
    answers = open(os.dup(sys.stdout.fileno()), 'w')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        print(json.dumps(answer(line.strip(), options)), file=answers,
              flush=True)
    return 0
