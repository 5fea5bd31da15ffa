#!/usr/bin/env python3
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

"""Run a cloud of real processes on one machine, on imitated SEV-ES hosts.

See README.rst beside this file.
"""
import argparse
import functools
import importlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings

try:
    acceptance = importlib.import_module('acceptance')
    report = importlib.import_module('report')
    environments = importlib.import_module('environments')
    maintenance_scenario = importlib.import_module('maintenance')
    mixed_day_scenario = importlib.import_module('mixed_day')
    mixed_novas_scenario = importlib.import_module('mixed_novas')
    patched_scenario = importlib.import_module('patched_cloud')
    roll_out_scenario = importlib.import_module('roll_out')
    scenario = importlib.import_module('scenario')
    services = importlib.import_module('services')
    there_scenario = importlib.import_module('there_and_back')
    upgrade_scenario = importlib.import_module('upgrade')
except ModuleNotFoundError as error:
    print("cloud.py: %s: use 'tools/tox -e cloud'" % error, file=sys.stderr)
    sys.exit(2)

PREFIX = 'nova-mem-encryption-cloud-'
TAIL = 15  # lines of a log
# A line that tells of one, but for those of its traceback
ERROR = re.compile(r' (ERROR|CRITICAL) \S+ \[')
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KEPT = ('etc', 'log', 'hosts')  # of the folder, where something failed
# What a command that is run in the cloud has of the environment outside
TERMINAL = ('TERM', 'COLUMNS', 'LINES')


class Interrupted(BaseException):
    """A signal asks to end; its number is the argument."""


class Run:
    """A scenario, from start to stop, and the report of it."""

    def __init__(self, args, folder, steps):
        self.args, self.folder = args, folder
        self.progress = report.Progress(args.verbose)
        self.cloud = services.Cloud(folder, args.light)
        self.scenario = steps(self.cloud, self.progress.tell)
        self.steps, self.failure, self.interrupted = [], None, None
        self.ended = {}

    def run(self):
        """Take all steps, and stop whatever happens.

        :returns: exit status
        """
        status = self.args.status
        self.say('nova-mem-encryption %s on Nova %s, %s, in %s' % (
            status['version'], status['nova'], status['state'], self.folder))
        if self.scenario.title:
            self.say(self.scenario.title)
        steps = self.scenario.STEPS
        try:
            for number, method in enumerate(steps, 1):
                self.take(number, method.__doc__,
                          functools.partial(method, self.scenario))
                if self.failure:
                    break
        except Interrupted as e:
            self.interrupted = e.args[0]
        finally:
            _ignore_signals()  # stopping is not to be interrupted
            self.take(len(steps) + 1, 'Everything stops', self.stop)
        if self.interrupted is None:
            # NOTE: what is started in the next cloud would ignore them, too,
            # and be waited for without end.
            _heed_signals()
        return self.end()

    def say(self, text):
        if not self.args.json:
            print(text, flush=True)

    def take(self, number, title, function):
        step, begun = report.Step(title), time.monotonic()
        self.progress.heading = heading = '%d/%d  ' % (
            number, len(self.scenario.STEPS) + 1)
        try:
            self.progress.tell(title)
            function(step)
        except Exception as e:
            step.check('%s: %s' % (type(e).__name__, e), False)
            self.failure = e
            self.ended = self.cloud.get_ended()
            for what in self.ended:
                step.check(what, False)
        finally:
            step.seconds = round(time.monotonic() - begun, 1)
            self.steps.append(step)
            self.progress.clear()
            self.say(step.as_text(heading))

    def stop(self, step):
        left = services.stop(self.folder)
        step.fact('left', '; '.join(left) or 'nothing')
        step.check('no process or host is left', not left)

    def end(self):
        """Print what remains to be said.

        :returns: exit status
        """
        failed = [name for step in self.steps
                  for name, ok in step.checks.items() if not ok]
        good = not failed and self.interrupted is None
        facts = {
            'real': self.scenario.real[self.args.light],
            'imitated': self.scenario.imitated[self.args.light],
            'took': '%.0f s, and %d MB with %d processes' % (
                time.monotonic() - self.progress.begun,
                *self.scenario.memory)}
        if self.args.keep or not good:
            facts['kept'] = self.folder
            if not self.args.keep:
                _keep_logs(self.folder)
        else:
            shutil.rmtree(self.folder)
        if self.args.json:
            print(json.dumps({
                'version': self.args.status['version'],
                'nova': self.args.status['nova'],
                'state': self.args.status['state'], 'light': self.args.light,
                'ok': good, 'steps': [vars(step) for step in self.steps],
                **facts}, indent=2))
        self.say('\n' + '\n'.join(
            report.as_text(*fact) for fact in facts.items()))
        if failed:
            self.say(_get_log_lines(
                self.folder, [getattr(self.failure, 'log', None),
                              *self.ended.values()]))
        if self.scenario.totals:
            self.say('\n' + self.scenario.totals)
        self.say('\n' + (
            'FAILED: ' + '; '.join(failed) if failed else
            'All as expected.' if good else 'Interrupted.'))
        return int(not good) if self.interrupted is None else (
            128 + self.interrupted)


def run(args):
    """Start the cloud, upgrade a host of it, stop it, and report."""
    if args.patched and not environments.is_patched():
        environments.make_patched()
        environments.become_patched()
    return Run(args, _make_folder(args), patched_scenario.Patched
               if environments.is_patched() else args.steps).run()


def upgrade(args):
    """Start the cloud, upgrade all of it to Nova 32, stop it, and report."""
    upgrade_scenario.prepare()
    if args.patched:
        environments.make_patched()
    return Run(args, _make_folder(args), there_scenario.ThereAndBack
               if args.patched else upgrade_scenario.Upgrade).run()


def mixed_day(args):
    """Start a cloud with a host for SEV-SNP, use all models, and report."""
    return Run(args, _make_folder(args), mixed_day_scenario.MixedDay).run()


def mixed_novas(args):
    """Start a cloud of a patched, an overlaid and a plain Nova, and report."""
    environments.make_patched()
    return Run(args, _make_folder(args),
               mixed_novas_scenario.MixedNovas).run()


def roll_out(args):
    """Start the cloud without the series, and have Ansible bring it."""
    return Run(args, _make_folder(args), roll_out_scenario.RollOut).run()


def maintenance(args):
    """Do what the page on maintenance says, in a cloud, and report."""
    return Run(args, _make_folder(args),
               maintenance_scenario.Maintenance).run()


def tempest(args):
    """Run OpenStack's acceptance suite, Tempest, on servers of each model."""
    if sys.version_info < acceptance.PYTHON:
        print('Skipped: Tempest %s needs Python %d.%d.' % (
            acceptance.VERSION, *acceptance.PYTHON))
        return 1 if 'CI' in os.environ else 0
    pattern = args.pattern or (None if args.all else acceptance.SELECTION)
    statuses = []
    for value in args.model or acceptance.MODELS:
        statuses.append(Run(args, _make_folder(args), functools.partial(
            acceptance.Acceptance, row=acceptance.models.MODELS.get(value),
            pattern=pattern, concurrency=args.concurrency)).run())
        if statuses[-1] > 1:  # interrupted
            break
    return max(statuses)


def up(args):
    """Start the cloud, all hosts with the series, and leave it running."""
    folder = _make_folder(args)
    progress = report.Progress(args.verbose)
    cloud = services.Cloud(folder, args.light)
    try:
        scenario.start(cloud, progress.tell)
    except (Exception, Interrupted) as e:
        _ignore_signals()
        progress.clear()
        print(_get_log_lines(folder, [
            getattr(e, 'log', None), *cloud.get_ended().values()]),
            file=sys.stderr)
        left = services.stop(folder)
        _keep_logs(folder)
        return _complain('%s: %s\nStopped; left: %s; logs in %s' % (
            type(e).__name__, e, '; '.join(left) or 'nothing', folder), 1)
    progress.clear()
    me = '%s %s' % (sys.executable, sys.argv[0])
    print('The cloud runs in %s. To use it:\n\n    eval $(%s env %s)\n\n'
          'To run what operators do on one of %s:\n\n'
          '    %s exec %s NODE COMMAND...\n\n'
          'To stop it:\n\n    %s down %s' % (
              folder, me, folder, ', '.join(services.get_nodes(folder)),
              me, folder, me, folder))
    return 0


def down(args):
    """Stop a cloud that up has left running, and remove its folder."""
    folder = os.path.realpath(args.dir)
    if not _is_cloud(folder):
        return _complain('there is no cloud in %s' % folder)
    left = services.stop(folder)
    if left:
        return _complain('left of %s: %s' % (folder, '; '.join(left)), 1)
    if not args.keep:
        shutil.rmtree(folder)
    return 0


SCENARIOS = (run, upgrade, mixed_day, mixed_novas, roll_out, maintenance,
             tempest)
# What --patched has them do
PATCHED = {run: "have a patched Nova, with the package beside it",
           upgrade: 'before it, take the hosts to a patched Nova, and one of '
                    'them back'}


def exec_(args):
    """Run a command on a node, where it finds its configuration."""
    folder = os.path.realpath(args.dir)
    if not _is_cloud(folder):
        return _complain('there is no cloud in %s' % folder)
    node, words, nodes = services.CONTROLLER, args.words, services.get_nodes(
        folder)
    if words[:1] and words[0] in nodes:
        node, *words = words
    way, environ = services.enter(folder, node)
    if not words:
        return _complain('say what to run on %s' % node)
    if shutil.which(words[0], path=environ['PATH']) is None:
        return _complain('%s is neither a command nor a node; these are: %s' %
                         (words[0], ', '.join(nodes)))
    environ.update((name, os.environ[name]) for name in TERMINAL
                   if name in os.environ)
    words = [*way, *words]
    os.execvpe(words[0], words, environ)


def env(args):
    """Print the environment for the openstack command, and for this one."""
    print('export OS_CLIENT_CONFIG_FILE=%s OS_CLOUD=cloud PATH=%s:%s:$PATH '
          'no_proxy=127.0.0.1' % (
              os.path.join(os.path.realpath(args.dir), 'etc', 'clouds.yaml'),
              services.BIN, services.HERE))
    return 0


# -- the folder and the logs -------------------------------------------------

def _is_cloud(folder):
    return os.path.exists(os.path.join(folder, 'etc', 'clouds.yaml'))


def _make_folder(args):
    if args.dir is None:
        return os.path.realpath(tempfile.mkdtemp(prefix=PREFIX))
    os.makedirs(args.dir, 0o700)
    return os.path.realpath(args.dir)


def _keep_logs(folder):
    """Remove all of a folder but the logs and the configuration."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False) and entry.name not in KEPT:
            shutil.rmtree(entry.path, ignore_errors=True)


def _get_log_lines(folder, paths):
    """Return how logs end that tell why, else the errors in all of them."""
    chosen = sorted({path for path in paths if path})
    logs = os.path.join(folder, 'log')
    text = []
    for path in chosen or sorted(
            entry.path for entry in os.scandir(logs) if entry.is_file()):
        with open(path, encoding='utf-8', errors='replace') as f:
            lines = [line[:300].rstrip() for line in f
                     if chosen or ERROR.search(line)]
        if lines:
            text += ['', path, *lines[-TAIL:]]
    return '\n'.join(text)


# -- the command line --------------------------------------------------------

def _complain(message, code=2):
    print('cloud.py: %s' % message, file=sys.stderr)
    return code


def _interrupt(number, frame):
    _ignore_signals()
    services.GIVE_UP.set()
    raise Interrupted(number)


def _heed_signals():
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def _ignore_signals():
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _get_status():
    """Return what nova-mem-encryption status says, as a dict."""
    return json.loads(subprocess.run(
        [os.path.join(services.BIN, 'nova-mem-encryption'), 'status',
         '--json'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL).stdout)


def _check(args):
    """Yield why the cloud cannot be started, a line each."""
    lacks = list(services.get_missing(args.light))
    yield from lacks
    if not lacks:
        args.status = _get_status()
        wanted = 'patched' if environments.is_patched() else 'applied'
        if args.status['state'] != wanted or not args.status['armed']:
            yield "the series is not %s: see '%s status'" % (
                wanted, os.path.join(services.BIN, 'nova-mem-encryption'))
    if args.function is tempest:
        yield from acceptance.get_missing()
        if args.dir is not None and len(args.model or acceptance.MODELS) > 1:
            yield '--dir is for one cloud: choose its --model'
    if args.dir is not None and os.path.exists(args.dir):
        yield '%s exists' % args.dir
    folder = os.path.realpath(args.dir or os.path.join(
        tempfile.gettempdir(), PREFIX + 8 * 'x'))
    if len(folder) > services.LONGEST_FOLDER:
        yield 'the path %s is too long; give a shorter one with --dir' % folder


def _pattern(text):
    try:
        re.compile(text)
    except re.error as e:
        raise argparse.ArgumentTypeError('%s: %s' % (text, e)) from e
    return text


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest='command', required=True)
    for function in (*SCENARIOS, up, exec_, down, env):
        command = commands.add_parser(
            function.__name__.strip('_').replace('_', '-'),
            help=function.__doc__, description=function.__doc__)
        command.set_defaults(function=function)
        if function in (*SCENARIOS, up):
            command.add_argument(
                '--dir', help='a folder to be made for it (default: a '
                'temporary one)')
            command.add_argument(
                '--light', action='store_true', help='SQLite and a folder '
                'in place of MariaDB and RabbitMQ')
            command.add_argument(
                '--verbose', action='store_true', help='say what is done, '
                'line by line')
        else:
            command.add_argument('dir', metavar='DIR',
                                 help='the folder of the cloud')
        if function is exec_:
            command.usage = '%(prog)s [-h] DIR [NODE] COMMAND...'
            command.add_argument(
                'words', nargs=argparse.REMAINDER,
                metavar='[NODE] COMMAND...', help='a host, or %s, which is '
                'the default; and what to run there. The exit status is that '
                'of the command' % services.CONTROLLER)
        if function in (*SCENARIOS, down):
            command.add_argument(
                '--keep', action='store_true', help='keep the folder')
        if function in PATCHED:
            command.add_argument(
                '--patched', action='store_true', help=PATCHED[function])
        if function in SCENARIOS:
            command.add_argument(
                '--json', action='store_true', help='report as JSON')
        if function is tempest:
            command.add_argument(
                '--model', action='append', choices=acceptance.MODELS,
                help='what the servers are to have; may be repeated '
                '(default: all, one after the other)')
            command.add_argument(
                '--all', action='store_true', help='all tests of '
                'tempest.api.compute, 20 minutes for each model (default: '
                'a selection of a few minutes)')
            command.add_argument(
                '--concurrency', type=int, choices=range(1, 17), metavar='N',
                default=acceptance.CONCURRENCY, help='how many processes run '
                'tests, 1 to 16 (default: %(default)s)')
            command.add_argument(
                'pattern', nargs='?', type=_pattern, help='a regular '
                'expression: run the tests whose name has it')
    return parser


def main(argv=None, steps=scenario.Scenario):
    """Run a command.

    :param argv: its arguments, those of the process by default
    :param steps: the scenario of 'run'
    :returns: exit status: 0 if all checks passed; 1 if not; 2 if it cannot
        be run here; 128 and the number of the signal that ended it
    """
    args = _parser().parse_args(argv)
    args.steps = steps
    if args.function in (*SCENARIOS, up):
        problems = list(_check(args))
        for problem in problems:
            _complain(problem)
        if problems:
            return 2
        _heed_signals()
    warnings.simplefilter('ignore')
    # What the SDK logs comes back as an exception if it matters.
    logging.basicConfig(handlers=[logging.NullHandler()])
    # A proxy has no way to this machine.
    os.environ['no_proxy'] = '127.0.0.1'
    try:
        return args.function(args)
    except Interrupted as e:  # before there was anything to stop
        return 128 + e.args[0]


if __name__ == '__main__':
    sys.exit(main())
