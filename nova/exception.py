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

"""Say why a server cannot have the memory encryption that it asked for."""
from nova import exception
from nova.i18n import _

from nova_mem_encryption import overlay


@overlay.add(exception)
class MemEncryptionUnavailable(exception.NovaException):
    """The guest was not started, as it would be less than was asked for."""

    msg_fmt = _("Memory encryption model %(model)s was requested, and the "
                "server was not started because this host cannot give it: "
                "%(reason)s")


@overlay.add(exception)
class MemEncryptionInvalid(exception.InvalidInput):
    """The server cannot be started on any host, so none else is tried.

    A build that fails with InvalidInput is given up; one that fails with
    what is only of this host goes on elsewhere.
    """

    msg_fmt = _("No host can start this server with memory encryption: "
                "%(reason)s")


@overlay.add(exception)
class MemEncryptionMismatch(exception.InvalidInput):
    """The guest does not run, as it is not what the server asks for.

    Less is a breach, and more takes an ASID that nobody gave it. Whatever
    host that is, the guest would be the same there, so none else is tried.
    """

    msg_fmt = _("Not started, or not left running, as the guest is not what "
                "was asked for: %(reason)s")
