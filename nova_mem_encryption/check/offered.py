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

"""Tell which models a host is to offer."""
import typing as ty

from nova_mem_encryption.check import hosts
from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models


def is_enabled(host: hosts.Host, model: model_row.Model) -> bool:
    """Tell whether a host is to offer a model.

    :returns: False, too, where nobody can tell what nova.conf says
    """
    if model.option is None:
        return True
    try:
        conf = host.ask_json('nova-conf')
    except hosts.Unanswered:
        return False
    return conf.get('libvirt.' + model.option, False)


def find_excluding(host: hosts.Host, model: model_row.Model
                   ) -> ty.Optional[model_row.Model]:
    """Return what a host is to offer that excludes a model, if anything."""
    return next((other for other in get_added(host)
                 if other.option is not None and
                 {*other.parameters_on} & {*model.parameters_off}), None)


def get_added(host: hosts.Host) -> ty.List[model_row.Model]:
    """Return the added models that a host is to offer."""
    return [model for model in models.get_added() if is_enabled(host, model)]
