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

"""Test alerts and dashboard on a real Prometheus and a real node exporter."""
import json
import os
import re
import socket
import subprocess
import sys
import time
from urllib import parse
from urllib import request

import fixtures
import testtools
import yaml

import test_alerts

HERE = os.path.dirname(os.path.abspath(__file__))
DASHBOARD = os.path.join(test_alerts.TREE, 'etc', 'monitoring',
                         'dashboard.json')
PAGE = os.path.join(test_alerts.TREE, 'doc', 'source', 'monitoring.rst')
START_SECONDS = 60
# As openstack-exporter names it; made up, of two hosts and another resource
OPENSTACK = ''.join(
    'openstack_placement_resource_%s{hostname="%s",resourcetype="%s"} %d\n' % (
        what, hostname, resource, number)
    for hostname, resource, *numbers in (
        ('compute1_amd_sev', 'MEM_ENCRYPTION_CONTEXT', 100, 1, 2),
        ('compute1_amd_sev_es', 'MEM_ENCRYPTION_CONTEXT', 9, 3, 1),
        ('compute2_amd_sev_es', 'MEM_ENCRYPTION_CONTEXT', 4, 0, 4),
        ('compute1', 'VCPU', 64, 0, 5))
    for what, number in zip(('total', 'reserved', 'usage'), numbers))
CONFIGURATION = '''\
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
- job_name: node
  static_configs: [{targets: ['127.0.0.1:%d']}]
'''
# Made in a minute, whatever waits longer is pending
EXPECTED = {
    ('NovaMemEncryptionNoSlots', 'amd-sev'),
    ('NovaMemEncryptionFewSlots', 'amd-sev'),
    ('NovaMemEncryptionFewSlots', 'amd-sev-es'),
    ('NovaMemEncryptionForeignGuests', 'compute1'),
    ('NovaMemEncryptionLess', 'compute1'),
    ('NovaMemEncryptionDiffering', 'compute1'),
    ('NovaMemEncryptionUntold', 'compute1'),
    ('NovaMemEncryptionHostWithoutSeries', 'compute2'),
    ('NovaMemEncryptionMetricsStale', 'nova_mem_encryption_servers.prom'),
}


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as server:
        return server.getsockname()[1]


def get_expressions(dashboard):
    """Yield the queries of a dashboard, with all chosen in its menus."""
    for panel in dashboard['panels']:
        for target in panel['targets']:
            yield re.sub(r'\$\w+', '.*', target['expr'])


class LiveTest(testtools.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = fixtures.TempDir()
        folder.setUp()
        cls.addClassCleanup(folder.cleanUp)
        cls.folder = folder.path
        cls.metrics = {name: subprocess.run(
            [sys.executable, '-W', 'ignore', os.path.join(HERE, 'sample.py'),
             name], check=True, text=True, stdout=subprocess.PIPE).stdout
            for name in ('slots', 'servers')}
        textfiles = os.path.join(cls.folder, 'textfiles')
        os.mkdir(textfiles)
        for name, text in {'openstack': OPENSTACK, **cls.metrics}.items():
            path = os.path.join(textfiles,
                                'nova_mem_encryption_%s.prom' % name)
            with open(path, 'w') as f:
                f.write(text)
        os.utime(path, (0, time.time() - 1000))  # of the servers
        exporter, cls.port = free_port(), free_port()
        configuration = os.path.join(cls.folder, 'prometheus.yml')
        with open(configuration, 'w') as f:
            f.write(CONFIGURATION % (test_alerts.ALERTS, exporter))
        for command in (
                ['prometheus-node-exporter', '--collector.disable-defaults',
                 '--collector.textfile', '--collector.textfile.directory',
                 textfiles, '--web.listen-address=127.0.0.1:%d' % exporter],
                ['prometheus', '--config.file', configuration,
                 '--storage.tsdb.path', os.path.join(cls.folder, 'data'),
                 '--web.listen-address=127.0.0.1:%d' % cls.port]):
            log = open(os.path.join(cls.folder, command[0] + '.log'), 'w')
            cls.addClassCleanup(log.close)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)
            cls.addClassCleanup(process.wait)
            cls.addClassCleanup(process.kill)

    @classmethod
    def ask(cls, path, **query):
        opener = request.build_opener(request.ProxyHandler({}))
        with opener.open('http://127.0.0.1:%d/api/v1/%s?%s' % (
                cls.port, path, parse.urlencode(query))) as answer:
            return json.load(answer)['data']

    def wait(self, ready):
        """Wait until something is so; return what it is then."""
        end, found = time.monotonic() + START_SECONDS, None
        while time.monotonic() < end:
            try:
                found = ready()
                if found:
                    return found
            except OSError:
                pass  # it does not listen yet
            time.sleep(0.2)
        self.fail('not in %d s; logs:\n%s' % (START_SECONDS, '\n'.join(
            open(os.path.join(self.folder, name)).read()[-2000:]
            for name in os.listdir(self.folder) if name.endswith('.log'))))

    def setUp(self):
        super().setUp()
        for metric in ('nova_mem_encryption_host_tells',
                       'nova_mem_encryption_slots'):
            self.wait(lambda metric=metric: self.ask(
                'query', query=metric)['result'])

    def test_metrics(self):
        """promtool has nothing to say of what the commands print"""
        for text in self.metrics.values():
            done = subprocess.run(['promtool', 'check', 'metrics'], text=True,
                                  input=text, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            self.assertEqual((0, ''), (done.returncode, done.stdout))

    def test_rules_find_what_is_wrong_and_nothing_else(self):
        def find():
            return {(labels['alertname'], os.path.basename(next(
                (labels[name] for name in ('host', 'model', 'file')
                 if name in labels), '')))
                for labels in [alert['labels'] for alert in
                               self.ask('alerts')['alerts']]}
        # What was pending before all was read, the next evaluation takes away.
        absent = ('NovaMemEncryptionMetricsAbsent', '')
        self.wait(lambda: len(find()) >= len(EXPECTED) and
                  absent not in find())
        self.assertEqual(EXPECTED, find())

    def test_all_metrics_that_the_rules_name_are_there(self):
        with open(test_alerts.ALERTS, encoding='utf-8') as f:
            names = {name for rule in test_alerts.get_rules(yaml.safe_load(f))
                     for name in test_alerts.METRIC.findall(rule['expr'])}
        with open(DASHBOARD, encoding='utf-8') as f:
            names |= {name for expression in get_expressions(json.load(f))
                      for name in test_alerts.METRIC.findall(expression)}
        self.assertGreater(len(names), 5)
        self.assertEqual([], [
            name for name in sorted(names)
            if not self.ask('query', query=name)['result']])

    def test_dashboard_shows_something_in_each_panel(self):
        with open(DASHBOARD, encoding='utf-8') as f:
            expressions = [*get_expressions(json.load(f))]
        self.assertGreater(len(expressions), 8)
        for expression in expressions:
            self.assertNotIn('$', expression)
            self.assertNotEqual([], self.ask('query', query=expression)[
                'result'], expression)

    def test_query_for_openstack_exporter_tells_free_slots_of_sev_es(self):
        with open(PAGE, encoding='utf-8') as f:
            query, = re.findall(r'^    (sum .*?)^\S', f.read(), re.M | re.S)
        found = self.ask('query', query=query)['result']
        self.assertEqual(
            {'compute1_amd_sev_es': '5', 'compute2_amd_sev_es': '0'},
            {row['metric']['hostname']: row['value'][1] for row in found})
