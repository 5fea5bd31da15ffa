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

"""Test the alerting rules by promtool, and its tests by changed rules."""
import json
import os
import re
import shutil
import subprocess

import fixtures
import testtools
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
ALERTS = os.path.join(TREE, 'etc', 'monitoring', 'alerts.yml')
TESTS = os.path.join(HERE, 'alerts_test.yml')
# What may be written by mistake for what
WORDS = {
    '<': ['<=', '>'], '>': ['>=', '<'], '==': ['!='], ' and ': [' or '],
    'max by': ['min by'], 'sum by': ['max by'], '(.*/)?': ['', '.*'],
    'host, model': ['host', 'model'], 'host, problem': ['host', 'problem'],
    'by (host)': ['by (problem)'], ' * ': [' + '], ' - ': [' + '],
    '(slots|servers)': ['slots', 'servers'], 'less|untold': ['less', 'untold'],
    'problem="less"': ['problem="more"'], ' unless ': [' and ', ' or '],
    'problem="untold"': ['problem="less"'], 'on (host)': ['on ()'],
    'absent(': ['('],
}
METRIC = re.compile(r'nova_mem_encryption_\w+(?!\w|\(|[.])')


def read():
    with open(ALERTS, encoding='utf-8') as f:
        return yaml.safe_load(f)


def promtool(*words, cwd=None):
    """Run promtool; return its exit status and all that it printed."""
    done = subprocess.run(
        ['promtool', *words], cwd=cwd, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def change(expression):
    """Yield an expression with one mistake in it, each that there can be."""
    for word, others in WORDS.items():
        for found in re.finditer(r'(?<![<>=!])%s(?![=~])' % re.escape(word),
                                 expression):
            for other in others:
                yield (expression[:found.start()] + other +
                       expression[found.end():])
    for found in re.finditer(r'(?<![\w.])\d+(\.\d+)?(?![\w.])', expression):
        step = 0.01 if found.group(1) else 1
        for number in (float(found.group()) - step,
                       float(found.group()) + step):
            yield (expression[:found.start()] + '%g' % number +
                   expression[found.end():])
    names = sorted({name for rule in get_rules(read())
                    for name in METRIC.findall(rule['expr'])})
    for found in METRIC.finditer(expression):
        for name in names:
            if name != found.group():
                yield (expression[:found.start()] + name +
                       expression[found.end():])


def get_rules(alerts):
    return [rule for group in alerts['groups'] for rule in group['rules']]


def get_mutants():
    """Yield what is changed, and the rule as it is then."""
    for rule in get_rules(read()):
        changes = [{'expr': text} for text in change(rule['expr'])]
        minutes = int(rule.get('for', '0m')[:-1])
        changes += [{'for': '%dm' % (minutes + more)} for more in (-1, 1)
                    if minutes + more >= 0]
        changes += [{'labels': {'severity': 'info'}}]
        for one in changes:
            yield '%s: %s' % (rule['alert'], one), {**rule, **one}


class AlertsTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        shutil.copy(TESTS, self.folder)

    def test_rules(self):
        """promtool finds nothing, and its tests pass"""
        shutil.copy(ALERTS, self.folder)
        code, said = promtool('check', 'rules', 'alerts.yml', cwd=self.folder)
        self.assertEqual(0, code, said)
        self.assertIn('SUCCESS: %d rules found' % len(get_rules(read())),
                      said)
        code, said = promtool('test', 'rules', os.path.basename(TESTS),
                              cwd=self.folder)
        self.assertEqual(0, code, said)

    def test_what_is_changed_is_found(self):
        """Each mistake in a rule has a test of promtool fail"""
        names = {}
        with open(TESTS, encoding='utf-8') as f:
            # All as text, or 0x60 would be a number.
            tests = yaml.load(f, yaml.BaseLoader)
        for number, (what, rule) in enumerate(get_mutants()):
            names['%d_test.yml' % number] = what
            self.write('%d.yml' % number, {
                'groups': [{'name': 'mutant', 'rules': [rule]}]})
            # The tests of this rule are to find it.
            self.write('%d_test.yml' % number, {
                **tests, 'rule_files': ['%d.yml' % number], 'tests': [
                    {**test, 'alert_rule_test': checks}
                    for test in tests['tests'] for checks in [[
                        check for check in test['alert_rule_test']
                        if check['alertname'] == rule['alert']]] if checks]})
        # All in one process, as each takes longer to start than to test.
        said = promtool('test', 'rules', *names, cwd=self.folder)[1]
        found = dict(re.findall(r'Unit Testing:  (\S+)\s+(FAILED|SUCCESS)',
                                said))
        self.assertEqual({*names}, {*found}, said[-1000:])
        self.assertEqual([], [names[name] for name, outcome in found.items()
                              if outcome == 'SUCCESS'])
        self.assertGreater(len(names), 100)

    def write(self, name, content):
        with open(os.path.join(self.folder, name), 'w') as f:
            # NOTE: as JSON, which is YAML, it is read and written fast.
            json.dump(content, f)

    def test_each_rule_is_tested(self):
        with open(TESTS, encoding='utf-8') as f:
            tested = {each['alertname'] for test in yaml.safe_load(f)['tests']
                      for each in test['alert_rule_test']
                      if each['exp_alerts']}
        self.assertEqual({rule['alert'] for rule in get_rules(read())},
                         tested)

    def test_each_rule_says_what_it_is_and_what_to_do(self):
        for rule in get_rules(read()):
            self.assertEqual({'summary', 'description'},
                             {*rule['annotations']})
            self.assertIn(rule['labels']['severity'], ('warning', 'critical'))
