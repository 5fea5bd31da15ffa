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

"""The life of the package, from its build to its removal, in steps."""
import contextlib
import os
import re

import root

SOURCE = '/var/tmp/build/nova-mem-encryption'
PACKAGE = 'python3-nova-mem-encryption'
DEB = '/var/tmp/build/%s_*_all.deb' % PACKAGE
NOVA = '/usr/lib/python3/dist-packages/nova'
SHARE = '/usr/share/nova-mem-encryption'
APPLIED = re.compile(
    r'^nova-mem-encryption \S+ on Nova \S+: applied .* wraps\)$', re.M)
REFUSED = re.compile(r'^nova-mem-encryption \S+ on Nova \S+: refused: .*$',
                     re.M)
# A function of the series, and what a security update may do to it
CHANGED = NOVA + '/virt/libvirt/host.py', 'def supports_amd_sev'
NAME = CHANGED[1].split()[1]
# The packages of Nova that are installed
NAMES = ("dpkg-query -W -f '${source:Package} ${Package}\\n' | "
         "sed -n 's/^nova //p'")
# Of all that a package can leave; logs and caches are apt's own.
LIST = ('find /etc /usr /var -xdev ! -path "/var/log/*" ! -path "/var/cache/*"'
        ' ! -path "/var/lib/dpkg/*" ! -path "/var/lib/apt/*"'
        ' ! -name __pycache__ ! -path "*/__pycache__/*" | sort')


def sh(debian, step, text, what=None, codes=(0,), show=False, **kwargs):
    """Run lines of shell.

    :param what: the name of a check of how they end; without it, it is an
        error if their exit status is none of codes
    :returns: what they print
    """
    code, said = debian.run('sh', '-ec', text, show=show, **kwargs)
    if what:
        step.check(what, code in codes)
    if code not in codes:
        step.fact('it said', [line for line in
                              said.splitlines()[-12:] if line.strip()])
        if what is None:
            raise RuntimeError('exit status %d of: %s' % (code, text))
    return said


def build(debian, step):
    """The package is built as any user, which runs the unit tests"""
    sh(debian, step, '''
        apt-get -q update
        apt-get -qy dist-upgrade
        useradd --create-home --home-dir /var/lib/builder builder
        mkdir -p {0}
        cp -r /mnt/. {0}
        cd {0}
        apt-get -qy --no-install-recommends build-dep ./
        upstream=$(dpkg-parsechangelog -S Version | sed 's/-[^-]*$//')
        tar --exclude=./debian -czf \
            ../nova-mem-encryption_$upstream.orig.tar.gz .
        chown -R builder: ..
        '''.format(SOURCE))
    said = sh(debian, step, 'cd %s && exec dpkg-buildpackage -us -uc' % SOURCE,
              'it is built', user='builder', HOME='/var/lib/builder',
              show=True)
    if 'nocheck' in os.environ.get(root.PASSED, ''):
        step.fact('unit tests', 'left out, as %s says' % root.PASSED)
    else:
        step.check('its unit tests pass on the Nova of Debian', re.search(
            r'(?m)^ - Passed: [1-9]', said) and re.search(
                r'(?m)^ - Failed: 0$', said))
    said = sh(debian, step, 'lintian --fail-on error,warning '
              '/var/tmp/build/*.changes', 'lintian has neither errors nor '
              'warnings', user='builder')
    step.fact('lintian', [line for line in said.splitlines()
                          if line[1:2] == ':'] or 'nothing')


def install(debian, step):
    """It is installed, switched on, purged, and installed again"""
    before = sh(debian, step, LIST)
    said = sh(debian, step, 'apt-get -qy install ' + DEB)
    step.fact('apt install', APPLIED.findall(said))
    step.check('the installation says that the series is applied',
               APPLIED.search(said))
    step.fact('status', sh(
        debian, step, 'nova-mem-encryption status').splitlines())
    step.check('so do the services, which are run as nova', APPLIED.search(
        sh(debian, step, 'nova-mem-encryption status --brief', user='nova')))
    step.fact('check', sh(
        debian, step, 'nova-mem-encryption check | tail -n 40',
        codes=(0, 1, 2)).splitlines())
    sh(debian, step, 'man -w nova-mem-encryption', 'it has a man page')
    sh(debian, step, 'bash -c ". /usr/share/bash-completion/completions/'
       'nova-mem-encryption; complete -p nova-mem-encryption"',
       'the shell completes its options')
    said = sh(debian, step, 'cd /; exec nova-mem-encryption demo',
              'the demo runs on the Nova of Debian')
    step.fact('demo', said.splitlines()[-1:])
    _switch_on(debian, step)
    step.check('dpkg -V finds no file changed', not sh(
        debian, step, 'dpkg -V python3-nova %s' % PACKAGE))
    sh(debian, step, '''
        rm /etc/systemd/system/nova-*.service.d/mem-encryption*.conf
        rmdir /etc/systemd/system/nova-*.service.d
        apt-get -qy purge ''' + PACKAGE)
    left = sorted(set(sh(debian, step, LIST).splitlines())
                  - set(before.splitlines()))
    step.fact('left by the purge', left or 'nothing')
    step.check('purge leaves nothing', not left)
    step.check('and dpkg -V still finds no file of Nova changed', not sh(
        debian, step, 'dpkg -V python3-nova'))
    sh(debian, step, 'apt-get -qy install ' + DEB)


def _switch_on(debian, step):
    """Do what the documentation says, and look at what systemd has then."""
    sh(debian, step, 'cp -r %s/systemd/. /etc/systemd/system/' % SHARE)
    said = sh(debian, step, 'systemd-delta --no-pager --type=extended | '
              'grep nova; cat /etc/systemd/system/nova-compute.service.d/*')
    step.fact('systemd', said.splitlines())
    step.check('systemd extends the unit of each service', {
        *sh(debian, step, 'ls %s/systemd | sed s/.d$//' % SHARE).split()} == {
                *re.findall(r'/lib/systemd/system/(nova-\S+) .* '
                            r'/etc/systemd/system/\1.d/', said)})
    sh(debian, step, 'cd /etc/systemd/system; for folder in nova-*.service.d; '
       'do systemd-analyze --man=no verify ${folder%.d}; done',
       'and understands them')
    said = sh(debian, step, r'''
        env "$(sed -n s/^Environment=//p \
            /etc/systemd/system/nova-compute.service.d/*-driver.conf)" \
            python3 -c '
import nova.conf
nova.conf.CONF(["--config-file=/etc/nova/nova.conf",
                "--config-file=/etc/nova/nova-compute.conf"])
print(nova.conf.CONF.compute_driver)' ''')
    step.check('its variable is the driver of nova-compute',
               said.split()[-1] == 'mem_encryption.LibvirtDriver')


def misfit(debian, step):
    """An update of Nova changes a function of the series"""
    sh(debian, step, r'''
        mkdir /var/tmp/changed
        cd /var/tmp/changed
        apt-get -q download $(%s)
        for deb in *.deb
        do
            dpkg-deb -R $deb root
            sed -i -E 's/^Version: .*/&+new/
                       s/\(= (2:31[^)]*)\)/(= \1+new)/g' root/DEBIAN/control
            [ ! -f root%s ] || sed -i '/%s/a\        pass' root%s
            dpkg-deb -b root changed-$deb
            rm -r root $deb
        done''' % (NAMES, CHANGED[0], CHANGED[1], CHANGED[0]))
    said = sh(debian, step, 'nova-mem-encryption fits '
              '/var/tmp/changed/*python3-nova_*.deb',
              'fits says before that it does not fit', codes=(1,))
    step.fact('fits', said.splitlines())
    upgrade = 'apt-get -qy install /var/tmp/changed/*.deb'
    with _hook(debian, step):
        said = sh(debian, step, upgrade, 'with the hook, apt stops before it',
                  (100,))
        step.check('and says which function differs', NAME in said and
                   'refused' in said)
        step.check('and nothing of Nova is changed', APPLIED.search(
            sh(debian, step, 'nova-mem-encryption status --brief')))
    # As where the new nova-api could not be restarted
    _break(debian, step, 'nova-api')
    said = sh(debian, step, upgrade, 'without the hook, apt installs it')
    lines = said[REFUSED.search(said).start():].splitlines()[:4]
    step.fact('apt install', lines)
    step.check('it says which function, what the services do, and the way '
               'back', NAME in lines[0] and 'do not start' in lines[1] and
               lines[3].startswith('Go back with: '))
    said = sh(debian, step, 'exec python3 /mnt/tools/debian/probe.py refused')
    step.fact('the services', said.splitlines())
    step.check('no service starts; nova-api under uWSGI answers 500 or ends',
               said.splitlines()[-1] == 'All as expected.')
    said = sh(debian, step, 'apt-get -qy install --reinstall %s' % DEB)
    step.check('installed beside it, the package says what to do first',
               'Before you restart any, install version' in said)
    _break(debian, step, 'nova-api')
    said = sh(debian, step, lines[3].partition(': ')[2] + ' -qy',
              'the way back is a command that works')
    step.check('the series is applied again, and no package is gone',
               APPLIED.search(said) and 'REMOVED' not in said)


def _break(debian, step, package):
    """Leave a package as if its service could not be started."""
    sh(debian, step, 'sed -i "/^Package: %s$/,/^Status:/'
       's/ok installed$/ok half-configured/" /var/lib/dpkg/status' % package)


@contextlib.contextmanager
def _hook(debian, step):
    """Have apt ask the series first, within."""
    sh(debian, step, 'cp %s/apt/* /etc/apt/apt.conf.d/' % SHARE)
    yield
    sh(debian, step, 'rm /etc/apt/apt.conf.d/90nova-mem-encryption')


def versions(debian, step):
    """Nova goes down and up through the versions of the archive"""
    found = sh(debian, step, "apt-cache madison python3-nova | "
               "awk -F' *[|] *' '!seen[$2]++ { print $2 }'").split()
    said = sh(debian, step, '''
        mkdir /var/tmp/archive
        cd /var/tmp/archive
        for version in %s
        do
            apt-get -q download python3-nova=$version >/dev/null
        done
        nova-mem-encryption fits *.deb''' % ' '.join(found),
              'the series fits each version that the archive has')
    step.fact('fits', said.splitlines())
    if len(found) < 2:
        step.fact('up and down', 'not tried: the archive has one version')
        return
    with _hook(debian, step):
        for version in [*found[1:], found[0]]:
            said = sh(debian, step, 'apt-get -qy --allow-downgrades install '
                      '$(%s | sed "s/$/=%s/")' % (NAMES, version))
            step.check('%s is installed, and the series applied' % version,
                       APPLIED.search(said) and version in sh(
                           debian, step, 'dpkg-query -W python3-nova'))


def services(debian, step):
    """Services as the distribution starts them"""
    said = sh(debian, step, 'exec python3 /mnt/tools/debian/probe.py applied')
    step.fact('the services', said.splitlines())
    step.check('nova-api answers under uWSGI, and privsep over sudo',
               said.splitlines()[-1] == 'All as expected.')


def tests(debian, step):
    """The functional tests, and those of what is installed"""
    sh(debian, step, 'autopkgtest --no-built-binaries %s -- null' % SOURCE,
       'they pass on the Nova of Debian', show=True)


def cloud(debian, step):
    """A cloud, all of the distribution; the package is removed under it"""
    sh(debian, step, 'exec python3 %s/tools/debian/life.py' % SOURCE,
       'each step of it is as expected', show=True)


STEPS = {function.__name__: function for function in (
    build, install, versions, misfit, services, cloud, tests)}
FIRST = ('build', 'install')  # what all others need


def choose(names):
    """Return the steps to take, as (name, function)."""
    return [(name, function) for name, function in STEPS.items()
            if not names or name in names or name in FIRST]
