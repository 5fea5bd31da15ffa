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
from xml.sax import saxutils

from docutils import nodes
from docutils.parsers import rst

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
WIDTH = 860
INK, PALE, NO, YES = '#3b4252', '#f3f5f8', '#a3282d', '#2f6f4f'


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


# -- SVG ---------------------------------------------------------------------

def _text(x, y, text, size=13, color=INK, weight='normal', mono=False):
    return ('<text x="%d" y="%d" font-size="%d" fill="%s" font-weight="%s" '
            'font-family="%s">%s</text>' % (
                x, y, size, color, weight,
                'monospace' if mono else 'sans-serif',
                saxutils.escape(text)))


def _line(x1, y1, x2, y2, color=INK, arrow=False):
    return '<path d="M%d %dL%d %d" stroke="%s" fill="none"%s/>' % (
        x1, y1, x2, y2, color,
        ' marker-end="url(#%s)"' % color[1:] if arrow else '')


def _svg(height, title, parts):
    markers = ''.join(
        '<marker id="%s" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="%s"/>'
        '</marker>' % (color[1:], color) for color in (INK, NO))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
        'role="img" style="max-width:100%%;height:auto"><title>%s</title>'
        '<defs>%s</defs>%s</svg>' % (
            WIDTH, height, saxutils.escape(title), markers, ''.join(parts)))


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
        parts.append('<rect x="%d" y="%d" width="%d" height="%d" rx="5" '
                     'fill="%s" stroke="%s"/>' % (
                         left, y, width, height, PALE, INK))
        parts.append(_text(left + 12, y + 20, box.title, weight='bold'))
        for row, line in enumerate(lines):
            parts.append(_text(left + 12, y + 40 + 18 * row, line, 12,
                               mono=line in box.files))
        if box.refuses:
            middle = y + height // 2
            parts += [_line(left + width, middle, left + width + 40, middle,
                            NO, True),
                      _text(left + width + 48, middle + 4, box.refuses, 12,
                            NO)]
        y += height
        if number < len(boxes) - 1:
            parts.append(_line(left + 60, y, left + 60, y + 22, arrow=True))
            y += 22
    return _svg(y + 8, title, parts)


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
    parts = [_text(8, 18, 'file, as Nova names it', 12, weight='bold'),
             _text(252, 18, 'add', 12, weight='bold'),
             _text(288, 18, 'wrap', 12, weight='bold'),
             _text(336, 18, 'what Nova lacks', 12, weight='bold')]
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
            parts += [_line(x - 10, begin, x - 10, y - 4),
                      _line(x - 10, y - 4, x - 3, y - 4)]
        parts.append(_text(x, y, name, 12, mono=True,
                           weight='normal' if path else 'bold'))
        if path:
            adds, wraps, says = read(path)
            parts += [_text(256, y, str(adds or ''), 12, YES),
                      _text(296, y, str(wraps or ''), 12, YES),
                      _text(336, y, says, 12)]
        y += 19
    return _svg(y, title, parts)


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
