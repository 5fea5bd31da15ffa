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

"""Test the dashboard by Grafana's own schema of dashboards.

It is that of grafana-foundation-sdk, which Grafana Labs generate from the
schema that Grafana itself is built with: what it does not know is lost on the
way through its classes, and what it says of types is compared with what is
there.
"""
import enum
import json
import re
import typing as ty

import testtools

from test_live import DASHBOARD

try:
    from grafana_foundation_sdk.cog import encoder
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.models import dashboard as schema
except ImportError:
    schema = None


def find_lost(given, kept, path=''):
    """Yield the paths of what is given and not kept."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                yield '%s/%s' % (path, key)
            else:
                yield from find_lost(value, kept[key], '%s/%s' % (path, key))
    elif isinstance(given, list) and isinstance(kept, list) and len(
            given) == len(kept):
        for number, pair in enumerate(zip(given, kept)):
            yield from find_lost(*pair, '%s/%d' % (path, number))
    elif given != kept:
        yield '%s: %r became %r' % (path, given, kept)


def is_of(value, hint):
    """Tell whether a value is of a type."""
    origin, parts = ty.get_origin(hint), ty.get_args(hint)
    if hint in (ty.Any, object) or isinstance(hint, ty.TypeVar):
        return True
    if origin is ty.Union:
        return any(is_of(value, part) for part in parts)
    if origin is ty.Literal:
        return value in parts
    if origin is list:
        return isinstance(value, list) and all(
            is_of(each, parts[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            is_of(each, parts[1]) for each in value.values())
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [*hint] + [each.value for each in hint]
    if isinstance(value, dict) and hasattr(hint, 'from_json'):
        # They leave it as it is.
        return not [*find_lost(value, json.loads(
            encoder.JSONEncoder().encode(hint.from_json(value))))]
    if hint is float:
        return isinstance(value, (int, float)) and value is not True
    return isinstance(value, hint)


def find_wrong(thing, path=''):
    """Yield the paths of attributes that are not what their class says."""
    if isinstance(thing, (list, tuple)):
        for number, each in enumerate(thing):
            yield from find_wrong(each, '%s/%d' % (path, number))
    elif isinstance(thing, dict):
        for key, each in thing.items():
            yield from find_wrong(each, '%s/%s' % (path, key))
    elif type(thing).__module__.startswith('grafana_foundation_sdk.models'):
        if isinstance(thing, enum.Enum):
            return
        for name, hint in ty.get_type_hints(type(thing)).items():
            value = getattr(thing, name)
            if not is_of(value, hint):
                yield '%s/%s: %r' % (path, name, value)
            yield from find_wrong(value, '%s/%s' % (path, name))


@testtools.skipIf(schema is None, 'grafana-foundation-sdk, which needs Python '
                                  '3.11, is not installed')
class DashboardTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        plugins.register_default_plugins()
        with open(DASHBOARD, encoding='utf-8') as f:
            self.text = f.read()

    def check(self, text):
        """Return what is wrong with a dashboard."""
        given = json.loads(text)
        read = schema.Dashboard.from_json(given)
        kept = json.loads(encoder.JSONEncoder().encode(read))
        return [*find_lost(given, kept), *find_wrong(read)]

    def test_it_is_what_grafana_knows(self):
        self.assertEqual([], self.check(self.text))

    def test_what_grafana_does_not_know_is_found(self):
        for old, new in (('"colorMode"', '"colourMode"'),
                         ('"gridPos"', '"gridPosition"'),
                         ('"drawStyle"', '"style"'),
                         ('"includeAll"', '"all"'),
                         ('"transformations"', '"transforms"'),
                         ('"id": "merge"', '"name": "merge"'),
                         ('"graphMode": "none"', '"graphMode": "nothing"'),
                         ('"refId": "A"', '"refId": 1'),
                         ('"schemaVersion": 36', '"schemaVersion": "36"')):
            self.assertIn(old, self.text)
            self.assertNotEqual([], self.check(self.text.replace(old, new)),
                                new)

    def test_each_menu_and_panel_is_there_once(self):
        dashboard = json.loads(self.text)
        for names in ([panel['id'] for panel in dashboard['panels']],
                      [panel['title'] for panel in dashboard['panels']],
                      [each['name'] for each in dashboard['templating'][
                          'list']]):
            self.assertEqual(sorted({*names}), sorted(names))

    def test_each_variable_is_a_menu(self):
        menus = {each['name'] for each in json.loads(self.text)['templating'][
            'list']}
        self.assertEqual(menus, {*re.findall(r'\$\{?(\w+)', re.sub(
            r'\$__\w+', '', self.text))})

    def test_no_panel_covers_another(self):
        seen = set()
        for panel in json.loads(self.text)['panels']:
            place = panel['gridPos']
            self.assertLessEqual(place['x'] + place['w'], 24)
            for x in range(place['x'], place['x'] + place['w']):
                for y in range(place['y'], place['y'] + place['h']):
                    self.assertNotIn((x, y), seen, panel['title'])
                    seen.add((x, y))
