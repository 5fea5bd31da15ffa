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

"""Say why something cannot be asked, without what is secret."""
from keystoneauth1 import exceptions as ks_exc
from openstack import exceptions as sdk_exc
from oslo_config import cfg
from oslo_db import exception as db_exc
from sqlalchemy import exc as sql_exc

from nova import context as nova_context
from nova import exception
from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import nova_conf
from nova_mem_encryption.nova.mem_encryption import shown

# What keystoneauth, the SDK, Nova and its database say if they cannot ask
ERRORS = (ks_exc.ClientException, sdk_exc.SDKException,
          exception.NovaException, db_exc.DBError, db_exc.CantStartEngineError,
          cfg.Error, sql_exc.ArgumentError, ImportError, ValueError)


def explain(error):
    """Say why something cannot be asked.

    :param error: one of ERRORS, or another of a cell
    :returns: the reason, without a full stop
    """
    if isinstance(error, cfg.Error):
        return nova_conf.explain(error).rstrip('.')
    # NOTE: those of SQLAlchemy have the URL in them, with its password, and
    # those of int() a part of it, where it is taken for a port.
    if isinstance(error, sql_exc.ArgumentError) or (
            isinstance(error, ValueError) and
            not isinstance(error, exception.NovaException)):
        return _('the connection of a database, in [database], '
                 '[api_database] or of a cell, is no URL, or one of an '
                 'unknown kind')
    return shown.hide_passwords(str(error).rstrip('.'))


def explain_cell(cell, result):
    """Say why a cell has no result.

    :param str cell: its UUID
    :param result: what scatter_gather has of it
    """
    if result is nova_context.did_not_respond_sentinel:
        return _('cell %(cell)s has not answered in %(seconds)d seconds') % {
            'cell': cell, 'seconds': nova_context.CELL_TIMEOUT}
    return _('cell %(cell)s does not answer: %(reason)s') % {
        'cell': cell, 'reason': explain(result)}


def read_json(response, url):
    """Return what a service answers.

    :raises nova.exception.NovaException: if it is no JSON, as of a proxy
    """
    try:
        return response.json()
    except ValueError as e:
        raise exception.NovaException(_(
            '%s is answered with what is no JSON, maybe by a proxy') % url
        ) from e
