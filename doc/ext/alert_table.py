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

"""Make the table of alerts, from the rules themselves.

The directive is ``.. alerts:: rules``.
"""
import os
import re

import yaml

import model_tables

ALERTS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))), 'etc', 'monitoring', 'alerts.yml')


def get_alerts():
    """Return its rows: each alert, when it comes and what it says."""
    with open(ALERTS, encoding='utf-8') as f:
        groups = yaml.safe_load(f)['groups']
    return [['alert', 'severity', 'after', 'says']] + [
        ['``%s``' % rule['alert'], rule['labels']['severity'],
         rule.get('for', '0m').replace('m', ' min'),
         re.sub(r'{{ \$labels\.(\w+) }}', r'*\1*',
                rule['annotations']['summary'])]
        for group in groups for rule in group['rules']]


class Alerts(model_tables.Models):
    """Put the table into the page."""

    tables = {'rules': get_alerts}


def setup(app):
    """Tell Sphinx of the directive."""
    app.add_directive('alerts', Alerts)
    return {'parallel_read_safe': True}
