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

"""Ask and change Placement, as an operator's command does."""
import contextlib
import typing as ty

from oslo_config import cfg

import nova.conf
from nova import exception
from nova.i18n import _
from nova.scheduler.client import report

from nova_mem_encryption.nova.mem_encryption import nova_conf

CONF = nova.conf.CONF
# That of Nova's own reshapes. Consumers keep the type that they may have,
# which would have to be sent from 1.38 on.
VERSION = '1.30'
# What Placement says of a change that came in between
CONFLICTS = ('placement.concurrent_update',
             'placement.resource_provider.inuse')


class Refused(exception.NovaException):
    """Placement did not do it; the message says what it answered."""


class Conflict(Refused):
    """Something else changed the same at the same time."""


@contextlib.contextmanager
def parsing_addresses():
    """Say so where one of [placement] is none."""
    try:
        yield
    except ValueError as e:
        if isinstance(e, cfg.Error):
            raise
        raise Refused(_('An address in [placement] of %s is no URL')
                      % nova_conf.name_files(CONF)) from e


def _without_links(answer: ty.Dict[str, ty.Any]) -> ty.Dict[str, ty.Any]:
    """Leave out of an answer what most of a list of providers is."""
    answer.pop('links', None)
    return answer


class Client:
    """A client of Placement.

    :param nova.scheduler.client.report.SchedulerReportClient client: that of
        Nova
    """

    def __init__(self, client) -> None:
        self._client = client
        self.wrote = False  # or tried to

    def get(self, path: str) -> ty.Dict[str, ty.Any]:
        """Return what Placement has.

        :raises Refused: if it does not tell
        """
        response = self._call('get', path)
        try:
            return response.json(object_hook=_without_links)
        except ValueError as e:
            raise Refused(_('%s is answered with what is no JSON, maybe by a '
                            'proxy') % path) from e

    def write(self, verb: str, path: str, data: ty.Any = None) -> None:
        """Change Placement.

        :param verb: of HTTP, lower case
        :param data: what goes with it
        :raises Conflict: if it was changed since it was read
        :raises Refused: if it is not done for another reason
        """
        self.wrote = True
        self._call(verb, path, *([] if data is None else [data]))

    def _call(self, verb: str, path: str, *args):
        with parsing_addresses():
            response = getattr(self._client, verb)(
                path, *args, version=VERSION)
        if response.status_code < 400:
            return response
        try:
            error = response.json()['errors'][0]
        except (ValueError, LookupError, TypeError):
            error = {'detail': response.text}
        words = {'verb': verb.upper(), 'path': path,
                 'code': response.status_code,
                 'detail': ' '.join(error['detail'].split())}
        message = _('Placement answered %(verb)s %(path)s with %(code)d: '
                    '%(detail)s') % words
        if response.status_code == 403:
            message += _(' The user in [placement] of nova.conf needs the '
                         'role service.')
        raise (Conflict if error.get('code') in CONFLICTS else Refused)(
            message)


def configure(options: ty.Sequence[str]) -> None:
    """Read the configuration as nova-compute does.

    :param options: '--config-file=PATH' and '--config-dir=PATH'; none for the
        files of nova-compute
    :raises oslo_config.cfg.Error: if it cannot be read
    """
    with nova_conf.reading(CONF, options):
        CONF(list(options), project='nova', prog='nova-compute')


def connect() -> Client:
    """Return the client of Placement of a command."""
    with parsing_addresses():
        client = report.report_client_singleton()
    # NOTE: openstacksdk, up to 4.7, has prometheus_client keep statistics of
    # each address, and a command asks for thousands. Nobody reads them.
    client._client._prometheus_counter = None
    client._client._prometheus_histogram = None
    return Client(client)
