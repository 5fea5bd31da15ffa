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

"""What the checks of a model are called."""
from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models

PROCESSOR, SPLIT, KERNEL, FIRMWARE = 'processor', 'split', 'kernel', 'firmware'
PSP = 'psp'
# NOTE: those that a host has to be told to offer are checked by opt_in.
ADDED = models.get_default()
MODELS = [models.NATIVE, *ADDED]


def processor(model: model_row.Model) -> str:
    """Return the name of the check whether the processor has it."""
    return model.value.partition('-')[2]


def parameter(name: str) -> str:
    """Return the name of the check whether a parameter is on."""
    return 'kvm_amd.' + name


def parameter_off(name: str) -> str:
    """Return the name of the check whether a parameter is off."""
    taken = any(name in model.parameters_on
                for model in MODELS)
    return parameter(name) + ' off' * taken


def kernel(model: model_row.Model) -> str:
    """Return the name of the check whether the kernel has it."""
    return parameter(model.parameters_on[0])


def of(what: str, model: model_row.Model) -> str:
    """Return the name of a check that is of one model."""
    return '%s.%s' % (what, processor(model))


def psp(model: model_row.Model) -> str:
    """Return the name of the check whether the secure processor has it."""
    return of(PSP, model)


def provider(model: model_row.Model) -> str:
    """Return the name of the check of its provider."""
    return model.suffix


def enumerate_words(words) -> str:
    """Return words as a sentence has them: one, two and three."""
    *most, last = map(str, words)
    return ' and '.join(filter(None, [', '.join(most), last]))
