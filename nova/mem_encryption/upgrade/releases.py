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

"""Tell which releases of Nova, that an upgrade comes to, lack a model."""
from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption.upgrade import findings


def find_lacking(model):
    """Return the releases between this one and the first that has a model.

    :param model.Model model: the model
    :returns: major versions, in order; none if the next release has it
    """
    return range(model_row.NEXT, model.nova)


def judge(name, model, remedy):
    """Yield that Nova fails on a model after an upgrade.

    :param str name: of what asks for the model
    :param model.Model model: the model
    :param str remedy: what to do before
    """
    lacking = find_lacking(model)
    if lacking:
        yield findings.Finding(
            findings.WARNING, name,
            _('asks for %(model)s, which Nova %(lacking)s refuse, and Nova '
              '%(first)d has.') % {
                  'model': model.value, 'first': model.nova,
                  'lacking': _(' and ').join(map(str, lacking))},
            _('Before an upgrade to Nova %(lacking)s: %(remedy)s') % {
                'lacking': _(' or ').join(map(str, lacking)),
                'remedy': remedy})
