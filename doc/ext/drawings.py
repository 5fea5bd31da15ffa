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

"""Draw the tree of the series and its flows, as SVG, from the tree itself.

The directive is ``.. drawing:: NAME``, with one of DRAWINGS for a name.
"""
import ast
import os
import typing as ty

from docutils import nodes
from docutils.parsers import rst

import host_drawings
import svg

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
WIDTH = 860


class Box(ty.NamedTuple):
    """A step of a flow: what acts, by which files, and how it may end."""

    title: str
    text: str = ''
    files: ty.Tuple[str, ...] = ()
    refuses: str = ''


REQUEST = [
    Box('flavor, image', 'hw:mem_encryption_model, hw_mem_encryption_model'),
    Box('nova-api', 'do both agree, and can it be?',
        ('nova/virt/hardware.py', 'nova/mem_encryption/refusals.py',
         'nova/compute/api/refusals.py', 'nova/compute/api/rescue.py',
         'nova/compute/api/unshelve.py'),
        'HTTP 400 with the remedy; nothing is created'),
    Box('nova-scheduler', 'a slot and the trait of the model',
        ('nova/scheduler/utils.py',)),
    Box('Placement', '<node>_amd_sev or <node>_amd_sev_es', (),
        'No valid host was found'),
    Box('nova-compute', 'can this host still give it?',
        ('nova/virt/libvirt/driver/guest_config.py',
         'nova/virt/libvirt/driver/launch.py'),
        'the server stays off; its fault says why'),
    Box('libvirt, QEMU, kernel', 'a guest with policy bit 2, paused', (),
        'what they say, in plain words'),
    Box('nova-compute', 'does libvirt report that policy?',
        ('nova/virt/libvirt/driver/launch.py', 'nova/virt/libvirt/guest.py'),
        'the guest is destroyed'),
    Box('the server runs'),
]
HOST = [
    Box('processor, BIOS, kernel', 'kvm_amd, CPUID 0x8000001F'),
    Box('libvirt, misc cgroup', 'maxGuests, maxESGuests; misc.capacity'),
    Box('nova-compute', 'can SEV-ES guests start here, and how many?',
        ('nova/virt/libvirt/host/mem_encryption.py',
         'nova/mem_encryption/compute/abilities.py',
         'nova/mem_encryption/host/firmware/selection.py',
         'nova/mem_encryption/compute/slots.py'),
        'No AMD SEV-ES, with the reason'),
    Box('nova-compute', 'a provider and a trait for each model; once, '
        'allocations move to it',
        ('nova/virt/libvirt/driver/provider_tree.py',
         'nova/scheduler/client/report.py')),
    Box('Placement', '<node>_amd_sev, <node>_amd_sev_es'),
]
START = [
    Box('Python starts', 'a .pth arms a finder, and imports nothing else',
        ('nova_mem_encryption.pth', 'nova_mem_encryption/bootstrap.py')),
    Box('nova is first imported', 'are all functions concerned those that '
        'are known?', ('nova_mem_encryption/engine/gate.py',
                       'nova_mem_encryption/engine/fingerprints.json'),
        'nothing is applied, and services do not start'),
    Box("a module of Nova's has executed", 'ours of the same path follows: '
        'add, wrap, within', ('nova_mem_encryption/engine/verbs.py',)),
    Box('the service starts', 'its log says: applied', ('nova/service.py',)),
]


class Missing(Exception):
    """A drawing names a file that the tree does not have."""


def draw_flow(title: str, boxes: ty.Sequence[Box]) -> str:
    """Draw boxes from top to bottom; a refusal leads to the right.

    :raises Missing: if a file is not in the tree
    """
    left, width, y, parts = 8, 500, 8, []
    for number, box in enumerate(boxes):
        for path in box.files:
            if not os.path.exists(os.path.join(ROOT, path)):
                raise Missing('%r: there is no %s' % (title, path))
        lines = [box.text] * bool(box.text) + list(box.files)
        height = 30 + 18 * len(lines)
        parts.append(svg.box(left, y, width, height))
        parts.append(svg.text(left + 12, y + 20, box.title, weight='bold'))
        for row, line in enumerate(lines):
            parts.append(svg.text(left + 12, y + 40 + 18 * row, line, 12,
                                  mono=line in box.files))
        if box.refuses:
            middle = y + height // 2
            parts += [svg.line(left + width, middle, left + width + 40, middle,
                               svg.NO, True),
                      svg.text(left + width + 48, middle + 4, box.refuses, 12,
                               svg.NO)]
        y += height
        if number < len(boxes) - 1:
            parts.append(svg.line(left + 60, y, left + 60, y + 22, arrow=True))
            y += 22
    return svg.drawing(WIDTH, y + 8, title, parts)


def draw_tree(title: str) -> str:
    """Draw the files of the series, with what each is for."""
    rows: ty.List[ty.Tuple[int, str, ty.Optional[str]]] = []
    for folder, folders, names in os.walk(os.path.join(ROOT, 'nova')):
        folders[:] = sorted(name for name in folders
                            if name not in ('tests', '__pycache__'))
        depth = os.path.relpath(folder, ROOT).count(os.sep)
        rows.append((depth, os.path.basename(folder) + '/', None))
        rows += [(depth + 1, name, os.path.join(folder, name))
                 for name in sorted(names) if name.endswith('.py')]
    parts = [svg.text(8, 18, 'file, as Nova names it', 12, weight='bold'),
             svg.text(252, 18, 'add', 12, weight='bold'),
             svg.text(288, 18, 'wrap', 12, weight='bold'),
             svg.text(336, 18, 'what Nova lacks', 12, weight='bold')]
    y = 40
    last: ty.Dict[int, int] = {}
    joined: ty.Dict[int, int] = {}
    for depth, name, path in rows:
        x = 8 + 16 * depth
        last[depth] = y
        if depth:
            # From the parent, or from where the last of its children joins
            begin = max(last[depth - 1] + 4, joined.get(depth, 0))
            joined[depth] = y - 4
            parts += [svg.line(x - 10, begin, x - 10, y - 4),
                      svg.line(x - 10, y - 4, x - 3, y - 4)]
        parts.append(svg.text(x, y, name, 12, mono=True,
                              weight='normal' if path else 'bold'))
        if path:
            adds, wraps, says = read(path)
            parts += [svg.text(256, y, str(adds or ''), 12, svg.YES),
                      svg.text(296, y, str(wraps or ''), 12, svg.YES),
                      svg.text(336, y, says, 12)]
        y += 19
    return svg.drawing(WIDTH, y, title, parts)


def read(path: str) -> ty.Tuple[int, int, str]:
    """Return how often a file says add and wrap, and what it is for."""
    with open(path, encoding='utf-8') as f:
        tree = ast.parse(f.read())
    verbs = [node.func.attr for node in ast.walk(tree)
             if isinstance(node, ast.Call) and
             isinstance(node.func, ast.Attribute) and
             isinstance(node.func.value, ast.Name) and
             node.func.value.id == 'overlay']
    return (verbs.count('add'), verbs.count('wrap') + verbs.count('within'),
            (ast.get_docstring(tree) or '').partition('\n')[0])


DRAWINGS: ty.Dict[str, ty.Callable[[], str]] = {
    'tree': lambda: draw_tree('The files of the series'),
    'start': lambda: draw_flow('From the start of Python to the wrap', START),
    'request': lambda: draw_flow('The path of a request', REQUEST),
    'host': lambda: draw_flow('From the processor to Placement', HOST),
    'providers': host_drawings.draw_providers,
    'roll-out': host_drawings.draw_roll_out,
    'asids': host_drawings.draw_asids,
}


class Drawing(rst.Directive):
    """Put a drawing into the page."""

    required_arguments = 1

    def run(self) -> ty.List[nodes.Node]:
        try:
            return [nodes.raw('', DRAWINGS[self.arguments[0]](),
                              format='html')]
        except (KeyError, Missing) as e:
            raise self.error('drawing: %s' % e) from e


def setup(app):
    """Tell Sphinx of the directive."""
    app.add_directive('drawing', Drawing)
    return {'parallel_read_safe': True}
