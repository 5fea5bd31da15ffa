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

"""Have functions run within a context that is made of what they get."""
import functools


def within(context):
    """Return a decorator that has a function run within a context.

    :param context: called with what the function is called with, returns a
        context manager
    """
    def decorate(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            with context(*args, **kwargs):
                return function(*args, **kwargs)

        return call

    return decorate
