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

"""Look at pages in a browser: what of them cannot be read as it is shown?

    tools/pages/look.py FOLDER    of HTML

Each page is opened in Chromium, without a window and without a network, as
wide as a screen and as a phone. A code block, table or picture must be shown
whole, or have a bar to scroll it by, and nothing may lie on it; a page must
not be wider than the window. cut.js looks for that, and is tried before on the
pages in specimens/, each of which has a fault or none. Exit status: 0 all is
well; 1 not all, or a fault of a specimen was not found; 2 no Chromium.
"""
import os
import pathlib
import re
import shutil
import sys
import tempfile
import typing as ty

from selenium.common import exceptions
from selenium import webdriver
from selenium.webdriver.chrome import service

import links

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIMENS = os.path.join(HERE, 'specimens')
WIDTHS = (1280, 400)  # pixels: a screen, a phone
HEIGHT = 900
FLAGS = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
         '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync', '--no-proxy-server',
         '--host-resolver-rules=MAP * ~NOTFOUND')
# What a specimen says of itself: the kinds of its faults
EXPECTED = re.compile(r'<meta name="faults" content="([^"]*)"')


class Fault(ty.NamedTuple):
    """What cannot be read."""

    kind: str  # 'cut', 'covered' or 'wide'
    text: str  # what it is, and how it begins


class Browser:
    """Chromium.

    :raises FileNotFoundError: if it or its driver is not there
    """

    def __init__(self) -> None:
        paths = {}
        for name in ('chromium', 'chromedriver'):
            paths[name] = shutil.which(name)
            if paths[name] is None:
                raise FileNotFoundError(
                    'there is no command %s (Debian: chromium and '
                    'chromium-driver)' % name)
        # The driver is on this machine: no proxy leads to it.
        os.environ['no_proxy'] = '*'
        self._profile = tempfile.mkdtemp()
        options = webdriver.ChromeOptions()
        options.binary_location = str(paths['chromium'])
        for flag in (*FLAGS, '--user-data-dir=' + self._profile):
            options.add_argument(flag)
        try:
            self._driver = webdriver.Chrome(
                options=options,
                service=service.Service(paths['chromedriver']))
        except exceptions.WebDriverException:
            shutil.rmtree(self._profile, ignore_errors=True)
            raise
        with open(os.path.join(HERE, 'cut.js'), encoding='utf-8') as f:
            self._script = f.read()

    def close(self) -> None:
        """End it."""
        self._driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def look_at(self, path: str, width: int) -> ty.List[Fault]:
        """Open a page, and return its faults.

        :param path: of the file
        :param width: of the window, in pixels
        :raises WebDriverException: if it cannot be opened
        """
        # NOTE: a window of 400 pixels is less than Chromium makes one of.
        self._driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
            'width': width, 'height': HEIGHT, 'deviceScaleFactor': 1,
            'mobile': False})
        self._driver.get(pathlib.Path(path).resolve().as_uri())
        return [Fault(*fault)
                for fault in self._driver.execute_script(self._script)]


def try_specimens(browser: Browser) -> ty.List[str]:
    """Return what of the specimens was not found, or found and is not so."""
    wrong = []
    paths = links.find_pages(SPECIMENS)
    if not paths:
        wrong.append('%s: there are no specimens' % SPECIMENS)
    for path in paths:
        with open(path, encoding='utf-8') as f:
            expected = EXPECTED.findall(f.read())[0].split()
        for width in WIDTHS:
            found = [fault.kind for fault in browser.look_at(path, width)]
            if found != expected:
                wrong.append('%s at %d pixels: found %s, and it has %s' % (
                    os.path.relpath(path, HERE), width, found, expected))
    return wrong


def look(browser: Browser, folder: str) -> ty.Tuple[int, int]:
    """Look at all pages of a folder, and print what is wrong.

    :returns: how many pages passed, and how many failed; one at each width
    """
    results = [0, 0]
    for path in links.find_pages(folder):
        for width in WIDTHS:
            faults = browser.look_at(path, width)
            results[bool(faults)] += 1
            for fault in faults:
                print('%s at %d pixels: %s: %s' % (
                    os.path.relpath(path, folder), width, fault.kind,
                    fault.text))
    return results[0], results[1]


def main(folder: str) -> int:
    """Look at a folder; return the exit status."""
    try:
        browser = Browser()
    except (FileNotFoundError, exceptions.WebDriverException) as e:
        print('Chromium cannot be started: %s' % e, file=sys.stderr)
        return 2
    try:
        wrong = try_specimens(browser)
        if wrong:
            print('\n'.join(wrong))
            return 1
        passed, failed = look(browser, folder)
    finally:
        browser.close()
    if not passed + failed:
        sys.exit('%s: there are no pages' % folder)
    print('Pages, each at %s pixels:\n%d passed, %d failed, 0 skipped' % (
        ' and '.join(map(str, WIDTHS)), passed, failed))
    return 1 if failed else 0


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
