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

"""What is said otherwise inside Nova, and words that read wrong there."""
import re
import typing as ty

# Commands of the package, which a patched Nova need not have: as it is in the
# tree, and in Nova
PHRASES = (
    ("""'A scheduler or conductor does not know models: see '
    "'nova-mem-encryption status' there. Then migrate the server, or delete "
    'and create it.'""",
     """'A scheduler or conductor does not know models: see which Nova runs '
    'there. Then migrate the server, or delete and create it.'"""),
    ("""("See what 'dmesg | grep -i -e ccp -e sev' says; "
              "'nova-mem-encryption explain' reads it.")""",
     """"See what 'dmesg | grep -i -e ccp -e sev' says.\""""),
    ("""_("%d more are listed by 'nova-mem-encryption "
                          "upgrade-check'.") % rest""",
     """_('%d more are not shown.') % rest"""),
    ("""more are listed by 'nova-mem-encryption upgrade-check'.""",
     """more are not shown."""),
)
# Of tests: their hosts are all of the same Nova, and nothing is laid over it.
OF_TESTS = (
    (r"(def start_host\(self, host='compute1'), plain=False, mdev_info=None,"
     r'\n +pci_info=None, versions', r"""\1, mdev_info=None, pci_info=None,
                   versions"""),
    (r"(def restart_host\(self, host='compute1'), plain=False", r'\1'),
    (r'        :param plain: whether it runs without the series\n', ''),
    (r'self\._start\(host, plain, mdev_info=mdev_info, pci_info=pci_info,\n'
     r' +\*\*', """self.start_compute(host, mdev_info=mdev_info,
                           pci_info=pci_info, **"""),
    (r'self\._start\(host, plain, ', 'self.start_compute(host, '),
    (r'    def _start\(self, host, plain(.|\n)*?start_compute.*\n\n', ''),
    (r'\n_init = driver\.LibvirtDriver\.__init__\n', ''),
    (r'\bNOVA_MEM_ENCRYPTION_', 'MEM_ENCRYPTION_'),
    (r"(['\"])nova_mem_encryption\.nova\.", r'\1nova.'),
    (r"^LOGGER = 'nova_mem_encryption'", "LOGGER = 'nova'"),
    (r'\bupstream(?=[,(:)=]| =)', 'original'),
    (r'\b[Uu]pstream\b', 'Nova'),
    (r'\bthe series\b', 'the feature'),
    (r'\bThe series\b', 'The feature'),
)
# Nova is not upstream of itself, and is not laid over; what is in it is of it.
WRONG = re.compile(
    r'\bupstream(?!\.apache)\b|\bthe series\b|\blaid over\b|\boverlay|'
    r'nova[-_]mem[-_]encryption|\bnothing of Nova\b|\bthat this is for\b|'
    r'\bNova 31 (has|lacks)\b', re.I)
# In release notes: the package, its commands, its pages and its requirements
WRONG_IN_NOTES = re.compile(
    r'\b(this|the)\s+package\b|installed,\s+unmodified|prometheus-client|'
    r'``(check|slots|status|upgrade-check)``|\boperator.s\s+guide|'
    r'guide\s+for\s+operators', re.I)
NOTES = 'releasenotes/'
PRELUDE = '''\
prelude: >
    Servers can have AMD SEV-ES and AMD SEV-SNP, models of memory encryption
    that protect more than the memory.
'''
# In strings of tests: the engine, or its switch
PACKAGE = re.compile(r'nova_mem_encryption(?!\.nova\.)', re.I)
WIDTH = 79


def inside(text: str) -> str:
    """Return the text of a file of the tree as it is said inside Nova."""
    for old, new in PHRASES:
        text = text.replace(old, new)
    # Nova has oslo's, everywhere.
    text = re.sub(r'^import json$', 'from oslo_serialization import jsonutils',
                  text, flags=re.M)
    # Its load wants a file of bytes.
    text = re.sub(r'\bjson\.load\(([\w.]+)\)', r'json.loads(\1.read())', text)
    return re.sub(r'\bjson\.(?=(loads|dumps?)\()', 'jsonutils.', text)


def inside_tests(text: str) -> str:
    """Return the text of a test as it is said inside Nova."""
    for pattern, new in OF_TESTS:
        text = re.sub(pattern, new, text, flags=re.M)
    return inside(text)


def inside_notes(text: str) -> str:
    """Return a release note without what is of the package."""
    head, *sections = re.split(r'^(?=\w+:(?: >)?\n)', text, flags=re.M)
    found = [head]
    for section in sections:
        title, *items = re.split(r'^(?=  - )', section, flags=re.M)
        kept = [item for item in items if not (
            WRONG.search(item) or WRONG_IN_NOTES.search(item))]
        if title.startswith('prelude:'):
            found.append(PRELUDE)
        elif kept:
            found.append(title + ''.join(kept))
    return ''.join(found)


def find_wrong(path: str, lines: ty.Iterable[str]) -> ty.Iterator[str]:
    """Yield what is wrong with lines that are put into Nova.

    :param path: of the file
    :param lines: that are put in, without the sign
    """
    lines = list(lines)
    if path.startswith(NOTES):
        # NOTE: as a whole, as words may be on two lines.
        for found in WRONG_IN_NOTES.finditer(''.join(lines)):
            yield "%s: '%s' is of the package" % (path, found[0])
    for line in lines:
        line = line.rstrip('\n')
        word = WRONG.search(line)
        if word:
            yield "%s: '%s' reads wrong inside Nova: %s" % (
                path, word[0], line.strip())
        if path.endswith('.py') and len(line) > WIDTH:
            yield '%s: %d columns: %s' % (path, len(line), line.strip())
